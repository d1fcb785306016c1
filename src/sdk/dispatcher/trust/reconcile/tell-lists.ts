import { ok, type ResultAsync, safeTry } from 'neverthrow';
import {
  maxListAnswer,
  readAcknowledgement,
  readHeldList,
} from '../../../../domain/protocol/agent-protocol.js';
import type { RevocationList } from '../../../../domain/trust/revocation-list.js';
import type { TransportAnswer } from '../../../../ports/transport.js';
import type { DispatcherContext } from '../../context.js';
import type { ContactError } from '../agent-request.js';
import type { DispatcherIdentity, Presence } from '../identity.js';
import { listsAt } from '../revoked.js';
import { ask, inOrder, type Known, note, ownFailure, type Told } from './tell.js';

/** Milliseconds for an answer: a list may have several megabytes, both ways. */
const answerTimeout = 30_000;

/** Numbers by which an agent of an older version, which shows nothing but its number, may be ahead. */
const farAhead = 1000;

/** Something that is told together with a revocation list. */
interface WithList {
  readonly path: string;
  /** @param lists one for each CA in force, the current one first; all of one number */
  readonly body: (lists: readonly RevocationList[]) => object;
}

/**
 * Tells an agent something with a revocation list. An agent that holds a list with more on it, or of a higher number, answers
 * with that: it is merged, and the agent is told once more, with the list that is made then. Ok: the number that it has now.
 */
export function tellWithList(
  context: DispatcherContext,
  presence: Presence,
  identity: DispatcherIdentity,
  agent: Known,
  { path, body }: WithList,
): ResultAsync<number, ContactError> {
  return safeTry<number, ContactError>(async function* () {
    for (let merged = false; ; merged = true) {
      const lists = yield* listsAt(context, identity).mapErr(ownFailure(agent));
      const number = lists[0]?.number ?? 0;
      const message = { path, body: body(lists), answerTimeout, maxAnswer: maxListAnswer };
      const answer = yield* ask(context, presence, identity, agent, message);
      const told = readAcknowledgement(answer.status, answer.body).map(() => number);
      if (told.isOk() || merged) return told;
      const revision = yield* mergeHeld(context, identity, agent, answer).mapErr(ownFailure(agent));
      if (revision <= number) return told;
    }
  });
}

/** The revision after what an agent holds was merged, if that is a list of this dispatcher. */
function mergeHeld(
  context: DispatcherContext,
  { authorities }: DispatcherIdentity,
  { record: { name: host } }: Known,
  { status, body }: TransportAnswer,
) {
  const { events, registry, revocationLists, revocations, settings } = context;
  return safeTry(async function* () {
    const revision = yield* revocations.revision();
    const pem = readHeldList(status, body);
    if (pem === undefined) {
      // An older version only says that it holds a later one; its pings have shown the number.
      const number = (yield* registry.find(host))?.standing.crlNumber ?? 0;
      const raised = status === 409 && number > revision && number - revision <= farAhead;
      return ok(raised ? (yield* revocations.merge(number, [])).revision : revision);
    }
    const held = await revocationLists.read(pem, authorities);
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

/** One list for each CA in force. */
export function tellRevocations(
  context: DispatcherContext,
  presence: Presence,
  identity: DispatcherIdentity,
  agent: Known,
): Told {
  const numbers: number[] = [];
  const tellList = (issuer: number) => () =>
    tellWithList(context, presence, identity, agent, {
      path: '/v2/crl',
      body: (lists) => ({ crl_pem: lists[issuer]?.pem }),
    }).map((number) => {
      numbers.push(number);
    });
  return inOrder(identity.authorities.map((_, issuer) => tellList(issuer))).andThen(() =>
    note(context, agent, { crlNumber: Math.min(...numbers) }),
  );
}
