import { err, ok, type Result } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import {
  type PairingDecision,
  type PairingRequest,
  type PairingState,
  unknownRequest,
} from '../../../domain/pairing/request.js';
import { either, flag, integer, oneOf, orNull, shape, text } from './shape.js';
import type { StoreFailed, Transaction } from './transaction.js';

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
  readonly place: 'compare' | 'join';
  readonly place_key: string;
  readonly place_until: number;
  readonly stated_ip: string | null;
}

const isTrue = (value: unknown): value is true => value === true;

const isDecision = either(
  shape<Extract<PairingDecision, { verdict: 'approve' }>>(
    { verdict: oneOf('approve'), name: text, replace: flag },
    { lookupBy: oneOf('hostname', 'ip'), port: integer, ip: text },
  ),
  shape<Extract<PairingDecision, { verdict: 'deny' }>>(
    { verdict: oneOf('deny'), reason: text },
    { wrongCode: isTrue },
  ),
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
    place: oneOf('compare', 'join'),
    place_key: text,
    place_until: integer,
    stated_ip: orNull(text),
  },
  {},
);

const requestOf = (row: RequestRow): PairingRequest => ({
  id: row.id,
  state: row.state,
  host: row.host,
  ip: row.ip,
  ...(row.stated_ip !== null && { statedIp: row.stated_ip }),
  port: row.port,
  lookupBy: row.lookup_by,
  code: row.code ?? undefined,
  version: row.version,
  decision: row.decision ?? undefined,
  createdAt: row.created_at,
  expiresAt: row.expires_at,
  place: { kind: row.place, key: row.place_key, until: row.place_until },
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
  place: request.place.kind,
  place_key: request.place.key,
  place_until: request.place.until,
  stated_ip: request.statedIp ?? null,
  issued_name:
    request.state === 'issued' && request.decision?.verdict === 'approve' ? request.decision.name : null,
});

/** A query for requests, by `createdAt`, then id. */
export const requestsWhere = (tx: Transaction) =>
  tx.query.selectFrom('pairing_requests').selectAll().orderBy('created_at').orderBy('id');

export const readRequests = (
  tx: Transaction,
  query: ReturnType<typeof requestsWhere>,
): Result<readonly PairingRequest[], StoreFailed> =>
  tx.rows(query, isRequestRow, ['decision']).map((rows) => rows.map(requestOf));

export const knownRequest = (
  tx: Transaction,
  id: string,
): Result<PairingRequest, CtrlExecError<'pairing_unknown'> | StoreFailed> =>
  readRequests(tx, requestsWhere(tx).where('id', '=', id)).andThen(([request]) =>
    request === undefined ? err(unknownRequest(id)) : ok(request),
  );

export const addRequest = (tx: Transaction, request: PairingRequest): Result<number, StoreFailed> =>
  tx.change(tx.query.insertInto('pairing_requests').values(rowOf(request)));

export const replaceRequest = (
  tx: Transaction,
  request: PairingRequest,
): Result<PairingRequest, StoreFailed> => {
  const { id, ...columns } = rowOf(request);
  return tx
    .change(tx.query.updateTable('pairing_requests').set(columns).where('id', '=', id))
    .map(() => request);
};
