/** Does work whose keys nobody else has; of several that share a key, one after the other, in the order in which they were given. */
export type Lanes = <T>(keys: readonly string[], work: () => Promise<T>) => Promise<T>;

const nothing = () => undefined;

/** Lanes that are all free. Nobody waits for two others that wait for each other: all keys are taken at once. */
export function lanes(): Lanes {
  const last = new Map<string, Promise<unknown>>();
  return (given, work) => {
    const keys = [...new Set(given)];
    const before = keys.flatMap((key) => last.get(key) ?? []);
    const done = before.length === 0 ? work() : Promise.all(before).then(work);
    const over = done.then(nothing, nothing).then(() => {
      for (const key of keys) if (last.get(key) === over) last.delete(key);
    });
    for (const key of keys) last.set(key, over);
    return done;
  };
}
