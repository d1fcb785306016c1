import { err, ok, type Result, safeTry } from 'neverthrow';
import type { Revocation, Revocations } from '../../../ports/revocations.js';
import { integer, orNull, shape, text } from './shape.js';
import type { Tables } from './tables.js';
import type { Database, StoreFailed, Transaction } from './transaction.js';

type RevocationRow = Tables['revocations'];

const isRevocationRow = shape<RevocationRow>({ serial: text, name: orNull(text), revoked_at: integer }, {});

const revocationOf = ({ serial, name, revoked_at }: RevocationRow): Revocation => ({
  serial,
  name: name ?? undefined,
  revokedAt: revoked_at,
});

const revisionOf = (tx: Transaction): Result<number, StoreFailed> =>
  tx
    .rows(
      tx.query.selectFrom('revocation_revision').select('revision'),
      shape<{ revision: number }>({ revision: integer }, {}),
    )
    .andThen(([row]) => (row === undefined ? err(tx.damaged()) : ok(row.revision)));

const add = (tx: Transaction, entries: readonly Revocation[]): Result<{ revision: number }, StoreFailed> =>
  safeTry(function* () {
    let added = 0;
    for (const { serial, name = null, revokedAt } of entries) {
      const row = { serial, name, revoked_at: revokedAt };
      added += yield* tx.change(
        tx.query
          .insertInto('revocations')
          .values(row)
          .onConflict((conflict) => conflict.column('serial').doNothing()),
      );
    }
    const revision = (yield* revisionOf(tx)) + (added > 0 ? 1 : 0);
    if (added > 0) yield* tx.change(tx.query.updateTable('revocation_revision').set({ revision }));
    return ok({ revision });
  });

/** What was revoked, over one SQLite file. */
export const sqliteRevocations = (database: Database): Revocations => ({
  current: () =>
    database.read('revocation.current', (tx) =>
      safeTry(function* () {
        const revision = yield* revisionOf(tx);
        const all = tx.query.selectFrom('revocations').selectAll().orderBy('serial');
        const rows = yield* tx.rows(all, isRevocationRow);
        return ok({ revision, entries: rows.map(revocationOf) });
      }),
    ),

  revision: () => database.read('revocation.revision', revisionOf),

  has: (serial) =>
    database.read('revocation.has', (tx) =>
      tx
        .rows(tx.query.selectFrom('revocations').selectAll().where('serial', '=', serial), isRevocationRow)
        .map((rows) => rows.length > 0),
    ),

  raise: (revision) =>
    database.write('revocation.raise', (tx) =>
      safeTry(function* () {
        const raised = Math.max(revision, yield* revisionOf(tx));
        yield* tx.change(tx.query.updateTable('revocation_revision').set({ revision: raised }));
        return ok({ revision: raised });
      }),
    ),

  add: (entries) => database.write('revocation.add', (tx) => add(tx, entries)),
});
