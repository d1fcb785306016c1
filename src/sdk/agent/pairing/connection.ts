import { err, ok, type ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import { callAnonymously } from '../../protocol/anonymous.js';
import type { Answers, Endpoint, Reading } from '../../protocol/endpoint.js';
import type { AgentContext } from '../context.js';

/** Standard TCP port of pairing mode. */
export const pairingPort = 7444;

/** The agent's side of one pairing session: every connection of it meets the same key, or none is used. */
export interface PairingConnection {
  ask<R, A extends Answers>(endpoint: Endpoint<R, A>, message: R): ResultAsync<Reading<A>, CtrlExecError>;
  /** The certificate that the dispatcher's TLS presented; only after the first answer. */
  leaf(): Certificate;
}

/** Where the dispatcher is. */
export interface PairingPeer {
  readonly dispatcher: string;
  readonly port?: number;
  readonly signal?: AbortSignal;
}

export function openPairingConnection(context: AgentContext, peer: PairingPeer): PairingConnection {
  const { crypto, random } = context;
  const { dispatcher: host, port = pairingPort, signal } = peer;
  const key = `pairing|${host}|${port}|${crypto.sha256(random.bytes(16)).join('')}`;
  const target = { host, port, trust: 'any', tls13Only: true, key } as const;
  let seen: Certificate | undefined;

  const meets = (leaf: Certificate) => {
    // defence: pairing-keeps-one-tls-key
    if (seen && !crypto.equal(seen.spki, leaf.spki))
      return err(
        failure(
          'wrong_identity',
          'the pairing port answers with another key than before: somebody may be between the two hosts',
          { expected: seen.serial, found: leaf.serial },
        ),
      );
    seen = leaf;
    return ok(undefined);
  };

  return {
    ask: (endpoint, message) =>
      callAnonymously(context, endpoint, target, message, { meets, signal })
        .map(({ answer }) => answer)
        .mapErr((error): CtrlExecError => inWords(error)),
    leaf: () => {
      if (!seen) throw new Error('no answer yet');
      return seen;
    },
  };
}

/** The same errors as an agent's, but it is a dispatcher that is asked. */
function inWords(error: CtrlExecError): CtrlExecError {
  if (error.code === 'refused') return refused(error.reason, error.status);
  if (error.code !== 'protocol_violation') return error;
  return { ...error, message: error.message.replace("the agent's answer", "the dispatcher's answer") };
}

const meanings: ReadonlyMap<string, string> = new Map([
  ['invalid', 'its log says why; where the key of this host was revoked there, pair with --new-key'],
  ['queue_full', 'too many requests are waiting there; try again in a moment'],
  ['join_refused', 'the join token is unknown, expired, used, or for another host'],
  [
    'name_registered',
    'this name, or the key of this host under another name, is registered already: see the log of the dispatcher',
  ],
  ['unknown_session', 'it does not know this session any more; pairing mode may have been restarted'],
  ['not_found', 'it is no pairing port of version 2'],
  ['invalid request', 'a legacy dispatcher says so, which pairs by version 1 only: see --allow-v1'],
]);

/** The dispatcher has said no, by an outcome of the endpoint. */
export const saidNo = ({ answers }: { readonly answers: Answers }, outcome: string): CtrlExecError =>
  refused(outcome, answers[outcome]?.status ?? 0);

/** @param reason the word of the dispatcher for it */
export function refused(reason: string, status: number): CtrlExecError {
  if (reason === 'expired') return failure('pairing_expired', 'the pairing request has expired', {});
  const meaning = meanings.get(reason);
  const message = `the dispatcher refused: ${reason}${meaning ? ` (${meaning})` : ''}`;
  return failure('refused', message, { status, reason });
}
