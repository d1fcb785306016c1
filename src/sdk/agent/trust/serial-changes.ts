import { err, ok, type Result, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { legacyDispatcherId } from '../../../domain/core/names.js';
import {
  type Certificate,
  dispatcherIdOf,
  isDispatcherOf,
  whyUnusable,
} from '../../../domain/trust/certificate.js';
import type { Succession } from '../../../domain/trust/succession.js';
import { ancestors, replaces } from '../../../domain/trust/trust-origins.js';
import type { Caller } from '../../protocol/handler.js';
import type { AgentContext } from '../context.js';
import type { Current } from './current.js';
import { isOfOurCas } from './recognise.js';
import { recordsReplace } from './successions.js';
import type { AgentTrust } from './trust.js';
import { isProven, isTheKnown, type StoredTrust, withLine } from './trust-lines.js';

/** Serials that one dispatcher may have trusted at a time with their certificates. */
const maxSerials = 32;

/** Serials that the requests of one dispatcher may have brought without a certificate. */
const maxUnproven = 2;

/** Serials one after the other that each brought the next without a certificate. */
const maxGenerations = 64;

/** Why a change is not made, in words for the peer. */
export const refusal = (reason: string): CtrlExecError<'protocol_violation'> =>
  failure('protocol_violation', reason, { reason });

const refuse = (reason: string) => err(refusal(reason));

/** What a request about a serial asks for. */
export interface Asked {
  readonly serial: string;
  readonly action: 'add' | 'remove';
  /** Undefined: it came without one. */
  readonly pem: string | undefined;
  readonly records: readonly Succession[];
  readonly list: string | undefined;
}

/** What becomes of the trust lines. */
export interface Decided {
  readonly dispatcherId: string;
  /** Undefined: nothing changes. */
  readonly stored?: StoredTrust;
  /** The dispatcher that had claimed the serial without a proof, where that was another one. */
  readonly claimedBy?: string | undefined;
}

type State = AgentTrust;

type Verdict = Result<Decided, CtrlExecError<'protocol_violation'>>;

/** What a dispatcher's request makes of the trust lines (wire-protocol 1.2, 2.4). */
export function decide(context: AgentContext, current: Current, caller: Caller, asked: Asked): Verdict {
  if (asked.action === 'remove') return removed(context, current.state, caller, asked);
  return caller.guarantees.provesSerials
    ? added(context, current, caller, asked)
    : claimed(current.state, caller, asked.serial);
}

const belongsToAnother = (serial: string) => refuse(`serial ${serial} belongs to another dispatcher`);

/** A serial with its certificate, from a dispatcher that signs. */
function added(
  context: AgentContext,
  current: Current,
  { id, serial: by }: Caller,
  { serial, pem, records }: Asked,
): Verdict {
  return safeTry(function* () {
    const { state } = current;
    if (state.revoked.has(serial)) return refuse(`serial ${serial} is revoked`);
    // defence: signed-add-needs-certificate
    if (pem === undefined) return refuse('pem is missing: a serial is added with its certificate');
    const read = context.crypto.readCertificate(pem);
    if (read.isErr() || read.value.serial !== serial)
      return refuse(`pem is not the certificate of serial ${serial}`);
    const certificate = read.value;
    const why = whyNotOf(context, current, certificate, id);
    if (why !== undefined) return refuse(why);
    if (!isTheKnown(context, state, certificate))
      return refuse(`another certificate of serial ${serial} is known`);
    const line = state.trust.get(serial);
    if (line === id && state.dispatchers.has(serial)) return ok({ dispatcherId: id });
    if (line !== undefined && line !== id && id === legacyDispatcherId) return belongsToAnother(serial);
    yield* id === legacyDispatcherId
      ? roomForUnproven(state, id, by)
      : roomForProven(context, state, id, serial);
    const joins = records.some((step) => step.joins && step.old === by && step.new === serial);
    return ok(provenLine(state, id, certificate, joins ? undefined : by));
  });
}

/** Why a certificate is not one of this dispatcher that may call now. */
function whyNotOf(
  context: AgentContext,
  { identity }: Current,
  certificate: Certificate,
  id: string,
): string | undefined {
  const why = whyUnusable(certificate, 'clientAuth', context.clock.now());
  if (why !== undefined) return `pem ${why}`;
  // defence: added-certificate-is-of-our-ca
  if (!isOfOurCas(context, certificate, identity.authorities)) return 'pem is of no CA that is accepted here';
  const fits =
    id === legacyDispatcherId
      ? certificate.uris.some((uri) => dispatcherIdOf(uri) !== undefined)
      : isDispatcherOf(certificate, id);
  return /* defence: added-certificate-is-of-caller */ fits
    ? undefined
    : `pem is not a certificate of dispatcher ${id}`;
}

/** The line of a serial that has proved to be the dispatcher's. What another one claimed without a proof gives way. */
export function provenLine(
  state: State,
  dispatcherId: string,
  certificate: Certificate,
  broughtBy: string | undefined,
): Decided {
  const { serial } = certificate;
  const line = state.lines.get(serial);
  const claimedBy = line === legacyDispatcherId || line === dispatcherId ? undefined : line;
  const id = /* defence: claim-gives-way-to-proof */ dispatcherId;
  return { dispatcherId, claimedBy, stored: withLine(state, serial, id, { certificate, broughtBy }) };
}

/** Serials that are revoked, or whose certificate has expired, take no place. */
function roomForProven(
  { clock }: AgentContext,
  state: State,
  id: string,
  serial: string,
): Result<void, CtrlExecError<'protocol_violation'>> {
  const now = clock.now();
  const others = [...state.dispatchers.values()].filter(
    ({ serial: each, notAfter }) =>
      each !== serial &&
      state.trust.get(each) === id &&
      isProven(state, each) &&
      !state.revoked.has(each) &&
      notAfter >= now,
  );
  return others.length < maxSerials
    ? ok(undefined)
    : refuse(`more than ${maxSerials} serials of one dispatcher`);
}

/** Legacy dispatchers announce no certificates, so that what they bring is bounded, and followed back to who brought it. */
const roomForUnproven = (
  state: State,
  id: string,
  by: string,
): Result<void, CtrlExecError<'protocol_violation'>> => {
  const unproven = [...state.trust]
    .filter(([serial, of]) => of === id && state.origins.has(serial) && !isProven(state, serial))
    .flatMap(([serial]) => (state.revoked.has(serial) ? [] : serial));
  const advice = 'a person decides on this host: ctrl-exec-agent trust';
  if (ancestors(state.origins, by).size >= maxGenerations)
    return refuse(`${maxGenerations} serials have followed one another without a certificate; ${advice}`);
  // defence: unproven-serials-are-few
  if (unproven.length >= maxUnproven)
    return refuse(
      `dispatcher ${id} has brought ${maxUnproven} serials without a certificate (${unproven.join(', ')}); ${advice}`,
    );
  return ok(undefined);
};

/** A serial without a certificate, from a legacy dispatcher. */
function claimed(state: State, { id, serial: by }: Caller, serial: string): Verdict {
  if (state.revoked.has(serial)) return refuse(`serial ${serial} is revoked`);
  const line = state.trust.get(serial);
  if (line !== undefined) return line === id ? ok({ dispatcherId: id }) : belongsToAnother(serial);
  return roomForUnproven(state, id, by).map(() => ({
    dispatcherId: id,
    stored: withLine(state, serial, id, { broughtBy: by }),
  }));
}

/** Only whoever replaces a serial retires it: by records of succession, or by the note of which serial brought which. */
function removed(context: AgentContext, state: State, caller: Caller, { serial, records }: Asked): Verdict {
  const { id, serial: own, certificate } = caller;
  if (serial === own) return refuse('that serial is the one of this request');
  const line = state.trust.get(serial);
  if (line === undefined) return ok({ dispatcherId: id });
  // defence: only-own-serials-are-retired
  if (line !== id && line !== legacyDispatcherId) return belongsToAnother(serial);
  if (!caller.guarantees.provesSerials && state.dispatchers.has(serial))
    return refuse(`serial ${serial} signs its requests: only one that signs replaces it`);
  const proven =
    recordsReplace(context, state, records, { certificate, former: serial }) ||
    replaces(state.origins, own, serial);
  // defence: only-successor-retires
  if (!proven) return refuse(`nothing shows that ${own} replaces ${serial}`);
  const lines = new Map(state.lines);
  lines.delete(serial);
  return ok({ dispatcherId: id, stored: { ...state, lines } });
}
