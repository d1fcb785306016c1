import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { hex } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { agentName } from '../../../domain/core/names.js';
import { can } from '../../../domain/trust/abilities.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import { agentUri, type Certificate } from '../../../domain/trust/certificate.js';
import type { Validity } from '../../../ports/certificate-authority.js';
import { renewed as completion, ping, renew } from '../../protocol/endpoints.js';
import { acknowledgement, isStranger, refusedBy } from '../../protocol/reading.js';
import type { DispatcherContext } from '../context.js';
import { ask, forgetConnections, freshReqid } from './ask.js';
import { destinationOf } from './destination.js';
import { holding } from './holding.js';
import { type DispatcherIdentity, loadIdentity } from './identity.js';
import { learnAgain } from './reconcile/present-serial.js';
import { reconcileFirst } from './reconcile/reconcile.js';
import { validFor } from './validity.js';

/** An agent's new certificate. */
export interface Renewal {
  readonly name: string;
  readonly serial: string;
  /** Epoch milliseconds. */
  readonly notAfter: number;
}

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
  const { authority, certificateRequests, clock, crypto, registry, settings } = context;
  const agent = { ...destinationOf(record), signal };
  const outdated = { ...agent, allowExpired };
  const begin = () => ask(context, identity, outdated, renew, { reqid, freshKey: true });
  return safeTry<Renewal, CtrlExecError>(async function* () {
    yield* reconcileFirst(context, identity, outdated);
    forgetConnections(context, agent);
    const { answer, peer } = yield* begin().orElse((error) =>
      isStranger(error)
        ? learnAgain(context, identity, outdated).andThen((helped) => (helped ? begin() : err(error)))
        : err(error),
    );
    if (answer.outcome !== 'csr') return err(refusedBy(200, { error: answer.error }));
    const csr = yield* certificateRequests.read(answer.csr);
    const name = yield* certifiedName(peer.certificate, record);
    const latest = yield* registry.find(record.name);
    if (!latest) return err(unknown(record.name));
    // A legacy agent presents its certificate as a client, too, when it pings itself.
    const asClientToo = !can(latest.standing, 'server-only');
    const profile = { kind: 'agent', /* defence: renewal-names-as-recorded */ name, asClientToo } as const;
    // Taken before: a CA that takes over meanwhile must find it to be of the former one.
    const issuedAt = clock.now();
    const validity = notBefore(peer.certificate, validFor(context, settings.certDays), issuedAt);
    const certificate = yield* authority.issue(profile, csr.spki, validity);
    const { serial, notAfter } = certificate;
    const spkiSha256 = hex(crypto.sha256(csr.spki));
    yield* registry.renew(record.name, { spkiSha256, serial, notAfter, issuedAt, renewal: true });
    const end = { reqid, cert: certificate.pem, ca: identity.cas.join('') };
    const completed = yield* ask(context, identity, outdated, completion, end);
    yield* acknowledgement(completion, completed.answer);
    forgetConnections(context, agent);
    // Seen at once, so that the old key is not needed any longer than it must be.
    yield* ask(context, identity, agent, ping, { reqid });
    return ok({ name: record.name, serial, notAfter });
  }).mapErr((error) => {
    // How far it came is seen by what the agent presents to the next who asks.
    forgetConnections(context, agent);
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
