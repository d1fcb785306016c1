import { errAsync, okAsync, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { printable } from '../../../domain/core/names.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import { type Certificate, whyUnusable } from '../../../domain/trust/certificate.js';
import type { TransportError, TransportTarget } from '../../../ports/transport.js';
import type { DispatcherContext } from '../context.js';
import { describe, spkiDigest } from './agent-key.js';
import { pinFirst } from './first-pin.js';
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
  /** Pin the key that answers, whatever its certificate names, where none is pinned yet. Default false. */
  readonly pinWhoever?: boolean;
}

/** A connection to an agent. */
export interface AgentTarget extends TransportTarget {
  /** The agent, as far as it was known beforehand. */
  readonly record: AgentRecord | undefined;
  /** It is a legacy agent, and this side's certificate would be refused in the handshake, for this reason. */
  readonly wouldRefuse: string | undefined;
  /** Serial of this side's certificate. */
  readonly ownSerial: string;
}

export const hasKey = ({ pins }: AgentRecord, digest: string) =>
  pins.some((pin) => pin.spkiSha256 === digest);

/** A certificate that is out of date, or made by a clock that was ahead, is no identity; `readmit` is the way back. */
function inDate(
  { clock }: DispatcherContext,
  name: string,
  peer: Certificate,
  host: string,
): ResultAsync<void, TransportError> {
  const reason = whyUnusable(peer, 'serverAuth', clock.now());
  if (reason === undefined) return okAsync(undefined);
  const expired = peer.notAfter < clock.now();
  const renews = `\`ctrl-exec readmit ${name}\` renews it once`;
  const early = clock.now() < peer.notBefore;
  const hint = expired ? `: ${renews}` : early ? `: where the clock of this host is right, ${renews}` : '';
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
    .andThen((has) => context.revocations.banOf(digest).map((banned) => ({ has, banned })))
    .mapErr((error): TransportError => error)
    .andThen(({ has: [itself = false, ...own], banned }) => {
      const listed = itself || (own.length > 0 && own.every((each) => each));
      const revoked =
        /* defence: revoked-agent-is-refused */ listed ||
        /* defence: banned-key-is-refused */ banned !== undefined;
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
  { host, record, dial, allowExpired, pinWhoever }: Destination,
  permission: Permission | undefined,
  own: Certificate,
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
    const usable = () =>
      notRevoked(context, record, peer).andThen(() =>
        allowExpired ? okAsync(undefined) : inDate(context, record.name, peer, dial.host),
      );
    if (hasKey(record, digest)) return usable();
    // Its key may have been renewed since the record was read.
    return registry
      .find(record.name)
      .mapErr((error): TransportError => error)
      .andThen((latest) => {
        if (latest && /* defence: agent-has-key-of-its-name */ hasKey(latest, digest)) return usable();
        if (latest?.adopted)
          return notRevoked(context, latest, peer)
            .andThen(() => inDate(context, latest.name, peer, dial.host))
            .andThen(() => pinFirst(context, latest, peer, { own, whoever: pinWhoever ?? false }));
        return wrong(
          `the host that answers for ${host} has the key of ${found}, not the one that was paired`,
        );
      });
  }
  return registry
    .findByKey(digest)
    .mapErr((error): TransportError => error)
    .andThen((owner) => {
      // defence: unknown-key-is-refused
      if (!owner) return wrong(`${printable(host)} answers as ${found}, whose key no registered agent has`);
      return notRevoked(context, owner, peer)
        .andThen(() => inDate(context, owner.name, peer, dial.host))
        .andThen(() => (permission ? permission.of(owner.name) : okAsync(undefined)));
    });
}

/** Why a legacy agent is left behind when the CA is replaced (wire-protocol 2.4). */
export const pairAgain = 'a legacy agent does not learn of another CA: pair it again';

/**
 * Why the handshake would fail that many legacy agents do not survive. They accept one CA: one whose certificates are older than
 * ours does not know ours.
 */
function whyRefused(
  { clock, crypto }: DispatcherContext,
  own: Certificate,
  cas: readonly string[],
  { pins, standing }: AgentRecord,
): string | undefined {
  if (standing.speaks === 'signed') return undefined;
  const unusable = whyUnusable(own, 'clientAuth', clock.now());
  if (unusable !== undefined)
    return `the certificate of this dispatcher ${unusable}: a legacy agent would refuse it, and may end by that; pair it again`;
  const read = cas.flatMap((pem) =>
    crypto.readCertificate(pem).match(
      (ca) => [ca],
      () => [],
    ),
  );
  const issuer = read.find((ca) => crypto.issuedBy(own, ca));
  const older = pins.length > 0 && pins.every(({ issuedAt }) => issuer && issuedAt < issuer.notBefore);
  return older ? pairAgain : undefined;
}

/** The connection to an agent, as one of this dispatcher's identities. */
export function target(
  context: DispatcherContext,
  presence: Presence,
  cas: readonly string[],
  destination: Destination,
  permission?: Permission,
): AgentTarget {
  const { credentials, certificate } = presence;
  const { host, record, dial, allowExpired = false } = destination;
  return {
    ...dial,
    record,
    ownSerial: certificate.serial,
    wouldRefuse: record && whyRefused(context, certificate, cas, record),
    credentials,
    trust: cas,
    judge: (peer) => judge(context, destination, permission, certificate, peer),
    ...(allowExpired && { allowExpired }),
    connectionKey: JSON.stringify([dial.host, dial.port, host, ...(allowExpired ? ['expired'] : [])]),
  };
}
