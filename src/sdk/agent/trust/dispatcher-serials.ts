import { err, errAsync, ok, okAsync, type Result, type ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { parseJsonObject } from '../../../domain/core/json.js';
import { type HttpAnswer, jsonAnswer } from '../../../domain/protocol/http-message.js';
import { type Certificate, dispatcherUri } from '../../../domain/trust/certificate.js';
import { canonicalSerial } from '../../../domain/trust/serial.js';
import { readSuccessions, type Succession, successionMessage } from '../../../domain/trust/succession.js';
import {
  addTrust,
  formatTrust,
  legacyDispatcherId,
  removeTrust,
  trustedAs,
} from '../../../domain/trust/trusted-dispatchers.js';
import type { KeyStoreChange } from '../../../ports/key-store.js';
import type { AgentContext } from '../context.js';
import type { Current, Served } from '../served.js';
import { type CallingDispatcher, mismatch, type Stranger } from './recognise.js';

/** Serials that one dispatcher may have trusted at a time. */
const maxSerials = 32;

const refusal = (reason: string): CtrlExecError<'protocol_violation'> =>
  failure('protocol_violation', reason, { reason });

/** Why a change was not made, in the words for the peer: of what failed on this host it learns nothing more. */
const wordsFor = (error: CtrlExecError): string =>
  error.code === 'protocol_violation' ? error.reason : 'the agent could not store it';

const errorAnswer = (error: string) => jsonAnswer(200, { status: 'error', error });

/** Answers `POST /rotate-serial`: trust or retire a serial under the caller's own id (wire-protocol 1.2). */
export async function rotateSerial(
  context: AgentContext,
  served: Served,
  caller: CallingDispatcher,
  body: Uint8Array,
): Promise<HttpAnswer> {
  const parsed = parseJsonObject(body);
  if (parsed.isErr()) return errorAnswer('invalid JSON');
  const { serial: given, action, pem } = parsed.value;
  const serial = typeof given === 'string' ? canonicalSerial(given) : undefined;
  if (serial === undefined) return errorAnswer('serial must be hex');
  if (action !== 'add' && action !== 'remove') return errorAnswer('action must be add or remove');
  let changed = false;
  const outcome = await served.change(caller, (current) => {
    const decided =
      action === 'add' ? added(context, current, caller, serial, pem) : removed(current, caller, serial);
    return decided.map((change) => {
      changed = change !== undefined;
      return change;
    });
  });
  if (outcome.isErr()) {
    const { message: reason } = outcome.error;
    context.events.emit({
      action: 'update-refused',
      level: 'warning',
      fields: { dispatcher: caller.id, ip: caller.address, path: '/rotate-serial', reason },
    });
    return errorAnswer(wordsFor(outcome.error));
  }
  const fields = { dispatcher: caller.id, serial, ip: caller.address };
  if (changed && action === 'add') context.events.emit({ action: 'serial-trusted', fields });
  if (changed && action === 'remove') context.events.emit({ action: 'serial-retired', fields });
  return jsonAnswer(200, { status: 'ok', action, serial, dispatcher: caller.id });
}

type Decided = ResultAsync<KeyStoreChange | undefined, CtrlExecError>;

function added(
  context: AgentContext,
  current: Current,
  { id }: CallingDispatcher,
  serial: string,
  pem: unknown,
): Decided {
  const { trust } = current.state;
  const holder = trustedAs(trust, serial);
  if (holder !== undefined && holder !== id)
    return errAsync(refusal(`serial ${serial} belongs to another dispatcher`));
  if (current.state.revoked.has(serial)) return errAsync(refusal(`serial ${serial} is revoked`));
  if (trust.filter(({ dispatcherId }) => dispatcherId === id).length >= maxSerials && holder === undefined)
    return errAsync(refusal(`more than ${maxSerials} serials of one dispatcher`));
  const certificate = typeof pem === 'string' ? announced(context, pem, serial, id) : undefined;
  if (pem !== undefined && certificate === undefined)
    return errAsync(refusal(`pem is not the certificate of serial ${serial}`));
  if (holder !== undefined && (!certificate || current.state.dispatchers.has(serial)))
    return okAsync(undefined);
  return okAsync(
    trustChange(current, addTrust(trust, { serial, dispatcherId: id }), certificate ? [certificate] : []),
  );
}

/** A certificate that fits what is announced; whether it is of our CAs shows when it is used. */
function announced(context: AgentContext, pem: string, serial: string, id: string): Certificate | undefined {
  const read = context.crypto.readCertificate(pem);
  return read.isOk() && read.value.serial === serial && isOf(read.value, id) ? read.value : undefined;
}

const isOf = ({ uris }: Certificate, id: string) =>
  id === legacyDispatcherId || uris.includes(dispatcherUri(id));

function removed({ state }: Current, { id, serial: own }: CallingDispatcher, serial: string): Decided {
  if (serial === own) return errAsync(refusal('that serial is the one of this request'));
  const holder = trustedAs(state.trust, serial);
  if (holder === undefined) return okAsync(undefined);
  // defence: only-own-serials-are-retired
  if (holder !== id) return errAsync(refusal(`serial ${serial} belongs to another dispatcher`));
  return okAsync(trustChange({ state }, removeTrust(state.trust, serial, id), []));
}

/** The trust file, and beside it the certificates of those in it. */
export function trustChange(
  { state }: Pick<Current, 'state'>,
  trust: Current['state']['trust'],
  learnt: readonly Certificate[],
): KeyStoreChange {
  const known = new Map([...state.dispatchers, ...learnt.map((each) => [each.serial, each] as const)]);
  const pems = trust.flatMap(({ serial }) => known.get(serial)?.pem ?? []);
  return {
    'trusted-dispatchers': formatTrust(trust),
    'dispatcher-certificates': pems.length > 0 ? pems.join('') : null,
  };
}

/**
 * A dispatcher with an unknown serial shows by a chain of successions that it follows a trusted one, and is trusted in its
 * stead from now on (wire-protocol 2.4). Undefined: the request does not claim that.
 * @param once asked when the proof holds: the answer to a repetition, or undefined for none
 */
export async function succeed(
  context: AgentContext,
  served: Served,
  stranger: Stranger,
  body: Uint8Array,
  once: () => Promise<HttpAnswer | undefined>,
): Promise<HttpAnswer | undefined> {
  const { events } = context;
  const parsed = parseJsonObject(body);
  if (parsed.isErr() || parsed.value['succession'] === undefined) return undefined;
  const { serial: given, action, succession } = parsed.value;
  const refuse = (reason: string) => {
    const { serial, address: ip } = stranger;
    events.emit({ action: 'succession-refused', level: 'warning', fields: { serial, ip, reason } });
    return mismatch();
  };
  if (action !== 'add' || typeof given !== 'string' || canonicalSerial(given) !== stranger.serial)
    return refuse('it is not about the serial of this request');
  const records = readSuccessions(succession);
  if (records.isErr()) return refuse(records.error);
  // Whoever proves nothing takes no place in the record of requests.
  const proven = follow(context, served.current(), records.value, stranger);
  if (proven.isErr()) return refuse(proven.error);
  const repeated = await once();
  if (repeated) return repeated;
  let dispatcher = '';
  const outcome = await served.change(undefined, (current) =>
    follow(context, current, records.value, stranger).match(
      (id): Decided => {
        dispatcher = id;
        const trust = addTrust(current.state.trust, { serial: stranger.serial, dispatcherId: id });
        return okAsync(trustChange(current, trust, [stranger.certificate]));
      },
      (reason): Decided => errAsync(refusal(reason)),
    ),
  );
  if (outcome.isErr())
    return outcome.error.code === 'protocol_violation'
      ? refuse(outcome.error.reason)
      : errorAnswer(wordsFor(outcome.error));
  const { serial, address: ip } = stranger;
  const steps = records.value.length;
  events.emit({ action: 'succession-accepted', level: 'warning', fields: { dispatcher, serial, steps, ip } });
  return jsonAnswer(200, { status: 'ok', action, serial, dispatcher });
}

/**
 * The id of the dispatcher that a chain leads on from, or why it leads nowhere. Steps before the last serial that is trusted
 * here are nobody's business: a dispatcher need not know which that is.
 */
function follow(
  { crypto }: AgentContext,
  { state }: Current,
  steps: readonly Succession[],
  { certificate }: Stranger,
): Result<string, string> {
  const known = steps.findLastIndex(({ old }) => state.dispatchers.has(old));
  const chain = steps.slice(Math.max(0, known));
  const [first] = chain;
  const id = first && trustedAs(state.trust, first.old);
  let holder = first && state.dispatchers.get(first.old);
  if (!first || id === undefined) return err('the chain does not begin at a trusted serial');
  if (!holder) return err(`the key of ${first.old} is not known here`);
  for (const step of chain) {
    if (step.old !== holder.serial) return err(`the chain is broken at ${step.old}`);
    // defence: succession-has-no-revoked-serial
    if (state.revoked.has(step.old)) return err(`serial ${step.old} is revoked`);
    const next = crypto.readCertificate(step.newPem);
    if (next.isErr() || next.value.serial !== step.new) return err(`no certificate of ${step.new}`);
    // defence: succession-is-signed
    if (!crypto.verify(holder.spki, successionMessage(step, next.value.der), step.sig))
      return err(`${step.new} is not signed by ${step.old}`);
    if (!isOf(next.value, id)) return err(`${step.new} is not of ${id}`);
    holder = next.value;
  }
  if (state.revoked.has(holder.serial)) return err(`serial ${holder.serial} is revoked`);
  return /* defence: succession-ends-at-asker */ crypto.equal(holder.der, certificate.der)
    ? ok(id)
    : err('it ends at another certificate');
}
