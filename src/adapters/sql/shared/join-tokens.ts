import { err, ok, type Result, safeTry } from 'neverthrow';
import type { JoinTokenRecord } from '../../../domain/pairing/join-token.js';
import type { JoinTokens } from '../../../ports/join-tokens.js';
import { integer, orNull, shape, text } from './shape.js';
import type { Tables } from './tables.js';
import { type Database, type StoreFailed, storeFailed, type Transaction } from './transaction.js';

type TokenRow = Tables['join_tokens'];

const isTokenRow = shape<TokenRow>(
  {
    id: text,
    name: text,
    key: text,
    bound_to: orNull(text),
    created_at: integer,
    expires_at: integer,
    burnt_at: orNull(integer),
  },
  {},
);

const tokenOf = (row: TokenRow): JoinTokenRecord => ({
  id: row.id,
  name: row.name,
  key: row.key,
  boundTo: row.bound_to ?? undefined,
  createdAt: row.created_at,
  expiresAt: row.expires_at,
  burntAt: row.burnt_at ?? undefined,
});

const rowOf = (token: JoinTokenRecord): TokenRow => ({
  id: token.id,
  name: token.name,
  key: token.key,
  bound_to: token.boundTo ?? null,
  created_at: token.createdAt,
  expires_at: token.expiresAt,
  burnt_at: token.burntAt ?? null,
});

export const findToken = (tx: Transaction, id: string): Result<JoinTokenRecord | undefined, StoreFailed> =>
  tx
    .rows(tx.query.selectFrom('join_tokens').selectAll().where('id', '=', id), isTokenRow)
    .map(([row]) => (row === undefined ? undefined : tokenOf(row)));

/** Binds an unbound token; whether it is bound to this CSR now. */
export const bindToken = (tx: Transaction, id: string, csrSha256: string): Result<boolean, StoreFailed> => {
  const unbound = tx.query
    .updateTable('join_tokens')
    .set({ bound_to: csrSha256 })
    .where('id', '=', id)
    .where('bound_to', 'is', null);
  return tx
    .change(unbound)
    .andThen(() => findToken(tx, id))
    .map((token) => token?.boundTo === csrSha256);
};

/** Marks the bound tokens of a host as used. */
export const burnTokens = (tx: Transaction, name: string, at: number): Result<number, StoreFailed> =>
  tx.change(
    tx.query
      .updateTable('join_tokens')
      .set({ burnt_at: at })
      .where('name', '=', name)
      .where('bound_to', 'is not', null)
      .where('burnt_at', 'is', null),
  );

/** The join tokens, over one SQLite file. */
export const sqliteJoinTokens = (database: Database): JoinTokens => ({
  add: (token) =>
    database.write('join-token.add', (tx) =>
      safeTry(function* () {
        if ((yield* findToken(tx, token.id)) !== undefined)
          return err(storeFailed('join-token.add', 'exists', 'there is a join token of this id already'));
        yield* tx.change(tx.query.insertInto('join_tokens').values(rowOf(token)));
        return ok(undefined);
      }),
    ),

  find: (id) => database.read('join-token.find', (tx) => findToken(tx, id)),

  list: () =>
    database.read('join-token.list', (tx) =>
      tx
        .rows(tx.query.selectFrom('join_tokens').selectAll().orderBy('created_at').orderBy('id'), isTokenRow)
        .map((rows) => rows.map(tokenOf)),
    ),

  bind: (id, csrSha256) => database.write('join-token.bind', (tx) => bindToken(tx, id, csrSha256)),

  burnBound: (name, at) =>
    database.write('join-token.burn', (tx) => burnTokens(tx, name, at).map(() => undefined)),

  purge: (expiredBefore) =>
    database.write('join-token.purge', (tx) =>
      tx.change(tx.query.deleteFrom('join_tokens').where('expires_at', '<', expiredBefore)),
    ),
});
