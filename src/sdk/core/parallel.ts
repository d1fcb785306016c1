import { ResultAsync } from 'neverthrow';

/** Works on the items, at most `limit` at a time; results in the order of the items. `work` must not reject. */
export async function parallel<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T) => PromiseLike<R>,
): Promise<readonly R[]> {
  const results: R[] = [];
  const queue = items.entries();
  const lane = async () => {
    for (const [index, item] of queue) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: Math.max(1, Math.min(limit, items.length)) }, lane));
  return results;
}

/** Calls `open` at the first use and gives everybody the same outcome; a failure is tried anew. */
export function once<T, E>(open: () => ResultAsync<T, E>): () => ResultAsync<T, E> {
  let opened: ResultAsync<T, E> | undefined;
  return () => {
    opened ??= open().mapErr((error) => {
      opened = undefined;
      return error;
    });
    return opened;
  };
}

/** Runs what is given one after the other, in the order of the calls. */
export function inTurn(): <T, E>(work: () => ResultAsync<T, E>) => ResultAsync<T, E> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const next = last.then(work, work);
    last = next;
    return new ResultAsync(next);
  };
}

/** An amount that many share, each for a while. */
export interface Budget {
  /**
   * Takes a share as soon as it is there, in the order in which it was asked for; more than there is in all counts as all.
   * @returns what gives it back, to be called once it is not needed any more; undefined: the signal came first
   */
  reserve(amount: number, signal?: AbortSignal): Promise<(() => void) | undefined>;
}

/**
 * A budget of so much. Nobody waits for ever as long as whoever has a share gives it back: so nobody may ask for a second one before
 * the first is given back.
 */
export function budget(total: number): Budget {
  let free = total;
  const waiting = new Set<{ readonly amount: number; grant(): void }>();

  const serve = () => {
    for (const next of waiting) {
      if (next.amount > free) return;
      waiting.delete(next);
      free -= next.amount;
      next.grant();
    }
  };

  return {
    reserve: (asked, signal) =>
      new Promise((resolve) => {
        const amount = Math.min(asked, total);
        let given = false;
        const giveBack = () => {
          if (given) return;
          given = true;
          free += amount;
          serve();
        };
        const request = {
          amount,
          grant() {
            signal?.removeEventListener('abort', onAbort);
            resolve(giveBack);
          },
        };
        const onAbort = () => {
          waiting.delete(request);
          resolve(undefined);
          serve();
        };
        if (signal?.aborted) return resolve(undefined);
        signal?.addEventListener('abort', onAbort, { once: true });
        waiting.add(request);
        serve();
      }),
  };
}
