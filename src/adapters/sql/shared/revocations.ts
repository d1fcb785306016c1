import { err, ok, type Result, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { deniedByRevocation } from '../../../domain/pairing/request.js';
import { everyPinOf } from '../../../domain/trust/banned-key.js';
import { type IssuedCertificate, keptAfterExpiry } from '../../../domain/trust/issued-certificate.js';
import { maxRevoked } from '../../../domain/trust/revocation-list.js';
import type { Revocation, Revocations, RevokedNow, Revoking } from '../../../ports/revocations.js';
import { readRecord } from './agent-rows.js';
import { ban, readBan, readBans, unban } from './banned-keys.js';
import { readRequests, replaceRequest, requestsWhere } from './pairing-rows.js';
import { release } from './run-store.js';
import { integer, orNull, shape, text } from './shape.js';
import type { Tables } from './tables.js';
import type { Database, StoreFailed, Transaction } from './transaction.js';

type RevocationRow = Tables['revocations'];

const isRevocationRow = shape<RevocationRow>(
  { serial: text, name: orNull(text), revoked_at: integer, not_after: orNull(integer), revision: integer },
  {},
);

const revocationOf = ({ serial, name, revoked_at, not_after }: RevocationRow): Revocation => ({
  serial,
  name: name ?? undefined,
  revokedAt: revoked_at,
  ...(not_after !== null && { notAfter: not_after }),
});

const isIssuedRow = shape<Tables['issued_certificates']>(
  { serial: text, name: text, spki_sha256: text, not_after: integer },
  {},
);

const issuedOf = (row: Tables['issued_certificates']): IssuedCertificate => ({
  serial: row.serial,
  name: row.name,
  spkiSha256: row.spki_sha256,
  notAfter: row.not_after,
});

const isNumber = shape<{ value: number | null }>({ value: orNull(integer) }, {});

const revisionOf = (tx: Transaction): Result<number, StoreFailed> =>
  tx
    .rows(
      tx.query.selectFrom('revocation_revision').select('revision'),
      shape<{ revision: number }>({ revision: integer }, {}),
    )
    .andThen(([row]) => (row === undefined ? err(tx.damaged()) : ok(row.revision)));

const setRevision = (tx: Transaction, revision: number): Result<number, StoreFailed> =>
  tx.change(tx.query.updateTable('revocation_revision').set({ revision }));

/** How many of the entries are new. */
const insert = (
  tx: Transaction,
  entries: readonly Revocation[],
  revision: number,
): Result<number, StoreFailed> =>
  safeTry(function* () {
    let added = 0;
    for (const { serial, name = null, revokedAt, notAfter = null } of entries) {
      const row = { serial, name, revoked_at: revokedAt, not_after: notAfter, revision };
      added += yield* tx.change(
        tx.query
          .insertInto('revocations')
          .values(row)
          .onConflict((conflict) => conflict.column('serial').doNothing()),
      );
    }
    return ok(added);
  });

const withinLimit = (tx: Transaction): Result<void, CtrlExecError<'too_large'> | StoreFailed> =>
  tx
    .rows(
      tx.query.selectFrom('revocations').select((row) => row.fn.countAll<number>().as('value')),
      isNumber,
    )
    .andThen(([counted]) =>
      (counted?.value ?? 0) <= maxRevoked
        ? ok(undefined)
        : err(
            failure(
              'too_large',
              `nothing was revoked: a revocation list holds at most ${maxRevoked} certificates`,
              { what: 'revocations', limit: maxRevoked },
            ),
          ),
    );

/** What nobody needs to know any more. */
const dropExpired = (tx: Transaction, before: number): Result<number, StoreFailed> =>
  tx
    .change(
      tx.query.deleteFrom('revocations').where('not_after', '<', before).where('revoked_at', '<', before),
    )
    .andThen(() => tx.change(tx.query.deleteFrom('issued_certificates').where('not_after', '<', before)));

const add = (
  tx: Transaction,
  entries: readonly Revocation[],
): Result<{ revision: number }, CtrlExecError<'too_large'> | StoreFailed> =>
  safeTry(function* () {
    const revision = yield* revisionOf(tx);
    const added = yield* insert(tx, entries, revision + 1);
    if (added === 0) return ok({ revision });
    yield* dropExpired(tx, (entries[0]?.revokedAt ?? 0) - keptAfterExpiry);
    yield* withinLimit(tx);
    yield* setRevision(tx, revision + 1);
    return ok({ revision: revision + 1 });
  });

/** Whoever has revoked an agent decides anew about requests for its name. */
const denyApproved = (tx: Transaction, name: string): Result<void, StoreFailed> =>
  safeTry(function* () {
    for (const request of yield* readRequests(tx, requestsWhere(tx).where('state', '=', 'open'))) {
      const denied = deniedByRevocation(request, name);
      if (denied) yield* replaceRequest(tx, denied);
    }
    return ok(undefined);
  });

const revoke = (
  tx: Transaction,
  { entries, keys, agent: name, everyPin, at }: Revoking,
): Result<RevokedNow, CtrlExecError<'too_large'> | StoreFailed> =>
  safeTry(function* () {
    const record = name === undefined ? undefined : yield* readRecord(tx, name);
    const pinned = record && everyPin ? everyPinOf(record, at) : { entries: [], keys: [] };
    const { revision } = yield* add(tx, [...entries, ...pinned.entries]);
    for (const key of [...keys, ...pinned.keys]) yield* ban(tx, key);
    if (name !== undefined) {
      const banned = new Set((yield* readBans(tx)).map(({ spkiSha256 }) => spkiSha256));
      const silenced = record ? record.pins.every(({ spkiSha256 }) => banned.has(spkiSha256)) : everyPin;
      if (silenced) yield* release(tx, name, undefined, at);
      if (everyPin) yield* denyApproved(tx, name);
    }
    return ok({ revision, pins: everyPin ? (record?.pins ?? []) : [] });
  });

const merge = (
  tx: Transaction,
  number: number,
  entries: readonly Revocation[],
): Result<{ revision: number; added: number }, CtrlExecError<'too_large'> | StoreFailed> =>
  safeTry(function* () {
    const revision = yield* revisionOf(tx);
    const next = Math.max(revision, number) + 1;
    const added = yield* insert(tx, entries, next);
    if (added === 0 && number <= revision) return ok({ revision, added });
    yield* withinLimit(tx);
    yield* setRevision(tx, next);
    return ok({ revision: next, added });
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

  missingSince: (revision) =>
    database.read('revocation.missingSince', (tx) =>
      tx
        .rows(
          tx.query
            .selectFrom('revocations')
            .select((row) => row.fn.min('revoked_at').as('value'))
            .where('revision', '>', revision),
          isNumber,
        )
        .map(([first]) => first?.value ?? undefined),
    ),

  add: (entries) => database.write('revocation.add', (tx) => add(tx, entries)),

  revoke: (revoking) => database.write('revocation.revoke', (tx) => revoke(tx, revoking)),

  merge: (number, entries) => database.write('revocation.merge', (tx) => merge(tx, number, entries)),

  bannedKeys: () => database.read('revocation.bannedKeys', readBans),

  banOf: (spkiSha256) => database.read('revocation.banOf', (tx) => readBan(tx, spkiSha256)),

  unban: (spkiSha256) => database.write('revocation.unban', (tx) => unban(tx, spkiSha256)),

  remember: ({ serial, name, spkiSha256, notAfter }) =>
    database.write('revocation.remember', (tx) => {
      const row = { serial, name, spki_sha256: spkiSha256, not_after: notAfter };
      return tx
        .change(
          tx.query
            .insertInto('issued_certificates')
            .values(row)
            .onConflict((conflict) => conflict.column('serial').doUpdateSet(row)),
        )
        .map(() => undefined);
    }),

  issued: (of) =>
    database.read('revocation.issued', (tx) => {
      const all = tx.query.selectFrom('issued_certificates').selectAll().orderBy('serial');
      const wanted = 'serial' in of ? all.where('serial', '=', of.serial) : all.where('name', '=', of.name);
      return tx.rows(wanted, isIssuedRow).map((rows) => rows.map(issuedOf));
    }),
});
