/** At most `limit` within `window` seconds; who exceeds it is blocked for `block` seconds. */
export interface RateLimit {
  readonly limit: number;
  readonly window: number;
  readonly block: number;
}

/** What is remembered of one source. Times are epoch milliseconds. */
export interface RateCount {
  readonly count: number;
  readonly windowStart: number;
  readonly blockedUntil: number;
}

/** Counts one more at `now`: what to remember, and whether it is allowed. */
export function countOne(
  before: RateCount | undefined,
  { limit, window, block }: RateLimit,
  now: number,
): { readonly after: RateCount; readonly allowed: boolean } {
  if (before && now < before.blockedUntil) return { after: before, allowed: false };
  const current =
    before && now < before.windowStart + window * 1000 ? before : { count: 0, windowStart: now };
  const count = current.count + 1;
  const allowed = count <= limit;
  const blockedUntil = allowed ? 0 : now + block * 1000;
  return { after: { count, windowStart: current.windowStart, blockedUntil }, allowed };
}

/** Whether a count no longer has any effect and may be forgotten. */
export const isSpent = (count: RateCount, { window }: RateLimit, now: number): boolean =>
  now >= count.blockedUntil && now >= count.windowStart + window * 1000;
