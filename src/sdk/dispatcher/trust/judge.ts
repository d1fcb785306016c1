import { errAsync, okAsync, ResultAsync, safeTry } from 'neverthrow';
import { failure } from '../../../domain/core/errors.js';
import { printable } from '../../../domain/core/names.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import { type Certificate, whyUnusable } from '../../../domain/trust/certificate.js';
import type { CallError } from '../../protocol/client.js';
import type { DispatcherContext } from '../context.js';
import { describe, spkiDigest } from './agent-key.js';
import type { Destination } from './destination.js';

type Judged = ResultAsync<void, CallError>;

const hasKey = ({ pins }: AgentRecord, digest: string) => pins.some((pin) => pin.spkiSha256 === digest);

/**
 * Whether the key that answers is the one that may: pinned for the registered name, or, for an argument that is no
 * registered name, pinned for some registered agent (wire-protocol 2.1) that the caller may ask.
 * @param own this side's certificate: under a legacy CA any certificate may answer, this one too
 */
export function judge(
  context: DispatcherContext,
  { host, record, dial, allowExpired, pinWhoever = false, approves }: Destination,
  own: Certificate,
  peer: Certificate,
): Judged {
  const { registry } = context;
  const digest = spkiDigest(context, peer);
  const found = describe(peer);
  const wrong = (message: string): Judged =>
    errAsync(
      failure('wrong_identity', `wrong identity: ${message}; nothing was sent`, { expected: host, found }),
    );
  const usable = (owner: AgentRecord, expiredToo = false): Judged =>
    notRevoked(context, owner, peer).andThen(() =>
      expiredToo ? okAsync(undefined) : inDate(context, owner.name, peer, dial.host),
    );
  return safeTry<void, CallError>(async function* () {
    if (!record) {
      const owner = yield* registry.findByKey(digest);
      // defence: unknown-key-is-refused
      if (!owner) return wrong(`${printable(host)} answers as ${found}, whose key no registered agent has`);
      return usable(owner).andThen(() => approves?.(owner.name) ?? okAsync(undefined));
    }
    if (hasKey(record, digest)) return usable(record, allowExpired);
    // Its key may have been renewed since the record was read.
    const latest = yield* registry.find(record.name);
    if (latest && /* defence: agent-has-key-of-its-name */ hasKey(latest, digest))
      return usable(record, allowExpired);
    if (latest?.adopted)
      return usable(latest).andThen(() => pinFirst(context, latest, peer, { own, whoever: pinWhoever }));
    return wrong(`the host that answers for ${host} has the key of ${found}, not the one that was paired`);
  });
}

/** A certificate that is out of date, or made by a clock that was ahead, is no identity; `readmit` is the way back. */
function inDate({ clock }: DispatcherContext, name: string, peer: Certificate, host: string): Judged {
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
function notRevoked(context: DispatcherContext, { name, pins }: AgentRecord, peer: Certificate): Judged {
  const { serial } = peer;
  const { revocations } = context;
  const digest = spkiDigest(context, peer);
  const ofKey = pins.filter((pin) => pin.spkiSha256 === digest).map((pin) => pin.serial);
  // Another dispatcher may have issued this one for the same key: whoever revoked the agent here does not mean to speak with it.
  const others = ofKey.includes(serial) ? [] : ofKey;
  return safeTry<void, CallError>(async function* () {
    const asked = [serial, ...others].map((each) => revocations.has(each));
    const [itself = false, ...own] = yield* ResultAsync.combine(asked);
    const listed = itself || (own.length > 0 && own.every((each) => each));
    const banned = (yield* revocations.banOf(digest)) !== undefined;
    const revoked =
      /* defence: revoked-agent-is-refused */ listed || /* defence: banned-key-is-refused */ banned;
    const message = `the certificate of ${name} (serial ${serial}) was revoked; nothing was sent`;
    return revoked ? errAsync(failure('revoked', message, { name, serial })) : okAsync(undefined);
  });
}

/** Whether a certificate of the CA names this host (wire-protocol 2.1); a legacy one has nothing but its common name. */
function names({ commonName, dnsNames }: Certificate, { endpoint }: AgentRecord): boolean {
  const host = endpoint.host.toLowerCase();
  const named = dnsNames.length > 0 ? dnsNames : [commonName ?? ''];
  return named.some((name) => name.toLowerCase() === host);
}

/**
 * Pins the key of an agent that was taken over from another installation, at its first contact: if its certificate names the
 * recorded host, or an operator says so (`whoever`). Else `unpinned`, and nothing is sent.
 */
function pinFirst(
  context: DispatcherContext,
  record: AgentRecord,
  peer: Certificate,
  by: { readonly own: Certificate; readonly whoever: boolean },
): Judged {
  const { crypto, events, registry } = context;
  const { name, endpoint } = record;
  const found = describe(peer);
  const refuse = (reason: string): Judged =>
    errAsync(failure('unpinned', `${name} is unpinned: ${reason}; nothing was sent`, { name, found }));
  if (crypto.equal(peer.spki, by.own.spki))
    return refuse('what answers there has the key of this dispatcher');
  // defence: first-pin-is-of-recorded-host
  if (!by.whoever && !names(peer, record))
    return refuse(
      `the certificate that answers is of ${found}, not of ${endpoint.host}: if it is the right host, run edit-agent ${name} --pin`,
    );
  const spkiSha256 = spkiDigest(context, peer);
  const { serial, notAfter, notBefore: issuedAt } = peer;
  return registry
    .pin(name, { spkiSha256, serial, notAfter, issuedAt })
    .map(() =>
      events.emit({ action: 'agent-pinned', level: 'warning', fields: { host: name, serial, found } }),
    )
    .orElse((error) =>
      error.code === 'store_failed'
        ? errAsync(error)
        : refuse(`the key that answers cannot be pinned: ${error.message}`),
    );
}
