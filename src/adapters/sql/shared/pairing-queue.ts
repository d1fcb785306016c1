import { err, ok, type Result, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import {
  decided,
  type PairingDecision,
  type PairingRequest,
  type PairingState,
  whyUndecidable,
} from '../../../domain/pairing/request.js';
import type { PairingQueue } from '../../../ports/pairing-queue.js';
import { either, flag, integer, oneOf, orNull, shape, text } from './shape.js';
import { type Database, type StoreFailed, storeFailed, type Transaction } from './transaction.js';

interface RequestRow {
  readonly id: string;
  readonly state: PairingState;
  readonly host: string;
  readonly ip: string;
  readonly port: number;
  readonly lookup_by: 'hostname' | 'ip';
  readonly code: string | null;
  readonly version: 'v1' | 'v2';
  readonly decision: PairingDecision | null;
  readonly created_at: number;
  readonly expires_at: number;
}

const isDecision = either(
  shape<Extract<PairingDecision, { verdict: 'approve' }>>(
    { verdict: oneOf('approve'), name: text, replace: flag },
    { lookupBy: oneOf('hostname', 'ip'), port: integer },
  ),
  shape<Extract<PairingDecision, { verdict: 'deny' }>>({ verdict: oneOf('deny'), reason: text }, {}),
);

const isRequestRow = shape<RequestRow>(
  {
    id: text,
    state: oneOf('started', 'open', 'issued', 'active', 'denied', 'expired'),
    host: text,
    ip: text,
    port: integer,
    lookup_by: oneOf('hostname', 'ip'),
    code: orNull(text),
    version: oneOf('v1', 'v2'),
    decision: orNull(isDecision),
    created_at: integer,
    expires_at: integer,
  },
  {},
);

const requestOf = (row: RequestRow): PairingRequest => ({
  id: row.id,
  state: row.state,
  host: row.host,
  ip: row.ip,
  port: row.port,
  lookupBy: row.lookup_by,
  code: row.code ?? undefined,
  version: row.version,
  decision: row.decision ?? undefined,
  createdAt: row.created_at,
  expiresAt: row.expires_at,
});

const rowOf = (request: PairingRequest) => ({
  id: request.id,
  state: request.state,
  host: request.host,
  ip: request.ip,
  port: request.port,
  lookup_by: request.lookupBy,
  code: request.code ?? null,
  version: request.version,
  decision: request.decision === undefined ? null : JSON.stringify(request.decision),
  created_at: request.createdAt,
  expires_at: request.expiresAt,
});

const find = (tx: Transaction, id: string): Result<PairingRequest | undefined, StoreFailed> =>
  tx
    .rows(tx.query.selectFrom('pairing_requests').selectAll().where('id', '=', id), isRequestRow, [
      'decision',
    ])
    .map(([row]) => (row === undefined ? undefined : requestOf(row)));

const known = (
  tx: Transaction,
  id: string,
): Result<PairingRequest, CtrlExecError<'pairing_unknown'> | StoreFailed> =>
  find(tx, id).andThen((request) =>
    request === undefined
      ? err(failure('pairing_unknown', `there is no pairing request ${id}`, { id }))
      : ok(request),
  );

const replace = (tx: Transaction, request: PairingRequest): Result<PairingRequest, StoreFailed> => {
  const { id, ...columns } = rowOf(request);
  return tx
    .change(tx.query.updateTable('pairing_requests').set(columns).where('id', '=', id))
    .map(() => request);
};

/** The pairing requests, over one SQLite file. */
export const sqlitePairingQueue = (database: Database): PairingQueue => ({
  add: (request) =>
    database.write('pairing.add', (tx) =>
      safeTry(function* () {
        if ((yield* find(tx, request.id)) !== undefined) {
          return err(
            storeFailed('pairing.add', 'exists', `there is a pairing request ${request.id} already`),
          );
        }
        yield* tx.change(tx.query.insertInto('pairing_requests').values(rowOf(request)));
        return ok(undefined);
      }),
    ),

  find: (id) => database.read('pairing.find', (tx) => find(tx, id)),

  list: (states) =>
    database.read('pairing.list', (tx) =>
      tx
        .rows(
          tx.query
            .selectFrom('pairing_requests')
            .selectAll()
            .where('state', 'in', states)
            .orderBy('created_at')
            .orderBy('id'),
          isRequestRow,
          ['decision'],
        )
        .map((rows) => rows.map(requestOf)),
    ),

  advance: (id, state, change) =>
    database.write('pairing.advance', (tx) =>
      known(tx, id).andThen((request) =>
        replace(tx, { ...request, state, code: change?.code ?? request.code }),
      ),
    ),

  decide: (id, decision, now) =>
    database.write('pairing.decide', (tx) =>
      safeTry(function* () {
        const request = yield* known(tx, id);
        const state = whyUndecidable(request, now);
        if (state === undefined) return replace(tx, decided(request, decision));
        const message = `pairing request ${id} cannot be decided: it is ${state}`;
        return err(failure('not_ready', message, { id, state }));
      }),
    ),

  expire: (before) =>
    database.write('pairing.expire', (tx) => {
      const waiting = tx.query
        .updateTable('pairing_requests')
        .set({ state: 'expired' })
        .where('state', 'in', ['started', 'open']);
      return tx.change(before === undefined ? waiting : waiting.where('expires_at', '<=', before));
    }),

  purge: (createdBefore) =>
    database.write('pairing.purge', (tx) =>
      tx.change(
        tx.query
          .deleteFrom('pairing_requests')
          .where('state', 'in', ['active', 'denied', 'expired'])
          .where('created_at', '<', createdBefore),
      ),
    ),
});
