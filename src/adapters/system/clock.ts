import type { Clock } from '../../ports/clock.js';

/** The longest delay that `setTimeout` takes, 24.8 days; a longer one fires at once. */
const longest = 2 ** 31 - 1;

/** The clock of the operating system. Any delay is kept, also one beyond the reach of a single timer. */
export const systemClock = (): Clock => {
  const monotonic = (): number => performance.now();
  return {
    now: () => Date.now(),
    monotonic,
    after(delay, callback) {
      const due = monotonic() + delay;
      let timer: NodeJS.Timeout;
      const arm = (): void => {
        const left = due - monotonic();
        timer = setTimeout(left > longest ? arm : fire, Math.min(longest, Math.max(0, Math.ceil(left))));
      };
      const fire = (): void => {
        // A timer may come up to a millisecond early.
        if (monotonic() < due) arm();
        else callback();
      };
      arm();
      return () => clearTimeout(timer);
    },
  };
};
