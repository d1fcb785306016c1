/**
 * Time. The domain and the sdk never read a clock by themselves.
 *
 * Contract: `now` may jump (NTP, an operator), `monotonic` never goes back; `after` calls at most once, never
 * before the delay has passed, never synchronously, and not at all after the returned function was called.
 */
export interface Clock {
  /** Epoch milliseconds. */
  now(): number;
  /** Milliseconds since an arbitrary moment. */
  monotonic(): number;
  /** Calls back once `delay` milliseconds have passed; returns what cancels it. */
  after(delay: number, callback: () => void): () => void;
}
