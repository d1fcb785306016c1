import { err, errAsync, ok, type ResultAsync, safeTry } from 'neverthrow';
import { hex } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { agentName } from '../../../domain/core/names.js';
import {
  maxPingAnswer,
  readAcknowledgement,
  readPingAnswer,
  readRenewal,
} from '../../../domain/protocol/agent-protocol.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import { agentUri, type Certificate } from '../../../domain/trust/certificate.js';
import type { Validity } from '../../../ports/certificate-authority.js';
import type { DispatcherContext } from '../context.js';
import { freshReqid, sendSigned, shortRequest } from './agent-request.js';
import { destinationOf, target } from './agent-target.js';
import { confirmed } from './first-contact.js';
import { holding } from './holding.js';
import { type DispatcherIdentity, loadIdentity } from './identity.js';
import { bringUpToDate } from './reconcile/catch-up.js';
import { introduceAgain } from './reconcile/introduction.js';
import { isStranger } from './reconcile/tell.js';
import { validFor } from './validity.js';

/** An agent's new certificate. */
export interface Renewal {
  readonly name: string;
  readonly serial: string;
  /** Epoch milliseconds. */
  readonly notAfter: number;
}

/** Nobody else renews the same agent meanwhile: the lock's name is no script's. */

/**
 * Renews an agent's certificate over a fresh key (wire-protocol 2.4). The new key is pinned beside the old one before the
 * agent learns of its certificate, and stays pinned until it was seen: interrupted anywhere, one of the two answers.
 * @param allowExpired take the present certificate although it is out of date, its key being the pinned one
 */
export function renewAgent(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  record: AgentRecord,
  options: { readonly allowExpired?: boolean; readonly signal?: AbortSignal } = {},
): ResultAsync<Renewal, CtrlExecError> {
  const { events } = context;
  return holding(context, `renew:${record.name}`, () =>
    renewed(context, identity, record, options, freshReqid(context)),
  )
    .map((renewal) => {
      const { name: host, serial, notAfter } = renewal;
      events.emit({
        action: 'agent-renewed',
        fields: { host, serial, until: new Date(notAfter).toISOString() },
      });
      return renewal;
    })
    .mapErr((error) => {
      const reason = error.message;
      events.emit({ action: 'renewal-failed', level: 'warning', fields: { host: record.name, reason } });
      return error;
    });
}

function renewed(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  record: AgentRecord,
  { allowExpired = false, signal }: { readonly allowExpired?: boolean; readonly signal?: AbortSignal },
  reqid: string,
): ResultAsync<Renewal, CtrlExecError> {
  const { authority, certificateRequests, clock, crypto, registry, settings, transport } = context;
  const agent = destinationOf(record);
  const outdated = { ...agent, allowExpired, signal };
  const to = target(context, identity, identity.cas, outdated);
  const post = (path: string, body: unknown) =>
    sendSigned(context, identity, to, {
      method: 'POST',
      path,
      body,
      ...shortRequest,
      ...(signal && { signal }),
    });
  const thereafter = target(context, identity, identity.cas, agent);
  // A connection of before may belong to a key that is not the agent's any more, or to a certificate that has expired.
  const afresh = () => {
    for (const { connectionKey } of [to, thereafter]) transport.forget(connectionKey);
  };
  const begin = () =>
    post('/renew', { reqid, key: 'new' })
      .mapErr((error): CtrlExecError => error)
      .andThen(({ status, body, peer }) => readRenewal(status, body).map((csr) => ({ csr, peer })));
  return safeTry<Renewal, CtrlExecError>(async function* () {
    yield* bringUpToDate(context, identity, outdated);
    afresh();
    const begun = yield* begin().orElse((error) =>
      isStranger(error)
        ? introduceAgain(context, identity, outdated)
            .mapErr((failed): CtrlExecError => failed)
            .andThen((done) => (done ? begin() : errAsync(error)))
        : errAsync(error),
    );
    const csr = yield* certificateRequests.read(begun.csr);
    const name = yield* certifiedName(begun.peer, record);
    const latest = yield* registry.find(record.name);
    if (!latest) return err(unknown(record.name));
    // It may have the certificate of a renewal whose end was not seen: that pin must not give way to the next one.
    yield* confirmed(context, latest, begun.peer);
    // It presents its certificate as a client, too, when it pings itself.
    const asClientToo = latest.standing.speaks !== 'signed';
    const profile = { kind: 'agent', /* defence: renewal-names-as-recorded */ name, asClientToo } as const;
    // Taken before: a CA that takes over meanwhile must find it to be of the former one.
    const issuedAt = clock.now();
    const validity = notBefore(begun.peer, validFor(context, settings.certDays), issuedAt);
    const certificate = yield* authority.issue(profile, csr.spki, validity);
    const { serial, notAfter } = certificate;
    const spkiSha256 = hex(crypto.sha256(csr.spki));
    yield* registry.renew(record.name, {
      spkiSha256,
      serial,
      notAfter,
      issuedAt,
      renewal: true,
    });
    const completed = yield* post('/renew-complete', {
      reqid,
      cert: certificate.pem,
      ca: identity.cas.join(''),
    });
    yield* readAcknowledgement(completed.status, completed.body);
    afresh();
    // Seen at once, so that the old key is not needed any longer than it must be.
    const seen = yield* sendSigned(context, identity, thereafter, {
      method: 'POST',
      path: '/ping',
      body: { reqid },
      ...shortRequest,
      maxAnswer: maxPingAnswer,
      ...(signal && { signal }),
    });
    yield* readPingAnswer(seen.status, seen.body);
    if (seen.peer.serial === serial) yield* registry.activate(record.name, spkiSha256);
    yield* registry.note(record.name, { lastContact: clock.now() });
    return ok({ name: record.name, serial, notAfter });
  }).mapErr((error) => {
    // How far it came is seen by what the agent presents to the next who asks.
    afresh();
    return error;
  });
}

/**
 * The name that the agent's present certificate was issued for, never one that it asks for: an agent that was renamed in the
 * registry keeps it. A certificate of an imported CA may have none; there it is the registry's.
 */
function certifiedName({ uris }: Certificate, record: AgentRecord): ReturnType<typeof agentName> {
  const prefix = agentUri('');
  const uri = uris.find((each) => each.startsWith(prefix));
  return agentName(uri?.slice(prefix.length) ?? record.name);
}

const unknown = (name: string) =>
  failure('agent_unknown', `no agent of that name is registered: ${name}`, { name });

/**
 * Not from before the present certificate, which was issued a moment ago or not dated back: an agent takes that for an older one
 * (wire-protocol 2.4). One of a clock that is ahead does not count.
 */
const notBefore = (present: Certificate, validity: Validity, now: number): Validity =>
  present.notBefore > now
    ? validity
    : { ...validity, notBefore: Math.max(validity.notBefore, present.notBefore) };

/** An expired certificate is taken for this one renewal (`readmit`), which needs the agent to be reachable now. */
export function readmit(
  context: DispatcherContext,
  name: string,
  signal?: AbortSignal,
): ResultAsync<Renewal, CtrlExecError> {
  return safeTry<Renewal, CtrlExecError>(async function* () {
    const identity = yield* loadIdentity(context);
    const known = yield* agentName(name);
    const record = yield* context.registry.find(known);
    if (!record) return err(unknown(known));
    return renewAgent(context, identity, record, { allowExpired: true, ...(signal && { signal }) });
  });
}
