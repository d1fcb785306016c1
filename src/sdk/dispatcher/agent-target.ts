import { errAsync, okAsync, ResultAsync } from 'neverthrow';
import type { AgentRecord } from '../../domain/agent-record.js';
import { hex } from '../../domain/bytes.js';
import { type Certificate, whyUnusable } from '../../domain/certificate.js';
import { type CtrlExecError, failure } from '../../domain/errors.js';
import { printable } from '../../domain/names.js';
import type { TransportError, TransportTarget } from '../../ports/transport.js';
import type { DispatcherContext } from './context.js';
import type { Presence } from './identity.js';
import type { Permission } from './permission.js';

/** A host argument and what it stands for. */
export interface Addressed {
  /** The registry name, or the argument as it stands: the key of results and of locks. */
  readonly host: string;
  readonly record: AgentRecord | undefined;
  readonly dial: { readonly host: string; readonly port: number };
  /** For an argument that is no registered name: whether the agent that it turns out to be may be asked. */
  readonly permit?: (name: string) => ResultAsync<void, CtrlExecError<'denied'>>;
}

/** An agent where it is registered. @param port instead of the stored one */
export const destinationOf = (record: AgentRecord, port?: number) => ({
  host: record.name,
  record,
  dial: {
    host: record.endpoint.lookupBy === 'ip' ? record.endpoint.ip : record.endpoint.host,
    port: port ?? record.endpoint.port,
  },
});

/** Whom a request is for. */
export interface Destination extends Pick<Addressed, 'host' | 'record' | 'dial'> {
  /** Take a certificate that is out of date, its key being the pinned one. Default false. */
  readonly allowExpired?: boolean;
}

export const spkiDigest = (context: DispatcherContext, peer: Certificate) =>
  hex(context.crypto.sha256(peer.spki));

const describe = (peer: Certificate) =>
  printable(peer.uris[0] ?? peer.dnsNames[0] ?? peer.commonName ?? `serial ${peer.serial}`);

export const hasKey = ({ pins }: AgentRecord, digest: string) =>
  pins.some((pin) => pin.spkiSha256 === digest);

/** A certificate that is out of date is no identity; `readmit` is the way back. */
function inDate(
  { clock }: DispatcherContext,
  name: string,
  peer: Certificate,
  host: string,
): ResultAsync<void, TransportError> {
  const reason = whyUnusable(peer, 'serverAuth', clock.now());
  if (reason === undefined) return okAsync(undefined);
  const expired = peer.notAfter < clock.now();
  const hint = expired ? `: \`ctrl-exec readmit ${name}\` renews it once` : '';
  const message = `the certificate of ${name} cannot be used: ${reason}${hint}`;
  return errAsync(failure('tls_failed', message, { host, reason: expired ? 'CERT_HAS_EXPIRED' : reason }));
}

/** Nothing more is sent to a certificate that this dispatcher has revoked, open connections included. */
function notRevoked(
  context: DispatcherContext,
  { name, pins }: AgentRecord,
  peer: Certificate,
): ResultAsync<void, TransportError> {
  const { serial } = peer;
  const digest = spkiDigest(context, peer);
  const ofKey = pins.filter((pin) => pin.spkiSha256 === digest).map((pin) => pin.serial);
  // Another dispatcher may have issued this one for the same key: whoever revoked the agent here does not mean to speak with it.
  const others = ofKey.includes(serial) ? [] : ofKey;
  return ResultAsync.combine([serial, ...others].map((each) => context.revocations.has(each)))
    .mapErr((error): TransportError => error)
    .andThen(([itself = false, ...own]) => {
      const revoked = itself || (own.length > 0 && own.every((each) => each));
      const message = `the certificate of ${name} (serial ${serial}) was revoked; nothing was sent`;
      return revoked ? errAsync(failure('revoked', message, { name, serial })) : okAsync(undefined);
    });
}

/**
 * Whether the key that answers is the one that may: pinned for the registered name, or, for an argument that is no
 * registered name, pinned for some registered agent (wire-protocol 2.1).
 */
function judge(
  context: DispatcherContext,
  { host, record, dial, allowExpired }: Destination,
  permission: Permission | undefined,
  peer: Certificate,
): ResultAsync<void, TransportError> {
  const { registry } = context;
  const digest = spkiDigest(context, peer);
  const found = describe(peer);
  const wrong = (message: string): ResultAsync<void, TransportError> =>
    errAsync(
      failure('wrong_identity', `wrong identity: ${message}; nothing was sent`, { expected: host, found }),
    );
  if (record) {
    // Its key may have been renewed since the record was read.
    const pinned: ResultAsync<boolean, TransportError> = hasKey(record, digest)
      ? okAsync(true)
      : registry.find(record.name).map((latest) => latest !== undefined && hasKey(latest, digest));
    return pinned.andThen((known) =>
      known
        ? notRevoked(context, record, peer).andThen(() =>
            allowExpired ? okAsync(undefined) : inDate(context, record.name, peer, dial.host),
          )
        : wrong(`the host that answers for ${host} has the key of ${found}, not the one that was paired`),
    );
  }
  return registry
    .findByKey(digest)
    .mapErr((error): TransportError => error)
    .andThen((owner) => {
      if (!owner) return wrong(`${printable(host)} answers as ${found}, whose key no registered agent has`);
      return notRevoked(context, owner, peer)
        .andThen(() => inDate(context, owner.name, peer, dial.host))
        .andThen(() => (permission ? permission.of(owner.name) : okAsync(undefined)));
    });
}

/** The connection to an agent, as one of this dispatcher's identities. */
export function target(
  context: DispatcherContext,
  { credentials }: Presence,
  cas: readonly string[],
  destination: Destination,
  permission?: Permission,
): TransportTarget {
  const { host, dial, allowExpired = false } = destination;
  return {
    ...dial,
    credentials,
    trust: cas,
    judge: (peer) => judge(context, destination, permission, peer),
    ...(allowExpired && { allowExpired }),
    connectionKey: JSON.stringify([dial.host, dial.port, host, ...(allowExpired ? ['expired'] : [])]),
  };
}
