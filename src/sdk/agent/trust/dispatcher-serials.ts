import { err, ok, okAsync, type Result, type ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { SerialChange } from '../../../domain/protocol/agent-messages.js';
import { canonicalSerial } from '../../../domain/trust/serial.js';
import { readSuccessions } from '../../../domain/trust/succession.js';
import type { AgentItem, KeyStoreChange } from '../../../ports/key-store.js';
import type { OutcomeOf, Peer, Refusal } from '../../protocol/endpoint.js';
import type * as endpoints from '../../protocol/endpoints.js';
import type { Call, Caller } from '../../protocol/handler.js';
import type { AgentContext } from '../context.js';
import type { Current, ServedTrust } from './current.js';
import { mismatch } from './recognise.js';
import { formatLists, type ListRefusal, type ListsWith, withList } from './revocation-lists.js';
import { type Asked, type Decided, decide, provenLine, refusal } from './serial-changes.js';
import { follow } from './successions.js';
import { writeTrustLines } from './trust-lines.js';

type Answer = OutcomeOf<typeof endpoints.serials> | Refusal;

const objection = (error: string): Answer => ({ outcome: 'refused', error });

function readAsked({ serial: given, action, pem, succession, list }: SerialChange): Result<Asked, string> {
  const serial = typeof given === 'string' ? canonicalSerial(given) : undefined;
  if (serial === undefined) return err('serial must be hex');
  if (action !== 'add' && action !== 'remove') return err('action must be add or remove');
  if (pem !== undefined && typeof pem !== 'string') return err('pem is not text');
  if (list !== undefined && typeof list !== 'string') return err('crl_pem is not text');
  const records = succession === undefined ? ok([]) : readSuccessions(succession);
  return records.map((read) => ({ serial, action, pem, records: read, list }));
}

/** Why a request is not followed: for itself, or for the list that came with it. */
interface Refused {
  readonly error: CtrlExecError;
  readonly list: ListRefusal | undefined;
}

/** Stores what `decision` makes of the trust lines and the list that came with the request, as one change. */
async function store(
  context: AgentContext,
  served: ServedTrust,
  from: Peer,
  { serial, list: pem }: Pick<Asked, 'serial' | 'list'>,
  decision: (current: Current) => Result<Decided, CtrlExecError>,
): Promise<Result<Decided, Refused>> {
  const { events } = context;
  const made: { decided?: Decided; lists?: ListsWith; refused?: ListRefusal } = {};
  const listOf = (current: Current, id: string): ResultAsync<KeyStoreChange<AgentItem>, CtrlExecError> =>
    pem === undefined
      ? okAsync({})
      : withList(context, current, id, pem)
          .map((lists): KeyStoreChange<AgentItem> => {
            made.lists = lists;
            return lists.news ? { 'agent-revocation-lists': formatLists(lists.lists) } : {};
          })
          .mapErr((refused) => {
            made.refused = refused;
            return refusal(refused.reason);
          });
  const outcome = await served.change(callerOf(from), (current) =>
    decision(current).asyncAndThen((decided) => {
      made.decided = decided;
      return listOf(current, decided.dispatcherId).map((list) => {
        const change = { ...(decided.stored && writeTrustLines(decided.stored)), ...list };
        return Object.keys(change).length === 0 ? undefined : change;
      });
    }),
  );
  const { decided, lists, refused: list } = made;
  if (outcome.isErr()) return err({ error: outcome.error, list });
  if (!decided) return err({ error: refusal('nothing was decided'), list });
  const { dispatcherId: dispatcher, claimedBy: claimed } = decided;
  const { address: ip } = from;
  if (claimed !== undefined)
    events.emit({
      action: 'serial-claim-replaced',
      level: 'error',
      fields: { dispatcher, serial, claimed, ip },
    });
  if (lists?.news) {
    const { number, revoked } = lists.list;
    events.emit({ action: 'revocations-updated', fields: { dispatcher, number, revoked: revoked.length } });
  }
  return ok(decided);
}

const callerOf = ({ id, certificate }: Peer) => (id === undefined ? undefined : { id, certificate });

/** The answer for whoever may know why: of what failed on this host it learns nothing more. */
function refusedAnswer({ error, list }: Refused): Answer {
  if (list) return { outcome: list.outcome, error: list.reason, held: list.held };
  return objection(error.code === 'protocol_violation' ? error.reason : 'the agent could not store it');
}

/** Answers `POST /rotate-serial`: trust or retire a serial under the caller's own id (wire-protocol 1.2, 2.4). */
export async function rotateSerial(
  context: AgentContext,
  served: ServedTrust,
  caller: Caller,
  change: SerialChange,
): Promise<Answer> {
  const read = readAsked(change);
  if (read.isErr()) return objection(read.error);
  const asked = read.value;
  const { serial, action } = asked;
  const outcome = await store(context, served, caller, asked, (current) =>
    decide(context, current, caller, asked),
  );
  const { id: dispatcher, address: ip } = caller;
  if (outcome.isErr()) {
    const { message: reason } = outcome.error.error;
    context.events.emit({
      action: 'update-refused',
      level: 'warning',
      fields: { dispatcher, ip, path: '/rotate-serial', reason },
    });
    return refusedAnswer(outcome.error);
  }
  const fields = { dispatcher, serial, by: caller.serial, ip };
  if (outcome.value.stored && action === 'add') context.events.emit({ action: 'serial-trusted', fields });
  if (outcome.value.stored && action === 'remove') context.events.emit({ action: 'serial-retired', fields });
  return { outcome: 'ok', action, serial, dispatcher };
}

/**
 * A dispatcher with an unknown serial shows by a chain of successions that it follows a trusted one, and is trusted beside it
 * from now on (wire-protocol 2.4).
 */
export async function succeed(
  context: AgentContext,
  served: ServedTrust,
  stranger: Peer,
  change: SerialChange,
  { once }: Pick<Call, 'once'>,
): Promise<Answer> {
  if (change.succession === undefined) return mismatch;
  const { serial, address: ip, certificate } = stranger;
  const refuseStranger = (reason: string) => {
    context.events.emit({ action: 'succession-refused', level: 'warning', fields: { serial, ip, reason } });
    return mismatch;
  };
  const read = readAsked(change);
  if (read.isErr()) return refuseStranger(read.error);
  const asked = read.value;
  if (asked.action !== 'add' || asked.serial !== serial)
    return refuseStranger('it is not about the serial of this request');
  const followed = ({ state }: Current) => follow(context, state, asked.records, certificate);
  // Whoever proves nothing takes no place in the record of requests.
  const proven = followed(served.current());
  if (proven.isErr()) return refuseStranger(proven.error);
  const repeated = await once();
  if (repeated) return repeated;
  const outcome = await store(context, served, stranger, asked, (current) =>
    followed(current)
      .map(({ dispatcherId, follows, joins }) =>
        provenLine(current.state, dispatcherId, certificate, joins ? undefined : follows),
      )
      .mapErr(refusal),
  );
  if (outcome.isErr()) {
    const { error, list } = outcome.error;
    return error.code === 'protocol_violation' && !list
      ? refuseStranger(error.reason)
      : refusedAnswer(outcome.error);
  }
  const { dispatcherId: dispatcher } = outcome.value;
  const fields = { dispatcher, serial, steps: asked.records.length, ip };
  context.events.emit({ action: 'succession-accepted', level: 'warning', fields });
  return { outcome: 'ok', action: asked.action, serial, dispatcher };
}
