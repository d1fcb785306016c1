import { err, ok, type Result } from 'neverthrow';
import { utf8 } from '../core/bytes.js';
import {
  anything,
  type DecodedObject,
  decodeObject,
  type Field,
  matching,
  oneOf,
  optional,
  text,
} from '../core/decode.js';
import { agentPort } from '../core/host-argument.js';
import { shortestAddress } from '../core/ip-prefix.js';
import { parseJsonObject } from '../core/json.js';
import { agentName, isReqid } from '../core/names.js';
import type { Sha256 } from '../pairing/transcript.js';
import { canonicalSerial } from '../trust/serial.js';

/** Bytes of a request's or an answer's body at most (wire-protocol 1.1). */
export const maxLegacyBody = 64 * 1024;

/** What a dispatcher says of a request that nobody decided upon within 600 s. */
export const approvalTimeout = 'approval timeout';

/** Why a request is refused before it waits: the words of deployed dispatchers. */
export type LegacyRefusal =
  | 'invalid request'
  | 'invalid hostname'
  | 'request too large'
  | 'pairing queue full'
  | 'internal error';

/** The one message that an agent sends. */
export interface LegacyRequest {
  /** In lower case. */
  readonly host: string;
  /** As it was sent: the code is calculated over it. */
  readonly csrPem: string;
  /** 32 hex digits, as they were sent. */
  readonly nonce: string;
  readonly port: number;
  readonly lookupBy: 'hostname' | 'ip';
  /** The address that the agent has by its own account; undefined: it says none, or what is none. */
  readonly statedIp?: string;
}

/** Deployed agents take the port out of their configuration, as text. */
export const portField: Field<number> = {
  form: 'a port',
  read: (value) => {
    const digits = typeof value === 'number' || typeof value === 'string' ? String(value) : '';
    const port = /^[1-9]\d{0,4}$/.test(digits) ? Number(digits) : 0;
    return port >= 1 && port <= 65_535 ? port : undefined;
  },
};

/** It decides nothing: what is no address is as left out. */
const statedIpOf = (value: unknown): { readonly statedIp?: string } => {
  const statedIp = typeof value === 'string' ? shortestAddress(value) : undefined;
  return statedIp === undefined ? {} : { statedIp };
};

const shapes = {
  request: {
    hostname: text(255),
    csr: text(10_240),
    nonce: matching(/^[0-9a-fA-F]{32}$/, '32 hex digits'),
    port: optional(portField),
    lookup_by: optional(oneOf('hostname', 'ip')),
    ip: optional(anything),
  },
  pending: { status: oneOf('pending'), reqid: text(64) },
  approved: {
    status: oneOf('approved'),
    cert: text(maxLegacyBody),
    ca: text(maxLegacyBody),
    nonce: text(64),
    dispatcher_serial: optional(text(64)),
    dispatcher_id: optional(text(64)),
  },
  refused: { status: text(40), reason: optional(text(1000)) },
} as const;

type Shapes = typeof shapes;

/** Members that are not known are nobody's business, and one that is null is none. */
const read = <K extends keyof Shapes>(kind: K, body: Uint8Array): Result<DecodedObject<Shapes[K]>, string> =>
  parseJsonObject(body).andThen((object) =>
    decodeObject<Shapes[K]>(
      Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null)),
      shapes[kind],
      { open: true },
    ),
  );

/** Reads what an agent asks for (wire-protocol 1.5); `port` is 7443 and `lookup_by` hostname where they are missing. */
export const readLegacyRequest = (
  body: Uint8Array,
): Result<LegacyRequest, { readonly said: LegacyRefusal; readonly reason: string }> =>
  read('request', body)
    .mapErr((reason) => ({ said: 'invalid request' as const, reason }))
    .andThen((message) =>
      agentName(message.hostname, 'hostname')
        .mapErr((error) => ({ said: 'invalid hostname' as const, reason: error.message }))
        .map((host) => ({
          host,
          csrPem: message.csr,
          nonce: message.nonce,
          port: message.port ?? agentPort,
          lookupBy: message.lookup_by ?? 'hostname',
          ...statedIpOf(message.ip),
        })),
    );

/** The body of a request. Its members are in the order of deployed agents. */
export const writeLegacyRequest = ({ host, csrPem, nonce, port, lookupBy }: LegacyRequest): Uint8Array =>
  utf8(JSON.stringify({ hostname: host, nonce, csr: csrPem, port, lookup_by: lookupBy }));

/**
 * The code of version 1, on both hosts: the first four bytes of SHA-256 over the CSR's PEM as sent, modulo a million. Whoever
 * is between the hosts can make a CSR of his own that has the same one.
 */
export function legacyPairingCode(sha256: Sha256, csrPem: string): string {
  const digest = sha256(utf8(csrPem));
  const number = new DataView(digest.buffer, digest.byteOffset).getUint32(0);
  return String(number % 1_000_000).padStart(6, '0');
}

/** A serial as deployed agents compare it: with an even number of digits. */
export const evenSerial = (serial: string): string => (serial.length % 2 === 0 ? serial : `0${serial}`);

/** An agent's reading of an answer. */
export type LegacyAnswer =
  | { readonly kind: 'pending'; readonly request: string }
  | {
      readonly kind: 'approved';
      readonly certificatePem: string;
      /** One or more PEM blocks. */
      readonly caPem: string;
      readonly nonce: string;
      /** Canonical; undefined: not said. */
      readonly serial: string | undefined;
      readonly dispatcherId: string | undefined;
    }
  /** Any other status: `error`, `denied`. */
  | { readonly kind: 'refused'; readonly status: string; readonly reason: string };

/** Reads either answer of a dispatcher; the error text says what is wrong with it. */
export function readLegacyAnswer(body: Uint8Array): Result<LegacyAnswer, string> {
  return read('refused', body).andThen(({ status, reason }): Result<LegacyAnswer, string> => {
    if (status === 'pending')
      return read('pending', body).andThen(({ reqid }) =>
        isReqid(reqid)
          ? ok<LegacyAnswer, string>({ kind: 'pending', request: reqid })
          : err('member "reqid" is no request id'),
      );
    if (status !== 'approved') return ok({ kind: 'refused', status, reason: reason ?? status });
    return read('approved', body).andThen((message) => {
      const serial = message.dispatcher_serial;
      const canonical = serial === undefined ? undefined : canonicalSerial(serial);
      if (serial !== undefined && canonical === undefined)
        return err('member "dispatcher_serial" is no serial');
      return ok<LegacyAnswer>({
        kind: 'approved',
        certificatePem: message.cert,
        caPem: message.ca,
        nonce: message.nonce,
        serial: canonical,
        dispatcherId: message.dispatcher_id,
      });
    });
  });
}

/**
 * The serial of a dispatcher that presents its own certificate at pairing. Deployed dispatchers from 0.12.2 on send one
 * of decimal digits only as if it were a decimal number (serial `16`, hex, as `10`): what the certificate says is true.
 * @param said `dispatcher_serial`, canonical
 * @param presented serial of the certificate that TLS showed, canonical
 */
export const meansSerial = (said: string | undefined, presented: string): boolean =>
  said === undefined ||
  said === presented ||
  (/^\d+$/.test(presented) && BigInt(presented).toString(16) === said);
