import { errAsync, ok, okAsync, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { parseHostArgument } from '../../../domain/core/host-argument.js';
import { shortestAddress } from '../../../domain/core/ip-prefix.js';
import { parseJsonObject } from '../../../domain/core/json.js';
import { agentName } from '../../../domain/core/names.js';
import { agentPort } from '../../../domain/protocol/agent-protocol.js';
import { mayAnswerUnsigned } from '../../../domain/trust/agent-standing.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type { TransportAnswer } from '../../../ports/transport.js';
import type { DispatcherContext } from '../context.js';
import { spkiDigest } from '../trust/agent-key.js';
import { type AgentRequest, type ContactError, notSent, sendSigned } from '../trust/agent-request.js';
import { type Addressed, destinationOf, hasKey, target } from '../trust/agent-target.js';
import { confirmed } from '../trust/first-contact.js';
import { type DispatcherIdentity, readDispatcherIdentity } from '../trust/identity.js';
import { pendingSince } from '../trust/pending-revocations.js';
import { permissionBy } from '../trust/permission.js';
import { bringUpToDate, meet } from '../trust/reconcile/catch-up.js';
import { canBeIntroduced, introduceAgain } from '../trust/reconcile/introduction.js';
import type { Known } from '../trust/reconcile/tell.js';

/** From so many arguments on the whole registry is read at once. */
const manyHosts = 32;

/** Finds what each host argument stands for; a repeated one counts once. `port` overrides what is stored. */
export function address(
  context: DispatcherContext,
  hosts: readonly string[],
  port?: number,
): ResultAsync<readonly Addressed[], CtrlExecError<'invalid_argument' | 'store_failed'>> {
  return safeTry(async function* () {
    const all =
      hosts.length >= manyHosts
        ? new Map((yield* context.registry.list()).map((record) => [record.name, record]))
        : undefined;
    const addressed = new Map<string, Addressed>();
    for (const text of hosts) {
      // What can be no name is not in the registry, and may be what no store takes.
      const name = agentName(text).unwrapOr(undefined);
      const record =
        name === undefined ? undefined : all ? all.get(name) : yield* context.registry.find(name);
      if (record) {
        addressed.set(record.name, destinationOf(record, port));
        continue;
      }
      const parsed = yield* parseHostArgument(text);
      const dial = { host: parsed.host, port: parsed.port ?? port ?? agentPort };
      addressed.set(text, { host: text, record: undefined, dial });
    }
    return ok([...addressed.values()]);
  });
}

/** Who gave an answer, by its registry name. */
interface Answerer {
  readonly name: string;
  /** Since when it lacks a revocation, epoch milliseconds; absent: it has acknowledged the newest list, or takes none. */
  readonly revocationsPendingSince?: number;
}

/** An agent's answer, the milliseconds it took, and who gave it. */
export interface AgentAnswer extends Answerer {
  readonly answer: TransportAnswer;
  readonly rtt: number;
}

/**
 * One exchange with an agent, which is first told what it has missed. The first answer of a freshly issued key makes its pin
 * active. A hook that takes its time about the agent that answers is waited for without a connection.
 */
export function exchange(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
  request: AgentRequest,
): ResultAsync<AgentAnswer, ContactError> {
  const permission = addressed.permit && permissionBy(context, addressed.permit, request.signal);
  const { record } = addressed;
  const attempt = (as = identity): ResultAsync<AgentAnswer, ContactError> => {
    const started = context.clock.monotonic();
    return sendSigned(context, as, target(context, as, as.cas, addressed, permission), request)
      .andThen((answer) => {
        const rtt = Math.round(context.clock.monotonic() - started);
        const accepted = isMismatch(answer) ? undefined : as.certificate.serial;
        return seen(context, addressed, answer.peer, accepted).map((answerer) => ({
          answer,
          rtt,
          ...answerer,
        }));
      })
      .orElse((error) => permission?.decided()?.andThen(() => attempt(as)) ?? errAsync(error));
  };
  const { signal } = request;
  const ready: ResultAsync<void, ContactError> = record
    ? bringUpToDate(context, identity, { ...addressed, record, signal }).andThen(() =>
        mustSign(context, identity, { ...addressed, record, signal }, request),
      )
    : okAsync(undefined);
  return ready
    .mapErr((error): ContactError => notSent(error))
    .andThen(() => attempt())
    .mapErr((error) => (record ? error : ofStranger(addressed.host, error)))
    .andThen((first) =>
      // It has not begun anything.
      isMismatch(first.answer)
        ? acquainted(context, identity, addressed, first, signal)
            .mapErr((error): ContactError => notSent(error))
            .andThen((as) => (as ? attempt(as) : okAsync(first)))
        : okAsync(first),
    );
}

/** A name that reached nobody is often a slip: whoever gave it must learn that it is no registered one. */
function ofStranger(host: string, error: ContactError): ContactError {
  const unreached =
    error.code === 'host_unresolved' ||
    error.code === 'connection_refused' ||
    error.code === 'connection_failed' ||
    (error.code === 'timed_out' && error.phase === 'connect');
  const name = !host.includes(':') && shortestAddress(host) === undefined;
  return unreached && name
    ? { ...error, message: `${host} is not registered here; ${error.message}` }
    : error;
}

/**
 * Nothing is begun at an agent whose answer could not be accepted: whether one that was not seen yet signs shows a ping. A legacy
 * agent that nobody allows is told apart by that.
 */
function mustSign(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  agent: Known,
  { path }: AgentRequest,
): ResultAsync<void, ContactError> {
  const { record } = agent;
  const certain = record.standing.speaks === 'signed' || path === '/ping';
  if (certain || mayAnswerUnsigned(record, context.settings.allowLegacyAgents)) return okAsync(undefined);
  return meet(context, identity, agent).mapErr((error) =>
    error.code === 'unverified'
      ? failure(
          'unverified',
          `${record.name} does not sign its answers, so nothing was asked of it: if it is a legacy agent, name it in allow_legacy_agents`,
          { reason: error.reason },
        )
      : error,
  );
}

/**
 * An agent does not know the serial that it was asked by: this dispatcher's identity was replaced since, or the agent was
 * asked by another spelling of its name and had missed something, or it has forgotten (restored from a backup, say). Ok: the
 * identity that it knows now, or undefined where it cannot be told.
 */
function acquainted(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
  { answer }: AgentAnswer,
  signal: AbortSignal | undefined,
): ResultAsync<DispatcherIdentity | undefined, ContactError> {
  const { registry } = context;
  return safeTry<DispatcherIdentity | undefined, ContactError>(async function* () {
    const record = yield* addressed.record
      ? registry.find(addressed.record.name)
      : registry.findByKey(spkiDigest(context, answer.peer));
    const latest = await readDispatcherIdentity(context);
    if (!record || latest.isErr()) return ok(undefined);
    const { own } = latest.value;
    const replaced = own.current !== identity.own.current;
    if (replaced && record.standing.serials.includes(own.current)) return ok(latest.value);
    const { speaks, serials } = record.standing;
    // What a legacy agent was told it takes into use when it is started again, and 0.8 forgets the serial of before.
    const other = [latest.value.next, latest.value.previous].find(
      (each) => each && serials.includes(each.certificate.serial),
    );
    if (speaks === 'unsigned' && other) return ok({ ...latest.value, ...other });
    if (!canBeIntroduced(context, latest.value, { ...addressed, record })) return ok(undefined);
    const done = yield* introduceAgain(context, latest.value, { ...addressed, record, signal });
    return ok(done ? latest.value : undefined);
  });
}

function isMismatch({ status, body }: TransportAnswer): boolean {
  if (status !== 403) return false;
  const error = parseJsonObject(body).map((value) => value['error']);
  return error.isOk() && (error.value === 'serial mismatch' || error.value === 'forbidden');
}

/** Who answered, and by which serial of this dispatcher he has let himself be asked. What cannot be recorded of it is logged; the answer stands. */
function seen(
  context: DispatcherContext,
  { host, record }: Addressed,
  peer: Certificate,
  accepted: string | undefined,
): ResultAsync<Answerer, never> {
  const { clock, registry, revocations } = context;
  const digest = spkiDigest(context, peer);
  return safeTry<Answerer, CtrlExecError<'agent_unknown' | 'store_failed'>>(async function* () {
    const known = record && hasKey(record, digest) ? record : yield* registry.findByKey(digest);
    if (!known) return ok({ name: host });
    const { name } = known;
    yield* confirmed(context, known, peer);
    const noted = yield* registry.note(name, {
      lastContact: clock.now(),
      ...(accepted !== undefined && { accepted }),
    });
    const since = yield* pendingSince(context, noted, yield* revocations.revision());
    const pending = /* defence: pending-revocations-are-said */ since !== undefined && {
      revocationsPendingSince: since,
    };
    return ok({ name, ...pending });
  }).orElse((error) => {
    // An agent that was unpaired meanwhile has nothing to be recorded in.
    if (error.code === 'store_failed') recordFailed(context, error.message);
    return ok({ name: record?.name ?? host });
  });
}

/** The member of results that tells of it. */
export const pendingMember = ({ revocationsPendingSince: since }: AgentAnswer) =>
  since === undefined ? {} : { revocationsPendingSince: since };

/** Something happened that the store could not take: the log has to hold it. */
export const recordFailed = (context: DispatcherContext, reason: string, reqid?: string): void =>
  context.events.emit({ action: 'record-failed', level: 'error', fields: { reqid, reason } });
