import { err, ok, type Result } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { type BannedKey, keyBanned } from '../../../domain/trust/banned-key.js';
import { integer, shape, text } from './shape.js';
import type { Tables } from './tables.js';
import type { StoreFailed, Transaction } from './transaction.js';

type BannedRow = Tables['banned_keys'];

const isBannedRow = shape<BannedRow>({ spki_sha256: text, name: text, banned_at: integer }, {});

const bannedOf = ({ spki_sha256, name, banned_at }: BannedRow): BannedKey => ({
  spkiSha256: spki_sha256,
  name,
  bannedAt: banned_at,
});

/** Sorted by time, then by key. */
export const readBans = (tx: Transaction): Result<readonly BannedKey[], StoreFailed> =>
  tx
    .rows(
      tx.query.selectFrom('banned_keys').selectAll().orderBy('banned_at').orderBy('spki_sha256'),
      isBannedRow,
    )
    .map((rows) => rows.map(bannedOf));

export const readBan = (tx: Transaction, spkiSha256: string): Result<BannedKey | undefined, StoreFailed> =>
  tx
    .rows(tx.query.selectFrom('banned_keys').selectAll().where('spki_sha256', '=', spkiSha256), isBannedRow)
    .map(([row]) => row && bannedOf(row));

export const ban = (
  tx: Transaction,
  { spkiSha256, name, bannedAt }: BannedKey,
): Result<number, StoreFailed> =>
  tx.change(
    tx.query
      .insertInto('banned_keys')
      .values({ spki_sha256: spkiSha256, name, banned_at: bannedAt })
      .onConflict((conflict) => conflict.column('spki_sha256').doNothing()),
  );

export const unban = (tx: Transaction, spkiSha256: string): Result<BannedKey | undefined, StoreFailed> =>
  readBan(tx, spkiSha256).andThen((banned) =>
    tx.change(tx.query.deleteFrom('banned_keys').where('spki_sha256', '=', spkiSha256)).map(() => banned),
  );

/** A key that a person has revoked is pinned for nobody. */
export const notBanned = (
  tx: Transaction,
  spkiSha256: string,
): Result<void, CtrlExecError<'key_banned'> | StoreFailed> =>
  readBan(tx, spkiSha256).andThen((banned) =>
    banned === undefined ? ok(undefined) : err(keyBanned(banned)),
  );
