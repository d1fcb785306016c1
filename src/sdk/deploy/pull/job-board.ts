import { lanes } from '../../core/lanes.js';

/** Jobs that run at a time. */
export const maxRunning = 64;

/** Jobs that are to be done, side by side but for those of one lane. */
export interface JobBoard {
  /** Takes a job unless it is here already; then the answer is undefined, else it comes with the end of the job. */
  add(id: string, lane: string | undefined, work: () => Promise<void>): Promise<void> | undefined;
  /** Jobs that have not begun. */
  waiting(): number;
  /** Gives up what has not begun. */
  clear(): void;
  /** Resolves once nothing runs and nothing waits. */
  settled(): Promise<void>;
}

/**
 * @param onBug is told what a job throws; that ends the job, and nothing else
 * @param limit how many jobs run at a time
 */
export function jobBoard(onBug: (thrown: unknown) => void, limit = maxRunning): JobBoard {
  const inLanes = lanes();
  const here = new Set<string>();
  const waiting = new Set<string>();
  const queue: (() => void)[] = [];
  let running = 0;
  let settle: (() => void)[] = [];

  const leave = (id: string) => {
    here.delete(id);
    if (here.size > 0) return;
    for (const resolve of settle) resolve();
    settle = [];
  };
  const run = async (id: string, work: () => Promise<void>) => {
    // It was given up.
    if (!waiting.delete(id)) return;
    running += 1;
    try {
      await work();
    } catch (thrown) {
      onBug(thrown);
    }
    running -= 1;
    leave(id);
    while (running < limit && queue.length > 0) queue.shift()?.();
  };
  /** A job whose lane is free, in the order in which they become free. */
  const turn = (id: string, work: () => Promise<void>): Promise<void> =>
    running < limit
      ? run(id, work)
      : new Promise((resolve) => {
          queue.push(() => void run(id, work).then(resolve));
        });

  return {
    add(id, lane, work) {
      if (here.has(id)) return undefined;
      here.add(id);
      waiting.add(id);
      return inLanes(lane === undefined ? [] : [lane], () => turn(id, work));
    },
    waiting: () => waiting.size,
    clear() {
      const given = [...waiting];
      waiting.clear();
      for (const id of given) leave(id);
    },
    settled: () =>
      here.size === 0
        ? Promise.resolve()
        : new Promise((resolve) => {
            settle.push(resolve);
          }),
  };
}
