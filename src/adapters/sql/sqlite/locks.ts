import { randomUUID } from 'node:crypto';
import { err, ok, okAsync, type Result, safeTry } from 'neverthrow';
import { failure } from '../../../domain/core/errors.js';
import type { LockKey, Locks } from '../../../ports/locks.js';
import { integer, shape, text } from '../shared/shape.js';
import type { Database, StoreFailed, Transaction } from '../shared/transaction.js';
import { type LockOwner, type LockOwners, lockOwners } from './lock-owner.js';

interface LockRow {
  readonly host: string;
  readonly script: string;
  readonly reqid: string;
  readonly owner: string;
  readonly pid: number;
  readonly since: number;
}

const isLockRow = shape<LockRow>(
  { host: text, script: text, reqid: text, owner: text, pid: integer, since: integer },
  {},
);

const readLocks = (tx: Transaction): Result<readonly LockRow[], StoreFailed> =>
  tx.rows(tx.query.selectFrom('locks').selectAll(), isLockRow);

const keyOf = ({ host, script }: LockKey): string => JSON.stringify([host, script]);

const byHostThenScript = (a: LockKey, b: LockKey): number =>
  compare(a.host, b.host) || compare(a.script, b.script);

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Removes the rows and the file of those that died; returns their ids. */
const forgetDead = (
  tx: Transaction,
  owners: LockOwners,
  candidates: ReadonlySet<string>,
): Result<ReadonlySet<string>, StoreFailed> =>
  safeTry(function* () {
    const dead = new Set<string>();
    for (const id of candidates) {
      if (yield* owners.isAlive(id)) continue;
      yield* tx.change(tx.query.deleteFrom('locks').where('owner', '=', id));
      yield* owners.forget(id);
      dead.add(id);
    }
    return ok(dead);
  });

/**
 * Locks as rows of the main database, each with the owner that holds it; a row counts as long as its owner lives. One
 * call is one instance: two of them in one process exclude each other.
 */
export const sqliteLocks = (database: Database, directory: string): Locks => {
  const owners = lockOwners(directory);
  let self: LockOwner | undefined;

  /** Comes to life at the first lock. Its file is locked before a row that names it can be seen. */
  const claim = (tx: Transaction): Result<LockOwner, StoreFailed> =>
    safeTry(function* () {
      if (self?.isVisible() === true) return ok(self);
      const previous = self;
      self = yield* owners.claim(randomUUID());
      if (previous !== undefined) {
        const held = tx.query.updateTable('locks').set({ owner: self.id }).where('owner', '=', previous.id);
        yield* tx.change(held);
        yield* previous.release();
      }
      const others = [...(yield* owners.ids()), ...(yield* readLocks(tx)).map(({ owner }) => owner)];
      const { id } = self;
      yield* forgetDead(tx, owners, new Set(others.filter((other) => other !== id)));
      return ok(self);
    });

  /** Returns the conflicts rather than failing, so that what the dead left is gone also when the answer is no. */
  const take = (
    tx: Transaction,
    keys: ReadonlyMap<string, LockKey>,
    reqid: string,
    now: number,
  ): Result<readonly string[], StoreFailed> =>
    safeTry(function* () {
      const owner = yield* claim(tx);
      const held = (yield* readLocks(tx)).filter((row) => keys.has(keyOf(row)));
      const strangers = new Set(held.map((row) => row.owner).filter((id) => id !== owner.id));
      const dead = yield* forgetDead(tx, owners, strangers);
      const conflicts = held.filter((row) => !dead.has(row.owner));
      if (conflicts.length > 0) return ok(conflicts.map(({ host, script }) => `${host}:${script}`));
      for (const { host, script } of keys.values()) {
        const row = { host, script, reqid, owner: owner.id, pid: process.pid, since: now };
        yield* tx.change(tx.query.insertInto('locks').values(row));
      }
      return ok([]);
    });

  return {
    acquire: (keys, reqid, now) =>
      database
        .write('locks.acquire', (tx) => take(tx, new Map(keys.map((key) => [keyOf(key), key])), reqid, now))
        .andThen((found) => {
          if (found.length === 0) return ok(undefined);
          const conflicts = found.toSorted(compare);
          return err(failure('locked', `already running: ${conflicts.join(', ')}`, { conflicts }));
        }),

    release: (reqid) => {
      if (self === undefined) return okAsync(undefined);
      const { id } = self;
      return database.write('locks.release', (tx) =>
        tx
          .change(tx.query.deleteFrom('locks').where('reqid', '=', reqid).where('owner', '=', id))
          .map(() => undefined),
      );
    },

    // As a writer, so that no owner file comes or goes while they are looked at.
    list: () =>
      database.write('locks.list', (tx) =>
        safeTry(function* () {
          const rows = yield* readLocks(tx);
          const living = new Set<string>();
          for (const id of new Set(rows.map(({ owner }) => owner))) {
            if (id === self?.id || (yield* owners.isAlive(id))) living.add(id);
          }
          return ok(
            rows
              .filter(({ owner }) => living.has(owner))
              .map(({ owner, ...lock }) => lock)
              .sort(byHostThenScript),
          );
        }),
      ),

    close: () => {
      if (self === undefined) return okAsync(undefined);
      const owner = self;
      self = undefined;
      return (
        database
          .write('locks.close', (tx) =>
            tx
              .change(tx.query.deleteFrom('locks').where('owner', '=', owner.id))
              .andThen(() => owner.release()),
          )
          // The rows that stay are those of a dead owner then.
          .orElse((failed) => owner.release().andThen(() => err(failed)))
      );
    },
  };
};
