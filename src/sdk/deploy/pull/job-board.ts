/** Jobs that are to be done, side by side but for those of one lane. */
export interface JobBoard {
  /** Takes a job unless it is here already. */
  add(id: string, lane: string | undefined, work: () => Promise<void>): void;
  /** Gives up what has not begun. */
  clear(): void;
  /** Resolves once nothing runs and nothing waits. */
  settled(): Promise<void>;
}

interface Entry {
  readonly id: string;
  readonly lane: string | undefined;
  readonly work: () => Promise<void>;
}

/**
 * @param limit how many jobs run at a time
 * @param onBug is told what a job throws; that ends the job, and nothing else
 */
export function jobBoard(limit: number, onBug: (thrown: unknown) => void): JobBoard {
  const here = new Set<string>();
  const busy = new Set<string>();
  let waiting: Entry[] = [];
  let running = 0;
  let settle: (() => void)[] = [];

  const finish = (entry: Entry) => {
    running -= 1;
    here.delete(entry.id);
    if (entry.lane !== undefined) busy.delete(entry.lane);
    begin();
  };
  const begin = () => {
    const later: Entry[] = [];
    for (const entry of waiting) {
      const free = entry.lane === undefined || !busy.has(entry.lane);
      if (running >= limit || !free) {
        later.push(entry);
        continue;
      }
      running += 1;
      if (entry.lane !== undefined) busy.add(entry.lane);
      void entry
        .work()
        .catch(onBug)
        .finally(() => finish(entry));
    }
    waiting = later;
    if (running > 0 || waiting.length > 0) return;
    for (const resolve of settle) resolve();
    settle = [];
  };

  return {
    add(id, lane, work) {
      if (here.has(id)) return;
      here.add(id);
      waiting.push({ id, lane, work });
      begin();
    },
    clear() {
      for (const { id } of waiting) here.delete(id);
      waiting = [];
      begin();
    },
    settled: () =>
      running === 0 && waiting.length === 0
        ? Promise.resolve()
        : new Promise((resolve) => {
            settle.push(resolve);
          }),
  };
}
