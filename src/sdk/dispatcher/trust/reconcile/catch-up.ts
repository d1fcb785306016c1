import { err, errAsync, ok, okAsync, ResultAsync, safeTry } from 'neverthrow';
import type { CtrlExecError } from '../../../../domain/core/errors.js';
import { type AgentStanding, outlived } from '../../../../domain/trust/agent-standing.js';
import type { Certificate } from '../../../../domain/trust/certificate.js';
import type { DispatcherContext } from '../../context.js';
import { type ContactError, freshReqid } from '../agent-request.js';
import { type DispatcherIdentity, type Presence, readDispatcherIdentity } from '../identity.js';
import { canBeIntroduced, introduce, introduceAgain, linesFor, overBridge } from './introduction.js';
import { inOrder, isStranger, type Known, note, type Told, tell, tellCas } from './tell.js';
import { tellRevocations } from './tell-lists.js';
import { addSerial, retireSerial, tellSerial } from './tell-serials.js';

/**
 * Tells an agent what it has missed, before anything else is asked of it (wire-protocol 2.4): this dispatcher's present
 * serial, without which it would refuse everything; then CAs, the next serial, serials that are used no more, and
 * revocations. Err: the present serial could not be told, or the agent is not there; what fails of the rest is told at the
 * next contact.
 */
export function bringUpToDate(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  agent: Known,
): ResultAsync<void, ContactError> {
  // What else a legacy agent is to know, rotation and maintenance tell it: it counts connections.
  if (agent.record.standing.speaks !== 'signed') return mustBeTold(context, identity, agent);
  return mustBeTold(context, identity, agent).andThen(() =>
    tellTheRest(context, identity, agent).orElse((error) => {
      if (isAway(error)) return err(error);
      context.events.emit({
        action: 'update-pending',
        level: 'warning',
        fields: { host: agent.record.name, reason: error.message },
      });
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

/** The same, and whatever fails is the error; an agent of which nothing is known yet is met first. One that has forgotten this dispatcher is introduced to it again. */
export const tellAll = (
  context: DispatcherContext,
  identity: DispatcherIdentity,
  agent: Known,
): ResultAsync<void, CtrlExecError> =>
  mustBeTold(context, identity, agent)
    .mapErr((error): CtrlExecError => error)
    .andThen(() => acquaintedWith(context, identity, agent))
    .andThen((known) =>
      tellTheRest(context, identity, known).orElse((error) =>
        isStranger(error)
          ? introduceAgain(context, identity, known).andThen((done) =>
              done ? tellTheRest(context, identity, known) : err<void, CtrlExecError>(error),
            )
          : err<void, CtrlExecError>(error),
      ),
    );

/** Whether an agent is a peer of ours shows with its first answer; then it is known what it can be told. */
const acquaintedWith = (
  context: DispatcherContext,
  identity: DispatcherIdentity,
  agent: Known,
): ResultAsync<Known, CtrlExecError> =>
  agent.record.standing.speaks !== undefined
    ? okAsync(agent)
    : meet(context, identity, agent)
        .mapErr((error): CtrlExecError => error)
        .andThen(() => context.registry.find(agent.record.name))
        .map((record) => (record ? { ...agent, record } : agent));

function mustBeTold(context: DispatcherContext, identity: DispatcherIdentity, agent: Known): Told {
  const { serials } = agent.record.standing;
  if (serials.includes(identity.own.current)) return okAsync(undefined);
  // What a legacy agent trusts is not known for certain: it is asked all the same.
  return canBeIntroduced(context, identity, agent) ? introduce(context, identity, agent) : okAsync(undefined);
}

/** Whether there is nothing that an agent is to be told. */
export const isUpToDate = ({ own, caSet, revision }: DispatcherIdentity, standing: AgentStanding): boolean =>
  standing.serials.includes(own.current) &&
  (own.next === undefined || standing.serials.includes(own.next)) &&
  // A legacy agent is told as little as possible: many of them end when they take something over.
  (standing.speaks === 'unsigned' ||
    (standing.speaks === 'signed' &&
      outlived(standing, own).length === 0 &&
      standing.caSet === caSet &&
      // A list of a higher number than there is here hides what this dispatcher revokes: the agent's objection is to be seen.
      standing.crlNumber === revision));

/** A round trip, for what its answer shows of the agent's certificate. */
export const meet = (
  context: DispatcherContext,
  identity: DispatcherIdentity,
  agent: Known,
): ResultAsync<void, ContactError> =>
  tell(context, identity, identity, agent, '/ping', { reqid: freshReqid(context) });

function tellTheRest(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  agent: Known,
): ResultAsync<void, CtrlExecError> {
  const { speaks } = agent.record.standing;
  // Nobody knows yet what it understands: its first answer shows.
  if (speaks === undefined || isUpToDate(identity, agent.record.standing)) return okAsync(undefined);
  const takesLists = speaks === 'signed';
  return safeTry<void, CtrlExecError>(async function* () {
    const record = yield* context.registry.find(agent.record.name);
    if (!record) return ok(undefined);
    const { standing } = record;
    // Read after the standing, for both may have changed since: what an agent was told meanwhile is not taken for outlived.
    const latest = yield* readDispatcherIdentity(context);
    const { own, next, caSet, revision } = latest;
    // Nothing was ever revoked, as far as either side knows.
    const needsList = revision > 0 || standing.crlNumber > 0;
    const cas =
      !takesLists || standing.caSet === caSet
        ? ok<void, CtrlExecError>(undefined)
        : await tellCasSomehow(context, identity, latest, agent);
    // Whoever does not accept a CA must not be told of a certificate of it; that of this very request is accepted.
    const acceptable =
      next && ((takesLists && cas.isOk()) || sameCa(context, latest, next.certificate, identity.certificate));
    return inOrder<CtrlExecError>([
      () => new ResultAsync(Promise.resolve(cas)),
      ...(acceptable && !standing.serials.includes(next.certificate.serial)
        ? [
            () =>
              tellSerial(context, identity, latest, agent, addSerial(next)).andThen(() =>
                note(context, agent, { trusts: [next.certificate.serial] }),
              ),
          ]
        : []),
      // First what keeps thieves out.
      ...(takesLists && (standing.caSet !== caSet || standing.crlNumber !== revision) && needsList
        ? [() => tellRevocations(context, identity, latest, agent)]
        : []),
      ...(takesLists ? outlived(standing, own) : [])
        .filter((serial) => serial !== identity.own.current)
        .map((serial) => () => retireSerial(context, identity, latest, agent, serial)),
    ]);
  });
}

/** Whether one of the CAs in force issued all of these. */
export const sameCa = (
  { crypto }: DispatcherContext,
  { authorities }: DispatcherIdentity,
  ...certificates: readonly Certificate[]
): boolean => authorities.some((ca) => certificates.every((certificate) => crypto.issuedBy(certificate, ca)));

/** An agent that does not accept the CA of the present certificate, although it trusts its serial, is met over the bridge. */
function tellCasSomehow(
  context: DispatcherContext,
  presence: Presence,
  identity: DispatcherIdentity,
  agent: Known,
): Told {
  const told = tellCas(context, presence, identity, agent);
  if (identity.authorities.length < 2) return told;
  return told.orElse((error) =>
    error.code === 'tls_failed' || error.code === 'connection_failed'
      ? overBridge(context, identity, agent, linesFor(identity, agent))
      : errAsync(error),
  );
}
