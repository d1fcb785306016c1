import { ok, okAsync, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { agentPort, parseHostArgument } from '../../../domain/core/host-argument.js';
import { shortestAddress } from '../../../domain/core/ip-prefix.js';
import { agentName } from '../../../domain/core/names.js';
import { can } from '../../../domain/trust/abilities.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import { mayAnswerUnsigned } from '../../../domain/trust/agent-standing.js';
import type { CallError, Called, CallOptions } from '../../protocol/client.js';
import type { Answers, Endpoint } from '../../protocol/endpoint.js';
import { ping } from '../../protocol/endpoints.js';
import { isStranger } from '../../protocol/reading.js';
import type { DispatcherContext } from '../context.js';
import { ask } from '../trust/ask.js';
import { type Addressed, type AskedBy, destinationOf, type Known } from '../trust/destination.js';
import type { DispatcherIdentity } from '../trust/identity.js';
import { pendingSince } from '../trust/pending-revocations.js';
import { reacquainted } from '../trust/reconcile/present-serial.js';
import { reconcileFirst } from '../trust/reconcile/reconcile.js';
import { meet } from '../trust/reconcile/update.js';
import { recordFailed } from '../trust/record-failed.js';

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

/** What a verified agent has answered, and who it is. */
export interface Contact<A extends Answers> extends Called<A> {
  /** Its registry name, or the host argument. */
  readonly name: string;
  /** As it is known since then; undefined: it is not registered any more. */
  readonly record: AgentRecord | undefined;
  /** Since when it lacks a revocation, epoch milliseconds; absent: it has acknowledged the newest list, or takes none. */
  readonly revocationsPendingSince?: number;
}

/**
 * Asks an agent for something, after it was brought up to date. One that does not know who asks has begun nothing: it is made to, if
 * that can be done, and asked once more.
 */
export function contact<R, A extends Answers>(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
  endpoint: Endpoint<R, A>,
  request: R,
  options: CallOptions,
): ResultAsync<Contact<A>, CallError> {
  const { host, record } = addressed;
  const { signal } = options;
  const approves = addressed.approves && once(addressed.approves);
  const to = { ...addressed, ...(approves && { approves }), signal };
  let agent = record;
  const onAgent = (known: AgentRecord) => {
    agent = known;
  };
  const call = (by: AskedBy): ResultAsync<Contact<A>, CallError> =>
    ask(context, by, to, endpoint, request, { ...options, onAgent })
      .mapErr((error) => (record ? error : ofStranger(host, error)))
      .andThen((called) => whoAnswered(context, addressed, agent).map((who) => ({ ...called, ...who })));
  return safeTry<Contact<A>, CallError>(async function* () {
    if (record) {
      const known = { ...to, record };
      yield* reconcileFirst(context, identity, known).mapErr(notSent);
      if (!isPing(endpoint)) yield* mustSign(context, identity, known).mapErr(notSent);
    }
    const first = await call(identity);
    if (first.isOk() || !isStranger(first.error) || !agent) return first;
    const by = yield* reacquainted(context, identity, { ...to, record: agent }).mapErr(notSent);
    return by ? call(by) : first;
  });
}

const isPing = (endpoint: object): boolean => endpoint === ping;

/** The error of something that came before the request itself. */
const notSent = ({ sent: _, ...error }: CallError): CallError => error as CallError;

type Approval = NonNullable<Addressed['approves']>;

/** Each agent is decided about once. */
function once(approves: Approval): Approval {
  const decided = new Map<string, ReturnType<Approval>>();
  return (name) => {
    const decision = decided.get(name) ?? approves(name);
    decided.set(name, decision);
    return decision;
  };
}

/** A name that reached nobody is often a slip: whoever gave it must learn that it is no registered one. */
function ofStranger(host: string, error: CallError): CallError {
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
): ResultAsync<void, CallError> {
  const { name, standing } = agent.record;
  if (can(standing, 'sign') || mayAnswerUnsigned(agent.record, context.settings.allowLegacyAgents))
    return okAsync(undefined);
  return meet(context, identity, agent).mapErr((error) =>
    error.code === 'unverified'
      ? failure(
          'unverified',
          `${name} does not sign its answers, so nothing was asked of it: if it is a legacy agent, name it in allow_legacy_agents`,
          { reason: error.reason },
        )
      : error,
  );
}

/** Who has answered, and what it lacks. What cannot be read of it is logged; the answer stands. */
function whoAnswered(
  context: DispatcherContext,
  { host, record: asked }: Addressed,
  record: AgentRecord | undefined,
): ResultAsync<Omit<Contact<Answers>, keyof Called<Answers>>, never> {
  const name = (record ?? asked)?.name ?? host;
  return safeTry(async function* () {
    const revision = yield* context.revocations.revision();
    const since = record && (yield* pendingSince(context, record, revision));
    const pending = /* defence: pending-revocations-are-said */ since !== undefined && {
      revocationsPendingSince: since,
    };
    return ok({ name, record, ...pending });
  }).orElse((error) => {
    recordFailed(context, error.message);
    return ok({ name, record });
  });
}

/** The member of results that tells of it. */
export const pendingMember = ({
  revocationsPendingSince: since,
}: Pick<Contact<Answers>, 'revocationsPendingSince'>) =>
  since === undefined ? {} : { revocationsPendingSince: since };
