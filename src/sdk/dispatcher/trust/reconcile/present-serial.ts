import { err, errAsync, ok, okAsync, type ResultAsync, safeTry } from 'neverthrow';
import { can } from '../../../../domain/trust/abilities.js';
import type { CallError } from '../../../protocol/client.js';
import type { DispatcherContext } from '../../context.js';
import type { Known } from '../destination.js';
import { type DispatcherIdentity, readDispatcherIdentity } from '../identity.js';
import { updateAuthorities } from './authorities.js';
import { addSerial, retireStrays } from './serials.js';
import { bySuccession, noChain } from './succession.js';
import { type Acknowledged, askedBy, note, type Update } from './update.js';

/** The serial without which an agent would refuse everything. Err: it could not be made to trust it. */
export function presentSerial(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  agent: Known,
): Acknowledged {
  const known = agent.record.standing.serials.includes(identity.own.current);
  // What a legacy agent trusts is not known for certain: it is asked all the same.
  return known || !canLearn(context, identity, agent) ? okAsync(undefined) : learn(context, identity, agent);
}

/**
 * Whether there is a way to make an agent trust the present serial. A legacy one takes it only of the identity before, as long as it
 * trusts that, and only where it can use it: it knows one CA.
 */
function canLearn(
  { crypto }: DispatcherContext,
  { authorities, certificate, previous }: DispatcherIdentity,
  { record: { standing } }: Known,
): boolean {
  if (can(standing, 'successions')) return true;
  const former = previous?.certificate;
  return (
    former !== undefined &&
    standing.serials.includes(former.serial) &&
    authorities.some((ca) => crypto.issuedBy(former, ca) && crypto.issuedBy(certificate, ca))
  );
}

/** By the identity before the present one, as long as that is known and trusted, else by succession. */
function learn(context: DispatcherContext, identity: DispatcherIdentity, agent: Known): Acknowledged {
  const { previous } = identity;
  const { standing } = agent.record;
  const update: Update = { agent, by: identity, identity };
  // A legacy agent knows nothing of successions, and is told as little as possible.
  if (!can(standing, 'successions'))
    return previous ? addSerial(context, askedBy(update, previous), identity) : errAsync(noChain());
  const learnt =
    previous && standing.serials.includes(previous.certificate.serial)
      ? byPrevious(context, askedBy(update, previous)).orElse((error) =>
          error.code === 'refused' || error.code === 'connection_failed'
            ? bySuccession(context, update)
            : err(error),
        )
      : bySuccession(context, update);
  return learnt.andThen(() => retireStrays(context, update));
}

const byPrevious = (context: DispatcherContext, update: Update): Acknowledged =>
  (update.agent.record.standing.caSet === update.identity.caSet
    ? okAsync(undefined)
    : updateAuthorities(context, update)
  ).andThen(() => addSerial(context, update, update.identity));

/**
 * An agent that does not trust the present serial, though it did as far as was known: whatever it trusts now, it learns it again.
 * Ok says whether that helped.
 */
export function learnAgain(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  agent: Known,
): ResultAsync<boolean, CallError> {
  return note(context, { agent, by: identity, identity }, { retired: [identity.own.current] })
    .andThen(() => learn(context, identity, agent))
    .map(() => true)
    .orElse((error) => (error.code === 'refused' ? ok(false) : err(error)));
}

/**
 * What is to be done about an agent that does not know who asks: this dispatcher's identity was replaced since, or the agent was
 * asked by another spelling of its name and had missed something, or it has forgotten (restored from a backup, say). Ok: the
 * identity that it knows now, or undefined where it cannot be made to know one.
 */
export function reacquainted(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  agent: Known,
): ResultAsync<DispatcherIdentity | undefined, CallError> {
  return safeTry<DispatcherIdentity | undefined, CallError>(async function* () {
    const record = yield* context.registry.find(agent.record.name);
    const read = await readDispatcherIdentity(context);
    if (!record || read.isErr()) return ok(undefined);
    const latest = read.value;
    const { serials } = record.standing;
    const replaced = latest.own.current !== identity.own.current;
    if (replaced && serials.includes(latest.own.current)) return ok(latest);
    // What a legacy agent was told it takes into use when it is started again, and 0.8 forgets the serial of before.
    const other = [latest.next, latest.previous].find(
      (each) => each && serials.includes(each.certificate.serial),
    );
    if (!can(record.standing, 'serial-at-once') && other) return ok({ ...latest, ...other });
    const now = { ...agent, record };
    if (!canLearn(context, latest, now)) return ok(undefined);
    return ok((yield* learnAgain(context, latest, now)) ? latest : undefined);
  });
}
