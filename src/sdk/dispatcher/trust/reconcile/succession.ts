import { err, ok, type Result, ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../../domain/core/errors.js';
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
import type { CallError } from '../../../protocol/client.js';
import { ping, serials } from '../../../protocol/endpoints.js';
import { isStranger } from '../../../protocol/reading.js';
import type { DispatcherContext } from '../../context.js';
import { spkiDigest } from '../agent-key.js';
import type { DispatcherIdentity, Presence } from '../identity.js';
import { validFor } from '../validity.js';
import { updateAuthorities } from './authorities.js';
import { withLists } from './lists.js';
import { addition, addSerial } from './serials.js';
import { type Acknowledged, askedBy, note, type Update } from './update.js';

/** The record that a certificate follows the identity that signs. */
export function succession(
  { clock }: Pick<DispatcherContext, 'clock'>,
  { signer, certificate }: Pick<Presence, 'signer' | 'certificate'>,
  next: Certificate,
): Succession {
  const step = { old: certificate.serial, new: next.serial, at: Math.floor(clock.now() / 1000) };
  return { ...step, newPem: next.pem, sig: signer.key.sign(successionMessage(step, next.der)) };
}

/** @param reason the agent's own word */
export const noChain = (reason = 'serial mismatch') =>
  failure(
    'refused',
    `refused by the agent: ${reason} (it does not trust this dispatcher certificate, nor one that leads to it; pair it with this dispatcher)`,
    { status: 403, reason },
  );

/**
 * Shows by the records of all rotations that the present identity follows one that the agent trusts. An agent that has not
 * heard of the present CA is met with a certificate of the previous one.
 */
export function bySuccession(context: DispatcherContext, update: Update): Acknowledged {
  const { own } = update.identity;
  const present = askedBy(update, update.identity);
  return firstAccepted(linesFor(update), (line) => claim(context, present, line))
    .andThen(() => note(context, update, { trusts: [own.current] }))
    .orElse((error) => (mayNeedBridge(update, error) ? overBridge(context, update) : err(error)))
    .mapErr((error) => (error.code === 'refused' && isStranger(error) ? noChain(error.reason) : error));
}

/** Whether it looks as if the agent did not accept the CA of the present certificate, which has followed another. */
export const mayNeedBridge = ({ identity }: Update, { code }: CallError): boolean =>
  identity.authorities.length > 1 && (code === 'tls_failed' || code === 'connection_failed');

/** A certificate of the previous CA over the present key: the agent follows to it, learns of the CA, then of the present serial. */
export function overBridge(context: DispatcherContext, update: Update): Acknowledged {
  const { agent, identity } = update;
  return safeTry<void, CallError>(async function* () {
    const bridge = yield* bridgeOf(context, identity).mapErr(
      (error): CallError =>
        failure('tls_failed', `${agent.record.name} does not know the present CA: ${error.message}`, {
          host: agent.dial.host,
          reason: 'UNKNOWN_CA',
        }),
    );
    const step = succession(context, identity, bridge.certificate);
    const bridged = askedBy(update, bridge);
    yield* firstAccepted(linesFor(update), (line) =>
      // With one step more it must not be longer than an agent reads.
      claim(context, bridged, [...line, step].slice(-maxChain)),
    );
    yield* note(context, update, { trusts: [bridge.certificate.serial] });
    yield* updateAuthorities(context, bridged);
    return addSerial(context, bridged, identity);
  });
}

type Line = readonly Succession[];

/**
 * The chain from what the agent trusts as far as is known, then the whole line, from which it picks what it needs: it may
 * have been restored from a backup. An agent that trusts the present serial after all says so to any of them.
 */
function linesFor({ identity: { rotation, own }, agent }: Update): readonly Line[] {
  const { successions } = rotation;
  const trusted = new Set(agent.record.standing.serials.filter((serial) => serial !== own.current));
  const chain = chainTo(successions, trusted, own.current);
  const line = lineTo(successions, own.current);
  return chain === undefined || chain.length === line.length ? [line] : [chain, line];
}

/** One line after the other, as long as the agent does not know who asks. */
function firstAccepted(lines: readonly Line[], claimed: (line: Line) => Acknowledged): Acknowledged {
  const tried = async (): Promise<Result<void, CallError>> => {
    let last: Result<void, CallError> = err(noChain());
    for (const line of lines) {
      last = await claimed(line);
      if (last.isOk() || !isStranger(last.error)) break;
    }
    return last;
  };
  return new ResultAsync(tried());
}

/**
 * The serial that asks, with the records that lead to it. Where the chain has a revoked serial, the list goes with it: the agent
 * judges the chain by what it trusted before, and takes both at once. An older version takes the chain only as long as it
 * has no such list, and the list afterwards.
 */
function claim(context: DispatcherContext, update: Update, chain: Line): Acknowledged {
  const { by, identity } = update;
  const request = { ...addition(by), succession: chain.map(successionToJson) };
  // Whoever accepts the CA of the certificate that asks can read a list of that CA.
  const issuer = identity.authorities.findIndex((ca) => context.crypto.issuedBy(by.certificate, ca));
  const withList = (list: RevocationList | undefined) => {
    const revoked = new Set(list?.revoked.map(({ serial }) => serial));
    const whole = { ...request, list: list?.pem };
    // Older versions read no more of it than of any other request.
    const fits = JSON.stringify(serials.request.write(whole)).length <= ping.maxRequest;
    return /* defence: list-goes-with-the-chain */ chain.some(({ old }) => revoked.has(old)) && fits
      ? whole
      : request;
  };
  return withLists(context, update, serials, (lists) => withList(lists[issuer])).map(() => undefined);
}

function bridgeOf(
  context: DispatcherContext,
  { signer, credentials }: DispatcherIdentity,
): ResultAsync<Presence, CtrlExecError> {
  const { authority, revocations, settings } = context;
  const { dispatcherId, certDays } = settings;
  return safeTry<Presence, CtrlExecError>(async function* () {
    const profile = { kind: 'dispatcher', dispatcherId } as const;
    const valid = validFor(context, certDays);
    const certificate = yield* authority.issue(profile, signer.key.spki, valid, 'previous');
    // Nobody could revoke it otherwise.
    yield* /* defence: bridge-can-be-revoked */ revocations.remember({
      serial: certificate.serial,
      name: dispatcherUri(dispatcherId),
      spkiSha256: spkiDigest(context, certificate),
      notAfter: certificate.notAfter,
    });
    return ok({
      certificate,
      credentials: { key: credentials.key, certificate: certificate.pem },
      signer: { key: signer.key, certificate },
    });
  });
}
