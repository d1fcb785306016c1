import { err, ok, okAsync, type Result, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import type { Held, Mutex } from '../../../ports/mutex.js';
import type { Sessions } from './sessions.js';
import { integer, orNull, shape, text } from './shape.js';
import type { Database, StoreFailed, Transaction } from './transaction.js';

interface MutexRow {
  readonly name: string;
  readonly session: string | null;
  readonly pid: number;
  readonly since: number;
  readonly term: number;
}

const isMutexRow = shape<MutexRow>(
  { name: text, session: orNull(text), pid: integer, since: integer, term: integer },
  {},
);

/** Exclusive work as rows of the store; a row counts as long as its session lives. */
export const sqlMutex = (database: Database, sessions: Sessions): Mutex => {
  const held = new Map<string, Held>();

  const living = (row: MutexRow | undefined): Result<boolean, StoreFailed> =>
    row?.session ? sessions.isAlive(row.session) : ok(false);

  const take = (tx: Transaction, name: string, now: number) =>
    safeTry<{ readonly term: number } | { readonly holder: MutexRow }, StoreFailed>(function* () {
      const session = yield* sessions.own(tx);
      const [row] = yield* tx.rows(
        tx.query.selectFrom('mutexes').selectAll().where('name', '=', name),
        isMutexRow,
      );
      if (row && (yield* living(row))) return ok({ holder: row });
      const term = (row?.term ?? 0) + 1;
      const next = { session, pid: process.pid, since: now, term };
      yield* tx.change(
        tx.query
          .insertInto('mutexes')
          .values({ name, ...next })
          .onConflict((conflict) => conflict.column('name').doUpdateSet(next)),
      );
      return ok({ term });
    });

  const free = (name: string, term: number): ResultAsync<void, StoreFailed> =>
    database.write('mutex.release', (tx) =>
      tx
        .change(
          tx.query
            .updateTable('mutexes')
            .set({ session: null })
            .where('name', '=', name)
            .where('term', '=', term),
        )
        .map(() => undefined),
    );

  return {
    acquire: (name, now) =>
      database
        .write('mutex.acquire', (tx) => take(tx, name, now))
        .mapErr((error): CtrlExecError<'held' | 'store_failed'> => error)
        .andThen((taken): Result<Held, CtrlExecError<'held'>> => {
          if ('holder' in taken) {
            const by = `process ${taken.holder.pid}`;
            const since = new Date(taken.holder.since);
            const message = `${name} is done by ${by} since ${since.toISOString()}`;
            return err(failure('held', message, { what: name, by, since }));
          }
          const { term } = taken;
          const holding: Held = {
            term,
            // A session lives as long as its process: it loses nothing meanwhile.
            lost: new AbortController().signal,
            release: () => {
              if (held.get(name) !== holding) return okAsync(undefined);
              held.delete(name);
              return free(name, term);
            },
          };
          held.set(name, holding);
          return ok(holding);
        }),

    close: () =>
      safeTry(async function* () {
        for (const { release } of [...held.values()]) yield* release();
        return ok(undefined);
      }),
  };
};
