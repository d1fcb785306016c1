import { err, errAsync, ok, okAsync, type Result, type ResultAsync } from 'neverthrow';
import { hex, utf8 } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { authority } from '../../../domain/core/host-argument.js';
import type { HeaderList } from '../../../domain/protocol/http-message.js';
import { streamType } from '../../../domain/protocol/output-stream.js';
import type { AnswerHead, TransportAnswer, TransportError } from '../../../ports/transport.js';
import { checkAnswer, isUnsigned, type RequestOnWire, signRequest } from '../../protocol/message-signing.js';
import type { DispatcherContext } from '../context.js';
import type { AgentTarget } from './agent-target.js';
import type { Presence } from './identity.js';
import { signsFromNowOn, whyUnacceptable } from './unsigned-answers.js';

/**
 * What contact with an agent can meet; `refused`: it said no to something that had to come first. `sent`: the request may have
 * reached the agent; without it, it certainly has not.
 */
export type ContactError = (TransportError | CtrlExecError<'refused'>) & { readonly sent?: true };

/** The error of something that came before the request itself. */
export const notSent = ({ sent: _, ...error }: ContactError): ContactError => error as ContactError;

export interface AgentRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: unknown;
  /** Milliseconds. */
  readonly answerTimeout: number;
  /** Bytes of answer that are accepted. */
  readonly maxAnswer: number;
  readonly signal?: AbortSignal | undefined;
  /** Takes an answer that is streamed (wire-protocol 2.5). Default: it is collected, and is then no answer that verifies. */
  readonly follow?: ((head: AnswerHead, sent: RequestOnWire) => Following) | undefined;
}

/** Who takes a streamed answer, and sees to its authenticity. An Err says why nothing of it counts. */
export interface Following {
  take(bytes: Uint8Array): Promise<Result<void, string>>;
  /** Whether it had an end that vouches for everything before it. */
  verdict(): Result<void, string>;
}

/** A fresh request id: 16 hex digits, unguessable. */
export const freshReqid = (context: Pick<DispatcherContext, 'random'>): string =>
  hex(context.random.bytes(8));

/** Milliseconds and bytes for the short requests by which agents are kept up to date. */
export const shortRequest = { answerTimeout: 10_000, maxAnswer: 64 * 1024 } as const;

/**
 * Sends one request, signed for the very key that answers the connection, and verifies the answer (wire-protocol 2.3).
 * `unverified`: the answer's signature does not hold, or is missing although its agent must sign; nothing of it is used.
 */
export function sendSigned(
  context: DispatcherContext,
  { signer }: Presence,
  target: AgentTarget,
  request: AgentRequest,
): ResultAsync<TransportAnswer, TransportError & { readonly sent?: true }> {
  const { clock, crypto, random, transport } = context;
  const { wouldRefuse } = target;
  if (wouldRefuse !== undefined)
    return errAsync(failure('tls_failed', wouldRefuse, { host: target.host, reason: 'WOULD_BE_REFUSED' }));
  const { method, path } = request;
  const body = request.body === undefined ? new Uint8Array() : utf8(JSON.stringify(request.body));
  const headers: HeaderList = [
    // Said here, not by the transport: what is signed is what is sent.
    ['host', authority(target.host, target.port)],
    ...(body.length > 0 ? ([['content-type', 'application/json']] as const) : []),
  ];
  const onWire = { method, path, query: '', headers, body };
  let sent: RequestOnWire = onWire;
  let followed: { readonly head: AnswerHead; readonly following: Following } | undefined;
  const { follow } = request;
  const refuse = refusalOf(context, target, path);
  return transport
    .request(target, {
      ...onWire,
      sign: (peer) => {
        const signature = signRequest(crypto, signer, onWire, {
          targetSpki: peer.spki,
          now: clock.now(),
          nonce: random.bytes(16),
        });
        sent = { ...onWire, headers: [...headers, ...signature] };
        return signature;
      },
      connectTimeout: context.settings.connectTimeout * 1000,
      answerTimeout: request.answerTimeout,
      maxAnswer: request.maxAnswer,
      ...(request.signal && { signal: request.signal }),
      ...(follow && {
        onBody: (head: AnswerHead) => {
          if (!isStream(head)) return undefined;
          const following = follow(head, sent);
          followed = { head, following };
          return async (bytes: Uint8Array) => {
            const taken = await following.take(bytes);
            return taken.isOk() ? ok(undefined) : err(refuse(head.status, taken.error));
          };
        },
      }),
    })
    .orElse((error) =>
      // What has ended as it must is not spoilt by how its connection ends.
      /* defence: stream-needs-its-end */ followed?.following.verdict().isOk()
        ? ok({ ...followed.head, body: new Uint8Array() })
        : err(explained(target, error)),
    )
    .andThen((answer) => {
      if (!followed) return verified(context, target, sent, answer);
      const { head, following } = followed;
      const verdict = following.verdict();
      return verdict.isOk()
        ? signsFromNowOn(context, target.record, head.peer).map(() => answer)
        : errAsync(refuse(head.status, verdict.error));
    })
    .mapErr((error) => (sent === onWire ? error : { ...error, sent: true as const }));
}

const isStream = ({ status, headers }: AnswerHead): boolean =>
  status === 200 && headers.some(([name, value]) => name === 'content-type' && value === streamType);

/** Logs why nothing of an answer is used. */
const refusalOf =
  ({ events }: DispatcherContext, { host, port }: AgentTarget, path: string) =>
  (status: number, reason: string): TransportError => {
    events.emit({
      action: 'result-unverified',
      level: 'error',
      fields: { host: `${host}:${port}`, path, status, reason },
    });
    return failure('unverified', 'unverified result', { reason });
  };

/** The answer, if it is signed by whom it came from, or comes from a legacy agent that may do without. */
function verified(
  context: DispatcherContext,
  target: AgentTarget,
  sent: RequestOnWire,
  answer: TransportAnswer,
): ResultAsync<TransportAnswer, TransportError> {
  const { clock, crypto } = context;
  const { peer, status } = answer;
  const refuse = (reason: string): ResultAsync<TransportAnswer, TransportError> =>
    errAsync(refusalOf(context, target, sent.path)(status, reason));
  const checked = checkAnswer(crypto, answer, sent, { certificate: peer, now: clock.now() });
  if (checked.isOk()) return signsFromNowOn(context, target.record, peer).map(() => answer);
  // defence: unsigned-answer-is-refused
  if (!isUnsigned(answer)) return refuse(checked.error);
  const trusts = status === 200 || status === 202 || status === 409 ? target.ownSerial : undefined;
  return whyUnacceptable(context, { peer, trusts })
    .mapErr((error): TransportError => error)
    .andThen((reason) => (reason === undefined ? okAsync(answer) : refuse(reason)));
}

/** A legacy agent that has had enough only closes the connection; people must learn what that may mean. */
function explained({ record }: AgentTarget, error: TransportError): TransportError {
  if (record?.standing.speaks !== 'unsigned' || error.code !== 'connection_failed') return error;
  const causes =
    'a legacy agent that was asked 10 times within a minute closes connections from this host for 5 minutes; it also closes where a script ended without reading its input: that one has run';
  return { ...error, message: `${error.message} (${causes})` };
}
