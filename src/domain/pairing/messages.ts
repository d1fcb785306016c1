import { base64url } from '../core/bytes.js';
import type { Codec, JsonObject } from '../core/decode.js';
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

/** Bodies of the pairing port hold at most this many bytes (wire-protocol 2.2). */
export const maxPairingBody = 16 * 1024;

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
  ok: { status: oneOf('ok') },
} as const;

type Shapes = typeof shapes;
type Decoded<K extends keyof Shapes> = DecodedObject<Shapes[K]>;

export type StartMessage = Decoded<'start'>;
export type StartedMessage = Decoded<'started'>;

/** How a message of the named kind travels. An unknown member is an error. */
export const pairingMessage = <K extends keyof Shapes>(kind: K): Codec<Decoded<K>> => ({
  read: (object) => decodeObject<Shapes[K]>(object, shapes[kind]),
  write: writePairingMessage,
});

/** Bytes become base64url. */
const written = (value: unknown): unknown =>
  value instanceof Uint8Array ? base64url(value) : Array.isArray(value) ? value.map(written) : value;

/** A message as it travels: bytes become base64url, members that are undefined are left out. */
export const writePairingMessage = (message: object): JsonObject =>
  Object.fromEntries(Object.entries(message).map(([name, value]) => [name, written(value)]));

/** Why the pairing port refuses a message (wire-protocol 2.2). */
export type PairingErrorCode =
  | 'invalid'
  | 'join_refused'
  | 'unknown_session'
  | 'name_registered'
  | 'expired'
  | 'too_large'
  | 'queue_full';
