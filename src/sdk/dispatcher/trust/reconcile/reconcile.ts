import { err, ok, okAsync, ResultAsync, safeTry } from 'neverthrow';
import type { CtrlExecError } from '../../../../domain/core/errors.js';
import { can, wasSeen } from '../../../../domain/trust/abilities.js';
import { type AgentStanding, outlived } from '../../../../domain/trust/agent-standing.js';
import { isStranger } from '../../../protocol/reading.js';
import type { DispatcherContext } from '../../context.js';
import type { Known } from '../destination.js';
import { type DispatcherIdentity, readDispatcherIdentity } from '../identity.js';
import { sameCa, updateAuthorities } from './authorities.js';
import { updateLists } from './lists.js';
import { learnAgain, presentSerial } from './present-serial.js';
import { addSerial, retireSerial } from './serials.js';
import { mayNeedBridge, overBridge } from './succession.js';
import { type Acknowledged, inOrder, meet, type Update } from './update.js';

/**
 * Brings an agent up to date (wire-protocol 2.4): this dispatcher's present serial; then CAs, the next serial, revocations, and
 * serials that are used no more. An agent of which nothing is known yet is met first, and one that has forgotten this dispatcher
 * learns of it again. Err: what of it could not be done.
 */
export const reconcile = (
  context: DispatcherContext,
  identity: DispatcherIdentity,
  agent: Known,
): ResultAsync<void, CtrlExecError> =>
  safeTry<void, CtrlExecError>(async function* () {
    yield* presentSerial(context, identity, agent);
    const known = yield* seen(context, identity, agent);
    const rest = await missing(context, identity, known);
    if (rest.isOk() || !isStranger(rest.error)) return rest;
    const helped = yield* learnAgain(context, identity, known);
    return helped ? missing(context, identity, known) : rest;
  });

/**
 * The same before an agent is asked for something else. Err: the present serial is not known there, or nobody is there; what fails of
 * the rest is logged, and done at the next contact.
 */
export function reconcileFirst(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  agent: Known,
): Acknowledged {
  const { name, standing } = agent.record;
  const present = presentSerial(context, identity, agent);
  // What else a legacy agent is to know, rotation and maintenance see to: it counts connections.
  if (!can(standing, 'frequent-requests')) return present;
  return present.andThen(() =>
    missing(context, identity, agent).orElse((error) => {
      if (isAway(error)) return err(error);
      const fields = { host: name, reason: error.message };
      context.events.emit({ action: 'update-pending', level: 'warning', fields });
      return ok(undefined);
    }),
  );
}

/** Nobody is there who could be asked for anything else, or nobody waits for it any more. */
const isAway = (
  error: CtrlExecError,
): error is CtrlExecError<'host_unresolved' | 'connection_refused' | 'timed_out' | 'aborted'> =>
  error.code === 'host_unresolved' ||
  error.code === 'connection_refused' ||
  error.code === 'aborted' ||
  (error.code === 'timed_out' && error.phase !== 'answer');

/** Whether an agent is a peer of ours shows with its first answer; then it is known what it can learn. */
const seen = (
  context: DispatcherContext,
  identity: DispatcherIdentity,
  agent: Known,
): ResultAsync<Known, CtrlExecError> =>
  wasSeen(agent.record.standing)
    ? okAsync(agent)
    : meet(context, identity, agent)
        .mapErr((error): CtrlExecError => error)
        .andThen(() => context.registry.find(agent.record.name))
        .map((record) => (record ? { ...agent, record } : agent));

/** Whether there is nothing that an agent is to learn. */
export const isUpToDate = ({ own, caSet, revision }: DispatcherIdentity, standing: AgentStanding): boolean =>
  standing.serials.includes(own.current) &&
  (own.next === undefined || standing.serials.includes(own.next)) &&
  // A legacy agent is told as little as possible: many of them end when they take something over.
  (!can(standing, 'crl-offer') ||
    (can(standing, 'crl') &&
      outlived(standing, own).length === 0 &&
      standing.caSet === caSet &&
      // A list of a higher number than there is here hides what this dispatcher revokes: the agent's objection is to be seen.
      standing.crlNumber === revision));

/** What an agent has missed beside the present serial. */
function missing(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  agent: Known,
): ResultAsync<void, CtrlExecError> {
  // Nobody knows yet what it understands: its first answer shows.
  if (!wasSeen(agent.record.standing) || isUpToDate(identity, agent.record.standing))
    return okAsync(undefined);
  return safeTry<void, CtrlExecError>(async function* () {
    const record = yield* context.registry.find(agent.record.name);
    if (!record) return ok(undefined);
    const { standing } = record;
    // Read after the standing, for both may have changed since: what an agent has learnt meanwhile is not taken for outlived.
    const latest = yield* readDispatcherIdentity(context);
    const { own, next, caSet, revision } = latest;
    const update: Update = { agent, by: identity, identity: latest };
    const learns = can(standing, 'crl');
    const otherCas = learns && standing.caSet !== caSet;
    const cas = otherCas ? await anyAuthorities(context, update) : ok<void, CtrlExecError>(undefined);
    // Whoever does not accept a CA must not be told of a certificate of it; that of this very request is accepted.
    const acceptable =
      next && ((learns && cas.isOk()) || sameCa(context, latest, next.certificate, identity.certificate));
    // Nothing was ever revoked, as far as either side knows.
    const noLists = revision === 0 && standing.crlNumber === 0;
    const steps: (() => ResultAsync<void, CtrlExecError>)[] = [() => new ResultAsync(Promise.resolve(cas))];
    if (acceptable && !standing.serials.includes(next.certificate.serial))
      steps.push(() => addSerial(context, update, next));
    // First what keeps thieves out.
    if (learns && !noLists && (otherCas || standing.crlNumber !== revision))
      steps.push(() => updateLists(context, update));
    for (const serial of learns ? outlived(standing, own) : [])
      if (serial !== identity.own.current) steps.push(() => retireSerial(context, update, serial));
    return inOrder(steps);
  });
}

/** An agent that does not accept the CA of the present certificate, although it trusts its serial, is met over the bridge. */
const anyAuthorities = (context: DispatcherContext, update: Update): Acknowledged =>
  updateAuthorities(context, update).orElse((error) =>
    mayNeedBridge(update, error) ? overBridge(context, update) : err(error),
  );
