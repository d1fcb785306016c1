import { err, ok, type Result } from 'neverthrow';
import { base64url } from '../core/bytes.js';
import {
  binary,
  type DecodedObject,
  decodeObject,
  type Field,
  integer,
  list,
  matching,
  oneOf,
  optional,
  text,
} from '../core/decode.js';
import { parseJsonObject } from '../core/json.js';

/** Bodies of the pairing port hold at most this many bytes (wire-protocol 2.2). */
export const maxPairingBody = 16 * 1024;

/** The header of M1 by which an agent says what it understands of M2, names separated by commas, and the only such name. */
export const pairFeatures = { header: 'ctrl-exec-pair-features', endorsements: 'ca-endorsements' } as const;

/** Seconds that a session lives. */
export const sessionSeconds = 600;

const version: Field<2> = /* defence: pairing-messages-are-version-2 */ oneOf(2);
const session = binary(16);
const nonce = binary(32);
const mac = binary(32);
const pemList = list(text(8192), 1, 8);

const offer: Field<readonly number[]> = {
  form: '[2] or [1,2]',
  read: (value) => {
    const written = JSON.stringify(value);
    return written === '[2]' ? [2] : written === '[1,2]' ? [1, 2] : undefined;
  },
};

const shapes = {
  start: {
    v: version,
    offer,
    host: matching(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/, 'a host name of at most 64 characters'),
    csr_pem: text(10_240),
    port: integer(1, 65_535),
    lookup_by: oneOf('hostname', 'ip'),
    join: optional(binary(8)),
  },
  started: {
    v: version,
    session,
    commit: binary(32),
    ca_pem: pemList,
    dispatcher_pem: pemList,
    dispatcher_id: matching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'a dispatcher id'),
    expires_in: integer(1, 86_400),
    /** Each a signature over `caEndorsementMessage`; only where the agent asked for them (`pairFeatures`). */
    ca_endorsements: optional(list(binary(), 1, 8)),
  },
  nonce: { v: version, session, nonce, mac: optional(mac) },
  signed: { v: version, session, sig: binary() },
  approved: { status: oneOf('approved'), name: text(64), cert_pem: text(8192) },
  pending: { status: oneOf('pending'), retry_after: integer(1, 60) },
  denied: { status: oneOf('denied'), reason: text(500) },
  error: { status: oneOf('error'), error: text(100) },
} as const;

type Shapes = typeof shapes;
type Decoded<K extends keyof Shapes> = DecodedObject<Shapes[K]>;

export type StartMessage = Decoded<'start'>;
export type StartedMessage = Decoded<'started'>;
export type NonceMessage = Decoded<'nonce'>;

/** Reads a message of the named kind; the error text says what is wrong with it. */
export function readPairingMessage<K extends keyof Shapes>(
  kind: K,
  body: Uint8Array,
): Result<Decoded<K>, string> {
  if (body.length > maxPairingBody) return err(`longer than ${maxPairingBody} bytes`);
  return parseJsonObject(body).andThen((object) => decodeObject<Shapes[K]>(object, shapes[kind]));
}

/** Writes a message: bytes become base64url, members that are undefined are left out. */
export const writePairingMessage = (message: Readonly<Record<string, unknown>>): string =>
  JSON.stringify(
    Object.fromEntries(
      Object.entries(message).map(([name, value]) => [
        name,
        value instanceof Uint8Array ? base64url(value) : value,
      ]),
    ),
  );

/** Error codes of the pairing port and their HTTP status. */
export const pairingErrors = {
  invalid: 400,
  join_refused: 403,
  unknown_session: 404,
  name_registered: 409,
  expired: 410,
  too_large: 413,
  queue_full: 429,
} as const;

export type PairingErrorCode = keyof typeof pairingErrors;

/** The agent's reading of an answer to M5. */
export type ConfirmAnswer =
  | { readonly kind: 'approved'; readonly name: string; readonly certificatePem: string }
  | { readonly kind: 'pending'; readonly retryAfter: number }
  | { readonly kind: 'denied'; readonly reason: string }
  | { readonly kind: 'expired' };

export function readConfirmAnswer(status: number, body: Uint8Array): Result<ConfirmAnswer, string> {
  switch (status) {
    case 200:
      return readPairingMessage('approved', body).map((m) => ({
        kind: 'approved',
        name: m.name,
        certificatePem: m.cert_pem,
      }));
    case 202:
      return readPairingMessage('pending', body).map((m) => ({ kind: 'pending', retryAfter: m.retry_after }));
    case 403:
      return readPairingMessage('denied', body).map((m) => ({ kind: 'denied', reason: m.reason }));
    case 410:
      return ok({ kind: 'expired' });
    default:
      return err(`status ${status}`);
  }
}
