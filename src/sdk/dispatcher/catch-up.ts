import { err, errAsync, ok, okAsync, type Result, ResultAsync, safeTry } from 'neverthrow';
import { readAcknowledgement } from '../../domain/agent-protocol.js';
import type { AgentRecord } from '../../domain/agent-record.js';
import { type AgentStanding, outlived, type StandingChange } from '../../domain/agent-standing.js';
import { base64url } from '../../domain/bytes.js';
import type { Certificate } from '../../domain/certificate.js';
import { type CtrlExecError, failure } from '../../domain/errors.js';
import {
  chainTo,
  lineTo,
  maxChain,
  type Succession,
  successionMessage,
  successionToJson,
} from '../../domain/succession.js';
import { type ContactError, freshReqid, sendSigned, shortRequest } from './agent-request.js';
import { type Destination, target } from './agent-target.js';
import type { DispatcherContext } from './context.js';
import { confirmed } from './first-contact.js';
import { type DispatcherIdentity, type Presence, readDispatcherIdentity } from './identity.js';
import { listsAt } from './revoked.js';
import { validFor } from './validity.js';

type Known = Destination & {
  readonly record: AgentRecord;
  /** Gives up. */
  readonly signal?: AbortSignal | undefined;
};

/** Something that an agent was told and acknowledged, or refused in its own words. */
type Told = ResultAsync<void, ContactError>;

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

/** The same, and whatever fails is the error. An agent that has forgotten this dispatcher is introduced to it again. */
export const tellAll = (
  context: DispatcherContext,
  identity: DispatcherIdentity,
  agent: Known,
): ResultAsync<void, CtrlExecError> =>
  mustBeTold(context, identity, agent)
    .mapErr((error): CtrlExecError => error)
    .andThen(() =>
      tellTheRest(context, identity, agent).orElse((error) =>
        isStranger(error)
          ? introduceAgain(context, identity, agent).andThen((done) =>
              done ? tellTheRest(context, identity, agent) : err<void, CtrlExecError>(error),
            )
          : err<void, CtrlExecError>(error),
      ),
    );

/** The agent does not know who asks. */
export const isStranger = (error: CtrlExecError): boolean =>
  error.code === 'refused' && error.reason === 'serial mismatch';

const mustBeTold = (context: DispatcherContext, identity: DispatcherIdentity, agent: Known): Told =>
  agent.record.standing.serials.includes(identity.own.current)
    ? okAsync(undefined)
    : introduce(context, identity, agent);

/** Whether there is nothing that an agent is to be told. */
export const isUpToDate = ({ own, caSet, revision }: DispatcherIdentity, standing: AgentStanding): boolean =>
  standing.serials.includes(own.current) &&
  (own.next === undefined || standing.serials.includes(own.next)) &&
  outlived(standing, own).length === 0 &&
  standing.caSet === caSet &&
  // A list of a higher number than there is here hides what this dispatcher revokes: the agent's objection is to be seen.
  standing.crlNumber === revision;

/** Whoever has acknowledged something has answered. */
const note = (
  { clock, registry }: DispatcherContext,
  { record }: Known,
  change: StandingChange,
): ResultAsync<void, ContactError> =>
  registry
    .note(record.name, { ...change, lastContact: clock.now() })
    .map(() => undefined)
    .orElse((error) => (error.code === 'agent_unknown' ? ok(undefined) : err(error)));

/** One short request whose answer says `ok`. */
function tell(
  context: DispatcherContext,
  presence: Presence,
  { cas }: DispatcherIdentity,
  agent: Known,
  path: string,
  body: unknown,
): Told {
  const { signal } = agent;
  const request = { method: 'POST', path, body, ...shortRequest, ...(signal && { signal }) } as const;
  return sendSigned(context, presence, target(context, presence, cas, agent), request).andThen((answer) =>
    confirmed(context, agent.record, answer.peer)
      .orElse((error) => (error.code === 'agent_unknown' ? ok(undefined) : err(error)))
      .andThen(() => readAcknowledgement(answer.status, answer.body)),
  );
}

/** A round trip, for what its answer shows of the agent's certificate. */
export const meet = (
  context: DispatcherContext,
  identity: DispatcherIdentity,
  agent: Known,
): ResultAsync<void, ContactError> =>
  tell(context, identity, identity, agent, '/ping', { reqid: freshReqid(context) });

const addSerial = ({ certificate }: Presence) => ({
  serial: certificate.serial,
  action: 'add',
  pem: certificate.pem,
});

/** The present serial: by the identity before it, as long as that is known and trusted, else by succession. */
function introduce(context: DispatcherContext, identity: DispatcherIdentity, agent: Known): Told {
  const { previous, own } = identity;
  const { standing } = agent.record;
  const told = () => retireStrays(context, identity, agent);
  if (!previous || !standing.serials.includes(previous.certificate.serial))
    return bySuccession(context, identity, agent).andThen(told);
  return safeTry<void, ContactError>(async function* () {
    if (standing.caSet !== identity.caSet) yield* tellCas(context, previous, identity, agent);
    yield* tell(context, previous, identity, agent, '/rotate-serial', addSerial(identity));
    return note(context, agent, { trusts: [own.current] });
  })
    .orElse((error) =>
      error.code === 'refused' || error.code === 'connection_failed'
        ? bySuccession(context, identity, agent)
        : errAsync(error),
    )
    .andThen(told);
}

/** Former serials that an agent may have been told without that being noted. */
const maxStrays = 8;

/**
 * Whoever had to be introduced anew may trust former serials that nobody here knows of: an acknowledgement that was lost, a
 * backup that was restored. What it has against taking them away is no reason not to go on.
 */
function retireStrays(context: DispatcherContext, identity: DispatcherIdentity, agent: Known): Told {
  const { own, rotation } = identity;
  const former = [...new Set(rotation.successions.map(({ old }) => old))]
    .filter((serial) => ![own.current, own.next, own.previous].includes(serial))
    .slice(-maxStrays);
  return inOrder(
    former.map(
      (serial) => () =>
        tell(context, identity, identity, agent, '/rotate-serial', { serial, action: 'remove' }).andThen(() =>
          note(context, agent, { retired: [serial] }),
        ),
    ),
  ).orElse((error) => (error.code === 'refused' ? ok(undefined) : err(error)));
}

/**
 * An agent that said that it does not trust the present serial, though it was told: whatever it trusts now, it is told again.
 * Ok says whether that helped.
 */
export function introduceAgain(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  agent: Known,
): ResultAsync<boolean, ContactError> {
  return note(context, agent, { retired: [identity.own.current] })
    .andThen(() => introduce(context, identity, agent))
    .map(() => true)
    .orElse((error) => (error.code === 'refused' ? okAsync(false) : errAsync(error)));
}

const noChain = () =>
  failure(
    'refused',
    'refused by the agent: serial mismatch (it does not trust this dispatcher certificate, nor one that leads to it; pair it with this dispatcher)',
    { status: 403, reason: 'serial mismatch' },
  );

/**
 * Shows by the records of all rotations that the present identity follows one that the agent trusts. An agent that has not
 * heard of the present CA is met with a certificate of the previous one.
 */
function bySuccession(context: DispatcherContext, identity: DispatcherIdentity, agent: Known): Told {
  const lines = linesFor(identity, agent);
  const direct = firstAccepted(lines, (line) => claim(context, identity, identity, agent, line)).andThen(() =>
    note(context, agent, { trusts: [identity.own.current] }),
  );
  const told =
    identity.authorities.length < 2
      ? direct
      : direct.orElse((error) =>
          error.code === 'tls_failed' || error.code === 'connection_failed'
            ? overBridge(context, identity, agent, lines)
            : errAsync(error),
        );
  return told.mapErr((error) => (isStranger(error) ? noChain() : error));
}

type Line = readonly Succession[];

/**
 * The chain from what the agent trusts as far as is known, then the whole line, from which it picks what it needs: it may
 * have been restored from a backup. An agent that trusts the present serial after all says so to any of them.
 */
function linesFor({ rotation, own }: DispatcherIdentity, { record }: Known): readonly [Line, ...Line[]] {
  const { successions } = rotation;
  const trusted = new Set(record.standing.serials.filter((serial) => serial !== own.current));
  const chain = chainTo(successions, trusted, own.current);
  const line = lineTo(successions, own.current);
  return chain === undefined || chain.length === line.length ? [line] : [chain, line];
}

const firstAccepted = ([first, ...others]: readonly [Line, ...Line[]], tried: (line: Line) => Told): Told =>
  others.reduce(
    (told, line) => told.orElse((error) => (isStranger(error) ? tried(line) : errAsync(error))),
    tried(first),
  );

function claim(
  context: DispatcherContext,
  presence: Presence,
  identity: DispatcherIdentity,
  agent: Known,
  chain: readonly Succession[],
): Told {
  const body = { ...addSerial(presence), succession: chain.map(successionToJson) };
  return tell(context, presence, identity, agent, '/rotate-serial', body);
}

/** A certificate of the previous CA over the present key: the agent follows to it, learns of the CA, then of the present serial. */
function overBridge(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  agent: Known,
  lines: readonly [Line, ...Line[]],
): Told {
  return safeTry<void, ContactError>(async function* () {
    const bridge = yield* bridgeOf(context, identity).mapErr(
      (error): ContactError =>
        failure('tls_failed', `${agent.record.name} does not know the present CA: ${error.message}`, {
          host: agent.dial.host,
          reason: 'UNKNOWN_CA',
        }),
    );
    const step = succession(context, identity, bridge.certificate);
    yield* firstAccepted(lines, (line) =>
      // With one step more it must not be longer than an agent reads.
      claim(context, bridge, identity, agent, [...line, step].slice(-maxChain)),
    );
    yield* note(context, agent, { trusts: [bridge.certificate.serial] });
    yield* tellCas(context, bridge, identity, agent);
    yield* tell(context, bridge, identity, agent, '/rotate-serial', addSerial(identity));
    return note(context, agent, { trusts: [identity.own.current] });
  });
}

function bridgeOf(
  context: DispatcherContext,
  { signer, credentials }: DispatcherIdentity,
): ResultAsync<Presence, CtrlExecError> {
  const { dispatcherId, certDays } = context.settings;
  return context.authority
    .issue({ kind: 'dispatcher', dispatcherId }, signer.key.spki, validFor(context, certDays), 'previous')
    .mapErr((error): CtrlExecError => error)
    .map((certificate) => ({
      certificate,
      credentials: { key: credentials.key, certificate: certificate.pem },
      signer: { key: signer.key, certificate },
    }));
}

/** The record that a certificate follows the identity that signs. */
export function succession(
  { clock }: Pick<DispatcherContext, 'clock'>,
  { signer, certificate }: Presence,
  next: Certificate,
): Succession {
  const step = { old: certificate.serial, new: next.serial, at: Math.floor(clock.now() / 1000) };
  return { ...step, newPem: next.pem, sig: signer.key.sign(successionMessage(step, next.der)) };
}

function tellCas(
  context: DispatcherContext,
  presence: Presence,
  identity: DispatcherIdentity,
  agent: Known,
): Told {
  return context.authority
    .endorsement()
    .mapErr(
      (error): ContactError =>
        failure('connection_failed', error.message, { host: agent.dial.host, reason: error.code }),
    )
    .andThen((endorsement) =>
      tell(context, presence, identity, agent, '/v2/cas', {
        ca_pem: identity.cas,
        ...(endorsement && { endorsements: [base64url(endorsement)] }),
      }),
    )
    .andThen(() =>
      // A list of a CA that is not accepted any more goes with it.
      note(context, agent, { caSet: identity.caSet, crlNumber: 0 }),
    );
}

function tellTheRest(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  agent: Known,
): ResultAsync<void, CtrlExecError> {
  if (isUpToDate(identity, agent.record.standing)) return okAsync(undefined);
  return safeTry<void, CtrlExecError>(async function* () {
    const record = yield* context.registry.find(agent.record.name);
    if (!record) return ok(undefined);
    const { standing } = record;
    // Read after the standing, for both may have changed since: what an agent was told meanwhile is not taken for outlived.
    const latest = yield* readDispatcherIdentity(context);
    const { own, next, caSet, revision } = latest;
    const rotateSerial = (body: unknown) => tell(context, identity, latest, agent, '/rotate-serial', body);
    const cas =
      standing.caSet === caSet
        ? ok<void, CtrlExecError>(undefined)
        : await tellCasSomehow(context, identity, latest, agent);
    // Whoever does not accept a CA must not be told of a certificate of it; that of this very request is accepted.
    const acceptable =
      next && (cas.isOk() || sameCa(context, latest, next.certificate, identity.certificate));
    return inOrder<CtrlExecError>([
      () => new ResultAsync(Promise.resolve(cas)),
      ...(acceptable && !standing.serials.includes(next.certificate.serial)
        ? [
            () =>
              rotateSerial(addSerial(next)).andThen(() =>
                note(context, agent, { trusts: [next.certificate.serial] }),
              ),
          ]
        : []),
      ...outlived(standing, own)
        .filter((serial) => serial !== identity.own.current)
        .map(
          (serial) => () =>
            rotateSerial({ serial, action: 'remove' }).andThen(() =>
              note(context, agent, { retired: [serial] }),
            ),
        ),
      ...(standing.caSet === caSet && standing.crlNumber === revision
        ? []
        : [() => tellRevocations(context, identity, latest, agent)]),
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

/** One after the other. What the agent has against one of them does not keep it from the others; the first refusal is the error. */
function inOrder<E extends CtrlExecError>(
  steps: readonly (() => ResultAsync<void, E>)[],
): ResultAsync<void, E> {
  const taken = async (): Promise<Result<void, E>> => {
    let refused: E | undefined;
    for (const step of steps) {
      const told = await step();
      if (told.isOk()) continue;
      if (told.error.code !== 'refused' || isStranger(told.error)) return err(told.error);
      refused ??= told.error;
    }
    return refused ? err(refused) : ok(undefined);
  };
  return new ResultAsync(taken());
}

/** One list for each CA in force, all of the same number. */
function tellRevocations(
  context: DispatcherContext,
  presence: Presence,
  identity: DispatcherIdentity,
  agent: Known,
): ResultAsync<void, CtrlExecError> {
  return listsAt(context, identity).andThen((lists) =>
    inOrder(
      lists.map(
        ({ pem }) =>
          () =>
            tell(context, presence, identity, agent, '/v2/crl', { crl_pem: pem }),
      ),
    ).andThen(() => note(context, agent, { crlNumber: lists[0]?.number ?? 0 })),
  );
}
