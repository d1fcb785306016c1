import { errAsync, okAsync, type ResultAsync } from 'neverthrow';
import { hex, utf8 } from '../../domain/bytes.js';
import { type CtrlExecError, failure } from '../../domain/errors.js';
import { authority } from '../../domain/host-argument.js';
import type { HeaderList } from '../../domain/http-message.js';
import type { TransportAnswer, TransportError, TransportTarget } from '../../ports/transport.js';
import { checkAnswer, signRequest } from '../message-signing.js';
import type { DispatcherContext } from './context.js';
import type { Presence } from './identity.js';

/** What contact with an agent can meet; `refused`: it said no to something that had to come first. */
export type ContactError = TransportError | CtrlExecError<'refused'>;

/** Milliseconds for TCP, TLS and the check of the certificate together. */
const connectTimeout = 10_000;

export interface AgentRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: unknown;
  /** Milliseconds. */
  readonly answerTimeout: number;
  /** Bytes of answer that are accepted. */
  readonly maxAnswer: number;
  readonly signal?: AbortSignal | undefined;
}

/** A fresh request id: 16 hex digits, unguessable. */
export const freshReqid = (context: Pick<DispatcherContext, 'random'>): string =>
  hex(context.random.bytes(8));

/** Milliseconds and bytes for the short requests by which agents are kept up to date. */
export const shortRequest = { answerTimeout: 10_000, maxAnswer: 64 * 1024 } as const;

/**
 * Sends one request, signed for the very key that answers the connection, and verifies the answer (wire-protocol 2.3).
 * `unverified`: the answer's signature is missing or does not hold; nothing of it is used.
 */
export function sendSigned(
  context: DispatcherContext,
  { signer }: Presence,
  target: TransportTarget,
  request: AgentRequest,
): ResultAsync<TransportAnswer, TransportError> {
  const { clock, crypto, events, random, transport } = context;
  const { method, path } = request;
  const body = request.body === undefined ? new Uint8Array() : utf8(JSON.stringify(request.body));
  const headers: HeaderList = [
    // Said here, not by the transport: what is signed is what is sent.
    ['host', authority(target.host, target.port)],
    ...(body.length > 0 ? ([['content-type', 'application/json']] as const) : []),
  ];
  const onWire = { method, path, query: '', headers, body };
  let sent = onWire;
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
      connectTimeout,
      answerTimeout: request.answerTimeout,
      maxAnswer: request.maxAnswer,
      ...(request.signal && { signal: request.signal }),
    })
    .andThen((answer) =>
      checkAnswer(crypto, answer, sent, { certificate: answer.peer, now: clock.now() }).match(
        () => okAsync<TransportAnswer, TransportError>(answer),
        (reason) => {
          const { host, port } = target;
          events.emit({
            action: 'result-unverified',
            level: 'error',
            fields: { host: `${host}:${port}`, path, status: answer.status, reason },
          });
          return errAsync(failure('unverified', 'unverified result', { reason }));
        },
      ),
    );
}
