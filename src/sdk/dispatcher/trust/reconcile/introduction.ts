import { err, errAsync, ok, okAsync, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../../domain/core/errors.js';
import { maxRequestBody } from '../../../../domain/protocol/agent-protocol.js';
import { type Certificate, dispatcherUri } from '../../../../domain/trust/certificate.js';
import type { RevocationList } from '../../../../domain/trust/revocation-list.js';
import {
  chainTo,
  lineTo,
  maxChain,
  type Succession,
  successionMessage,
  successionToJson,
} from '../../../../domain/trust/succession.js';
import type { DispatcherContext } from '../../context.js';
import { spkiDigest } from '../agent-key.js';
import type { ContactError } from '../agent-request.js';
import type { DispatcherIdentity, Presence } from '../identity.js';
import { validFor } from '../validity.js';
import { inOrder, isStranger, type Known, note, type Told, tellCas } from './tell.js';
import { tellWithList } from './tell-lists.js';
import { addSerial, retireSerial, tellSerial } from './tell-serials.js';

/**
 * Whether there is a way to make an agent trust the present serial. A legacy one takes it only of the identity before, as long as it
 * trusts that, and only where it can use it: it knows one CA.
 */
export function canBeIntroduced(
  { crypto }: DispatcherContext,
  { authorities, certificate, previous }: DispatcherIdentity,
  { record: { standing } }: Known,
): boolean {
  if (standing.speaks === 'signed') return true;
  const former = previous?.certificate;
  return (
    former !== undefined &&
    standing.serials.includes(former.serial) &&
    authorities.some((ca) => crypto.issuedBy(former, ca) && crypto.issuedBy(certificate, ca))
  );
}

/** The present serial: by the identity before it, as long as that is known and trusted, else by succession. */
export function introduce(context: DispatcherContext, identity: DispatcherIdentity, agent: Known): Told {
  const { previous, own } = identity;
  const { standing } = agent.record;
  const told = () => retireStrays(context, identity, agent);
  // A legacy agent knows nothing of sets of CAs, nor of successions, and is told as little as possible.
  const legacy = standing.speaks !== 'signed';
  const byPrevious = (before: Presence) =>
    safeTry<void, ContactError>(async function* () {
      if (!legacy && standing.caSet !== identity.caSet) yield* tellCas(context, before, identity, agent);
      yield* tellSerial(context, before, identity, agent, addSerial(identity));
      return note(context, agent, { trusts: [own.current] });
    });
  if (legacy) return previous ? byPrevious(previous) : errAsync(noChain());
  if (!previous || !standing.serials.includes(previous.certificate.serial))
    return bySuccession(context, identity, agent).andThen(told);
  return byPrevious(previous)
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
    former.map((serial) => () => retireSerial(context, identity, identity, agent, serial)),
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
export function linesFor(
  { rotation, own }: DispatcherIdentity,
  { record }: Known,
): readonly [Line, ...Line[]] {
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

/**
 * The present serial, with the records that lead to it. Where the chain has a revoked serial, the list goes with it: the agent
 * judges the chain by what it trusted before, and takes both at once. An older version takes the chain only as long as it
 * has no such list, and the list afterwards.
 */
function claim(
  context: DispatcherContext,
  presence: Presence,
  identity: DispatcherIdentity,
  agent: Known,
  chain: readonly Succession[],
): Told {
  const body = { ...addSerial(presence), succession: chain.map(successionToJson) };
  // Whoever accepts the CA of the certificate that asks can read a list of that CA.
  const issuer = identity.authorities.findIndex((ca) => context.crypto.issuedBy(presence.certificate, ca));
  const withList = (list: RevocationList | undefined) => {
    const revoked = new Set(list?.revoked.map(({ serial }) => serial));
    const whole = { ...body, crl_pem: list?.pem };
    const fits = JSON.stringify(whole).length <= maxRequestBody;
    return /* defence: list-goes-with-the-chain */ chain.some(({ old }) => revoked.has(old)) && fits
      ? whole
      : body;
  };
  return tellWithList(context, presence, identity, agent, {
    path: '/rotate-serial',
    body: (lists) => withList(lists[issuer]),
  }).map(() => undefined);
}

/** A certificate of the previous CA over the present key: the agent follows to it, learns of the CA, then of the present serial. */
export function overBridge(
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
    yield* tellSerial(context, bridge, identity, agent, addSerial(identity));
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
    .andThen((certificate) =>
      // Nobody could revoke it otherwise.
      /* defence: bridge-can-be-revoked */ context.revocations
        .remember({
          serial: certificate.serial,
          name: dispatcherUri(dispatcherId),
          spkiSha256: spkiDigest(context, certificate),
          notAfter: certificate.notAfter,
        })
        .map(() => certificate),
    )
    .map((certificate) => ({
      certificate,
      credentials: { key: credentials.key, certificate: certificate.pem },
      signer: { key: signer.key, certificate },
    }));
}

/** The record that a certificate follows the identity that signs. */
export function succession(
  { clock }: Pick<DispatcherContext, 'clock'>,
  { signer, certificate }: Pick<Presence, 'signer' | 'certificate'>,
  next: Certificate,
): Succession {
  const step = { old: certificate.serial, new: next.serial, at: Math.floor(clock.now() / 1000) };
  return { ...step, newPem: next.pem, sig: signer.key.sign(successionMessage(step, next.der)) };
}
