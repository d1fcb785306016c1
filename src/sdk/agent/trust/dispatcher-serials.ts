import { err, ok, okAsync, type Result, type ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { parseJsonObject } from '../../../domain/core/json.js';
import { type HttpAnswer, jsonAnswer } from '../../../domain/protocol/http-message.js';
import { canonicalSerial } from '../../../domain/trust/serial.js';
import { readSuccessions } from '../../../domain/trust/succession.js';
import type { KeyStoreChange } from '../../../ports/key-store.js';
import type { AgentContext } from '../context.js';
import type { Current, Served } from '../served.js';
import { type CallingDispatcher, mismatch, type Stranger } from './recognise.js';
import { formatLists, type ListRefusal, type ListsWith, withList } from './revocation-lists.js';
import { type Asked, type Decided, decide, provenLine, refusal } from './serial-changes.js';
import { follow } from './successions.js';
import { writeTrustLines } from './trust-lines.js';

const errorAnswer = (error: string) => jsonAnswer(200, { status: 'error', error });

/** Reads a request; of one that is not signed only what legacy dispatchers know. */
function readAsked(body: Uint8Array, signed: boolean): Result<Asked, string> {
  const parsed = parseJsonObject(body);
  if (parsed.isErr()) return err('invalid JSON');
  const { serial: given, action, pem, succession, crl_pem: list } = parsed.value;
  const serial = typeof given === 'string' ? canonicalSerial(given) : undefined;
  if (serial === undefined) return err('serial must be hex');
  if (action !== 'add' && action !== 'remove') return err('action must be add or remove');
  if (!signed) return ok({ serial, action, pem: undefined, records: [], list: undefined });
  if (pem !== undefined && typeof pem !== 'string') return err('pem is not text');
  if (list !== undefined && typeof list !== 'string') return err('crl_pem is not text');
  const records = succession === undefined ? ok([]) : readSuccessions(succession);
  return records.map((read) => ({ serial, action, pem, records: read, list }));
}

/** Why a request is not followed; with the list that is held, where that is newer than the one that came. */
interface Refused {
  readonly error: CtrlExecError;
  readonly held?: ListRefusal['held'];
}

/** Stores what `decision` makes of the trust lines and the list that came with the request, as one change. */
async function store(
  context: AgentContext,
  served: Served,
  caller: CallingDispatcher | Stranger,
  { serial, list: pem }: Pick<Asked, 'serial' | 'list'>,
  decision: (current: Current) => Result<Decided, CtrlExecError>,
): Promise<Result<Decided, Refused>> {
  const { events } = context;
  const made: { decided?: Decided; lists?: ListsWith; held?: ListRefusal['held'] } = {};
  const listOf = (current: Current, id: string): ResultAsync<KeyStoreChange, CtrlExecError> =>
    pem === undefined
      ? okAsync({})
      : withList(context, current, id, pem)
          .map((lists): KeyStoreChange => {
            made.lists = lists;
            return lists.news ? { 'agent-revocation-lists': formatLists(lists.lists) } : {};
          })
          .mapErr(({ status, reason, held }) => {
            made.held = held;
            return failure('refused', reason, { status, reason });
          });
  const outcome = await served.change('stranger' in caller ? undefined : caller, (current) =>
    decision(current).asyncAndThen((decided) => {
      made.decided = decided;
      return listOf(current, decided.dispatcherId).map((list) => {
        const change = { ...(decided.stored && writeTrustLines(decided.stored)), ...list };
        return Object.keys(change).length === 0 ? undefined : change;
      });
    }),
  );
  const { decided, lists, held } = made;
  if (outcome.isErr()) return err({ error: outcome.error, ...(held && { held }) });
  if (!decided) return err({ error: refusal('nothing was decided') });
  const { dispatcherId: dispatcher, claimedBy: claimed } = decided;
  const { address: ip } = caller;
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

/** The answer for whoever may know why: of what failed on this host it learns nothing more. */
const refusedAnswer = ({ error, held }: Refused): HttpAnswer =>
  error.code === 'refused'
    ? jsonAnswer(error.status, {
        status: 'error',
        error: error.reason,
        ...(held && { crl_pem: held.pem, number: held.number }),
      })
    : errorAnswer(error.code === 'protocol_violation' ? error.reason : 'the agent could not store it');

/** Answers `POST /rotate-serial`: trust or retire a serial under the caller's own id (wire-protocol 1.2, 2.4). */
export async function rotateSerial(
  context: AgentContext,
  served: Served,
  caller: CallingDispatcher,
  body: Uint8Array,
): Promise<HttpAnswer> {
  const read = readAsked(body, !caller.unsigned);
  if (read.isErr()) return errorAnswer(read.error);
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
  return jsonAnswer(200, { status: 'ok', action, serial, dispatcher });
}

/**
 * A dispatcher with an unknown serial shows by a chain of successions that it follows a trusted one, and is trusted beside it
 * from now on (wire-protocol 2.4). Undefined: the request does not claim that.
 * @param once asked when the proof holds: the answer to a repetition, or undefined for none
 */
export async function succeed(
  context: AgentContext,
  served: Served,
  stranger: Stranger,
  body: Uint8Array,
  once: () => Promise<HttpAnswer | undefined>,
): Promise<HttpAnswer | undefined> {
  const parsed = parseJsonObject(body);
  if (parsed.isErr() || parsed.value['succession'] === undefined) return undefined;
  const { serial, address: ip, certificate } = stranger;
  const refuseStranger = (reason: string) => {
    context.events.emit({ action: 'succession-refused', level: 'warning', fields: { serial, ip, reason } });
    return mismatch();
  };
  const read = readAsked(body, true);
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
    const { error } = outcome.error;
    return error.code === 'protocol_violation' ? refuseStranger(error.reason) : refusedAnswer(outcome.error);
  }
  const { dispatcherId: dispatcher } = outcome.value;
  const fields = { dispatcher, serial, steps: asked.records.length, ip };
  context.events.emit({ action: 'succession-accepted', level: 'warning', fields });
  return jsonAnswer(200, { status: 'ok', action: asked.action, serial, dispatcher });
}
