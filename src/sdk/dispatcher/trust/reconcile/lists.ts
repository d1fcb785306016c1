import { ok, type ResultAsync, safeTry } from 'neverthrow';
import type { RevocationList } from '../../../../domain/trust/revocation-list.js';
import type { CallError } from '../../../protocol/client.js';
import type { Endpoint, Reading } from '../../../protocol/endpoint.js';
import { list, type serials } from '../../../protocol/endpoints.js';
import { acknowledgement } from '../../../protocol/reading.js';
import type { DispatcherContext } from '../../context.js';
import { listsAt } from '../revoked.js';
import { type Acknowledged, askFor, inOrder, note, ownFailure, type Update } from './update.js';

/** Milliseconds for an answer: a list may have several megabytes, both ways. */
const answerTimeout = 30_000;

/** Numbers by which an agent of an older version, which shows nothing but its number, may be ahead. */
const farAhead = 1000;

/** An answer to what goes with a list. */
type Answers = (typeof list)['answers'] | (typeof serials)['answers'];

/**
 * Asks for something with a revocation list. An agent that holds a list with more on it, or of a higher number, answers
 * with that: it is merged, and the agent is asked once more, with the list that is made then. Ok: the number that it has now.
 * @param request lists: one for each CA in force, the current one first; all of one number
 */
export function withLists<R, A extends Answers>(
  context: DispatcherContext,
  update: Update,
  endpoint: Endpoint<R, A>,
  request: (lists: readonly RevocationList[]) => R,
): ResultAsync<number, CallError> {
  return safeTry<number, CallError>(async function* () {
    for (let merged = false; ; merged = true) {
      const lists = yield* listsAt(context, update.identity).mapErr(ownFailure(update));
      const number = lists[0]?.number ?? 0;
      const { answer } = yield* askFor(context, update, endpoint, request(lists), { answerTimeout });
      const taken = acknowledgement(endpoint, answer).map(() => number);
      if (taken.isOk() || merged) return taken;
      const revision = yield* mergeHeld(context, update, answer as Reading<Answers>).mapErr(
        ownFailure(update),
      );
      if (revision <= number) return taken;
    }
  });
}

/** The revision after what an agent holds was merged, if that is a list of this dispatcher. */
function mergeHeld(
  context: DispatcherContext,
  { agent, identity: { authorities } }: Update,
  answer: Reading<Answers>,
) {
  const { events, registry, revocationLists, revocations, settings } = context;
  const { name: host } = agent.record;
  return safeTry(async function* () {
    const revision = yield* revocations.revision();
    if (answer.outcome !== 'conflict') return ok(revision);
    if (!answer.held) {
      // An older version only says that it holds a later one; its pings have shown the number.
      const number = (yield* registry.find(host))?.standing.crlNumber ?? 0;
      const raised = number > revision && number - revision <= farAhead;
      return ok(raised ? (yield* revocations.merge(number, [])).revision : revision);
    }
    const held = await revocationLists.read(answer.held.pem, authorities);
    if (
      /* defence: merged-list-is-our-own */ held.isErr() ||
      held.value.dispatcherId !== settings.dispatcherId
    )
      return ok(revision);
    const { number, revoked } = held.value;
    const entries = revoked.map((entry) => ({ ...entry, name: undefined }));
    const merged = yield* revocations.merge(number, entries);
    if (merged.revision > revision)
      events.emit({
        action: 'revocations-merged',
        level: 'warning',
        fields: { host, held: number, added: merged.added, number: merged.revision },
      });
    return ok(merged.revision);
  });
}

/** The newest revocation list of each CA in force. */
export function updateLists(context: DispatcherContext, update: Update): Acknowledged {
  const numbers: number[] = [];
  const updateList = (issuer: number) => () =>
    withLists(context, update, list, (lists) => ({ pem: lists[issuer]?.pem ?? '' })).map((number) => {
      numbers.push(number);
    });
  return inOrder(update.identity.authorities.map((_, issuer) => updateList(issuer))).andThen(() =>
    note(context, update, { crlNumber: Math.min(...numbers) }),
  );
}
