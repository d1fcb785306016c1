import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../../ports/clock.js';

interface Timer {
  readonly due: number;
  readonly callback: () => void;
}

export interface ManualClock extends Clock {
  /**
   * Moves time on by `ms`, running the timers that become due on the way, earliest first and those of the same moment in
   * the order in which they were set; what each of them sets going has its turn before the next.
   */
  advance(ms: number): Promise<void>;
}

/** A clock that stands still until it is advanced. `start`: epoch milliseconds, 0 unless told. */
export const manualClock = (start = 0): ManualClock => {
  let elapsed = 0;
  const timers = new Set<Timer>();

  const nextUntil = (end: number): Timer | undefined => {
    let next: Timer | undefined;
    for (const timer of timers)
      if (timer.due <= end && (next === undefined || timer.due < next.due)) next = timer;
    return next;
  };

  return {
    now: () => start + elapsed,
    monotonic: () => elapsed,
    after(delay, callback) {
      const timer = { due: elapsed + Math.max(0, delay), callback };
      timers.add(timer);
      return () => {
        timers.delete(timer);
      };
    },
    async advance(ms) {
      const end = elapsed + ms;
      await setImmediate();
      for (let timer = nextUntil(end); timer !== undefined; timer = nextUntil(end)) {
        timers.delete(timer);
        elapsed = Math.max(elapsed, timer.due);
        timer.callback();
        await setImmediate();
      }
      elapsed = Math.max(elapsed, end);
    },
  };
};
