import { errAsync, okAsync } from 'neverthrow';
import { failure } from '../../domain/core/errors.js';
import type { Held, Mutex } from '../../ports/mutex.js';

/** What several instances share that exclude each other; make one with `new Map()`. */
export type MutexTable = Map<
  string,
  { readonly owner: object | undefined; readonly since: number; readonly term: number }
>;

/** Exclusive work within this process; instances over one table exclude each other. */
export const memoryMutex = (table: MutexTable = new Map()): Mutex => {
  const owner = {};
  const free = (name: string, term: number) => {
    const row = table.get(name);
    if (row?.owner === owner && row.term === term) table.set(name, { ...row, owner: undefined });
    return okAsync(undefined);
  };
  return {
    acquire: (name, now) => {
      const row = table.get(name);
      if (row?.owner !== undefined) {
        const by = `process ${process.pid}`;
        const since = new Date(row.since);
        const message = `${name} is done by ${by} since ${since.toISOString()}`;
        return errAsync(failure('held', message, { what: name, by, since }));
      }
      const term = (row?.term ?? 0) + 1;
      table.set(name, { since: now, owner, term });
      const held: Held = { term, lost: new AbortController().signal, release: () => free(name, term) };
      return okAsync(held);
    },
    close: () => {
      for (const [name, { term }] of table) free(name, term);
      return okAsync(undefined);
    },
  };
};
