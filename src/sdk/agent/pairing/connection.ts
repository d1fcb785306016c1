import { err, errAsync, ok, okAsync, type ResultAsync } from 'neverthrow';
import { utf8 } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { parseJsonObject } from '../../../domain/core/json.js';
import { printable } from '../../../domain/core/names.js';
import { isLegacyError } from '../../../domain/legacy/pairing.js';
import {
  type ConfirmAnswer,
  maxPairingBody,
  type NonceMessage,
  pairFeatures,
  readConfirmAnswer,
  readPairingMessage,
  type StartedMessage,
  writePairingMessage,
} from '../../../domain/pairing/messages.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type { TransportAnswer } from '../../../ports/transport.js';
import type { AgentContext } from '../context.js';

/** Standard TCP port of pairing mode. */
export const pairingPort = 7444;
/** Milliseconds. */
export const connectTimeout = 10_000;
export const answerTimeout = 20_000;

type Message = Readonly<Record<string, unknown>>;
interface Answers {
  started: StartedMessage;
  nonce: NonceMessage;
}

/** The agent's side of one pairing session: every connection of it meets the same key, or none is used. */
export interface PairingConnection {
  send<K extends keyof Answers>(
    step: 'start' | 'nonce',
    answer: K,
    message: Message,
  ): ResultAsync<Answers[K], CtrlExecError>;
  confirm(message: Message): ResultAsync<ConfirmAnswer, CtrlExecError>;
  installed(message: Message): ResultAsync<void, CtrlExecError>;
  /** The certificate that the dispatcher's TLS presented; only after the first answer. */
  leaf(): Certificate;
  /**
   * Whether the answer to M1 was a 404 or an error of version 1, and nothing said before that it knows version 2: then, and
   * only then, version 1 may be tried (wire-protocol 2.2).
   */
  knowsVersion1Only(): boolean;
}

/** Where the dispatcher is. */
export interface PairingPeer {
  readonly dispatcher: string;
  readonly port?: number;
  readonly signal?: AbortSignal;
}

export function openPairingConnection(context: AgentContext, peer: PairingPeer): PairingConnection {
  const { crypto, transport, random } = context;
  const { dispatcher, port = pairingPort, signal } = peer;
  const connectionKey = `pairing|${dispatcher}|${port}|${crypto.sha256(random.bytes(16)).join('')}`;
  let seen: Certificate | undefined;
  /** Of the answers to M1. */
  let version: 1 | 2 | undefined;

  const judgeVersion = (answer: TransportAnswer) => {
    if (/* defence: version-2-seen-stays */ version !== 2)
      version = answer.status === 404 || isLegacyError(answer.body) ? 1 : 2;
  };

  const post = (step: string, message: Message): ResultAsync<TransportAnswer, CtrlExecError> =>
    transport
      .request(
        {
          host: dispatcher,
          port,
          trust: 'any',
          tls13Only: true,
          connectionKey,
          judge: (leaf) => {
            // defence: pairing-keeps-one-tls-key
            if (seen && !crypto.equal(seen.spki, leaf.spki))
              return errAsync(
                failure(
                  'wrong_identity',
                  'the pairing port answers with another key than before: somebody may be between the two hosts',
                  { expected: seen.serial, found: leaf.serial },
                ),
              );
            seen = leaf;
            return okAsync(undefined);
          },
        },
        {
          method: 'POST',
          path: `/pair/v2/${step}`,
          query: '',
          headers: [
            ['content-type', 'application/json'],
            ...(step === 'start' ? [[pairFeatures.header, pairFeatures.endorsements] as const] : []),
          ],
          body: utf8(writePairingMessage(message)),
          connectTimeout,
          answerTimeout,
          maxAnswer: 8 * maxPairingBody,
          ...(signal && { signal }),
        },
      )
      .mapErr((error): CtrlExecError => error);

  return {
    send: (step, kind, message) =>
      post(step, message).andThen((answer) => {
        if (step === 'start') judgeVersion(answer);
        return (answer.status === 200 || answer.status === 201) && !isLegacyError(answer.body)
          ? readPairingMessage(kind, answer.body).mapErr(notUnderstood)
          : err(refusedBy(answer));
      }) as never,
    confirm: (message) =>
      post('confirm', message).andThen((answer) =>
        [200, 202, 403, 410].includes(answer.status)
          ? readConfirmAnswer(answer.status, answer.body).mapErr(notUnderstood)
          : err(refusedBy(answer)),
      ),
    installed: (message) =>
      post('installed', message).andThen((answer) =>
        answer.status === 200 ? ok(undefined) : err(refusedBy(answer)),
      ),
    leaf: () => {
      if (!seen) throw new Error('no answer yet');
      return seen;
    },
    knowsVersion1Only: () => version === 1,
  };
}

const notUnderstood = (reason: string): CtrlExecError =>
  failure('protocol_violation', `the dispatcher's answer is not understood: ${reason}`, { reason });

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

function refusedBy(answer: TransportAnswer): CtrlExecError {
  const body = parseJsonObject(answer.body);
  const code = body.isOk() ? (body.value['error'] ?? body.value['reason']) : undefined;
  const reason = printable(typeof code === 'string' ? code : `HTTP status ${answer.status}`, 200);
  const meaning = meanings.get(reason);
  if (answer.status === 410) return failure('pairing_expired', 'the pairing request has expired', {});
  return failure('refused', `the dispatcher refused: ${reason}${meaning ? ` (${meaning})` : ''}`, {
    status: answer.status,
    reason,
  });
}
