import type { Clock } from '../../../ports/clock.js';

/** Milliseconds that a last call may take once the agent is to end. */
const patience = 5_000;

/**
 * Does work that is worth a moment even when the agent is to end. Its signal comes five seconds after `stop`, or, where that has come
 * already, five seconds from now.
 */
export async function withFarewell<T>(
  clock: Clock,
  stop: AbortSignal,
  work: (signal: AbortSignal) => PromiseLike<T>,
): Promise<T> {
  const last = new AbortController();
  let cancel: () => void = () => undefined;
  const begin = () => {
    cancel = clock.after(patience, () => last.abort());
  };
  if (stop.aborted) begin();
  else stop.addEventListener('abort', begin, { once: true });
  try {
    return await work(last.signal);
  } finally {
    stop.removeEventListener('abort', begin);
    cancel();
  }
}
