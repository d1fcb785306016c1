import { randomUUID } from 'node:crypto';
import { err, ok, okAsync, type Result, type ResultAsync, safeTry } from 'neverthrow';
import type { Sessions } from '../shared/sessions.js';
import type { Database, StoreFailed, Transaction } from '../shared/transaction.js';
import { type SessionFile, sessionFiles } from './session-files.js';

/**
 * Sessions that show by a locked file that they live. Two of one process are two sessions.
 * @param directory a local one that nothing else cleans up
 */
export const sqliteSessions = (
  database: Database,
  directory: string,
): Sessions & { close(): ResultAsync<void, StoreFailed> } => {
  const files = sessionFiles(directory);
  let self: SessionFile | undefined;

  /** Files that the dead have left. They come and go within a writing transaction, so none is taken for dead that is about to live. */
  const clearUp = (own: string): Result<void, StoreFailed> =>
    safeTry(function* () {
      for (const id of yield* files.ids())
        if (id !== own && !(yield* files.isAlive(id))) yield* files.forget(id);
      return ok(undefined);
    });

  /** What the session has goes with it to its new id. */
  const succeed = (tx: Transaction, before: SessionFile, id: string): Result<void, StoreFailed> =>
    safeTry(function* () {
      for (const table of ['runs', 'mutexes'] as const)
        yield* tx.change(tx.query.updateTable(table).set({ session: id }).where('session', '=', before.id));
      return before.release();
    });

  return {
    own: (tx) =>
      safeTry(function* () {
        if (self?.isVisible() === true) return ok(self.id);
        const before = self;
        self = yield* files.claim(randomUUID());
        if (before !== undefined) yield* succeed(tx, before, self.id);
        yield* clearUp(self.id);
        return ok(self.id);
      }),

    isAlive: (id) => (id === self?.id ? ok(true) : files.isAlive(id)),

    close: () => {
      if (self === undefined) return okAsync(undefined);
      const ending = self;
      self = undefined;
      const left = (tx: Transaction): Result<void, StoreFailed> =>
        safeTry(function* () {
          for (const table of ['runs', 'mutexes'] as const)
            yield* tx.change(
              tx.query.updateTable(table).set({ session: null }).where('session', '=', ending.id),
            );
          return ending.release();
        });
      // What could not be written is that of a dead session then.
      return database
        .write('session.close', left)
        .orElse((failed) => ending.release().andThen(() => err(failed)));
    },
  };
};
