/** Does work one after the other where it shares a key, in the order in which it was given; all other work runs side by side. */
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
