import { errAsync, okAsync } from 'neverthrow';
import { failure } from '../../domain/core/errors.js';
import type { HeldLock, LockKey, Locks } from '../../ports/locks.js';

/** What several instances share that exclude each other; make one with `new Map()`. */
export type LockTable = Map<string, HeldLock & { readonly owner: object }>;

const keyOf = ({ host, script }: LockKey): string => JSON.stringify([host, script]);

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Locks within this process; instances over one table exclude each other. */
export const memoryLocks = (table: LockTable = new Map()): Locks => {
  const owner = {};

  const free = (matches: (lock: HeldLock) => boolean) => {
    for (const [key, lock] of table) {
      if (lock.owner === owner && matches(lock)) table.delete(key);
    }
    return okAsync(undefined);
  };

  return {
    acquire: (keys, reqid, now) => {
      const wanted = new Map(keys.map((key) => [keyOf(key), key]));
      const conflicts = [...wanted]
        .filter(([key]) => table.has(key))
        .map(([, { host, script }]) => `${host}:${script}`)
        .sort(compare);
      if (conflicts.length > 0) {
        return errAsync(failure('locked', `already running: ${conflicts.join(', ')}`, { conflicts }));
      }
      for (const [key, { host, script }] of wanted) {
        table.set(key, { host, script, reqid, pid: process.pid, since: now, owner });
      }
      return okAsync(undefined);
    },

    release: (reqid) => free((lock) => lock.reqid === reqid),

    list: () =>
      okAsync(
        [...table.values()]
          .map(({ owner: _, ...lock }) => lock)
          .sort((a, b) => compare(a.host, b.host) || compare(a.script, b.script)),
      ),

    close: () => free(() => true),
  };
};
