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
