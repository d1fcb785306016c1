import { isIP } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { failure } from '../../domain/core/errors.js';
import {
  aborted,
  answerTooLarge,
  tcpFailure,
  timedOut,
  tlsFailed,
} from '../../domain/protocol/connection-failures.js';
import type { HttpAnswer } from '../../domain/protocol/http-message.js';
import { aeadSuites } from '../../domain/protocol/tls-suites.js';
import type { Crypto } from '../../ports/crypto.js';
import type {
  LegacyExchange,
  LegacyPairing,
  LegacyPairingError,
  LegacyPairingRequest,
} from '../../ports/legacy-pairing.js';
import { maxBody, type NoAnswer, takeAnswer } from './legacy-answers.js';

type Answered = Result<HttpAnswer, LegacyPairingError>;
type Place = Pick<LegacyPairingRequest, 'host' | 'port'>;

const placeOf = ({ host, port }: Place) => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);

function unanswered(place: Place, phase: 'answer' | 'pairing', timeout: number) {
  const seconds = timeout / 1000;
  return failure('timed_out', `no answer from ${placeOf(place)} within ${seconds} s`, {
    phase,
    timeoutMs: seconds * 1000,
  });
}

/** What Node and OpenSSL say before the request was sent. */
function notConnected(
  { host, port, connectTimeout }: LegacyPairingRequest,
  thrown: NodeJS.ErrnoException,
): LegacyPairingError {
  const { code = '' } = thrown;
  return /^(ERR_SSL|ERR_TLS|ERR_OSSL|EPROTO)/.test(code)
    ? tlsFailed({ host, port }, code)
    : tcpFailure({ host, port }, thrown, connectTimeout);
}

const noAnswer = (asked: Place, { reason, tooLarge }: NoAnswer): LegacyPairingError =>
  tooLarge
    ? answerTooLarge(asked, maxBody)
    : failure('protocol_violation', `${placeOf(asked)} did not answer as version 1 demands: ${reason}`, {
        reason,
      });

/** The answers of a connection, one after the other. */
function answersOf(socket: TLSSocket, asked: Place) {
  let bytes: Buffer = Buffer.alloc(0);
  let ended: LegacyPairingError | undefined;
  let settle: ((answered: Answered) => void) | undefined;

  const end = (error: LegacyPairingError) => {
    ended ??= error;
    socket.destroy();
    settle?.(err(ended));
  };
  const look = () => {
    if (!settle) return;
    takeAnswer(bytes).match(
      (taken) => {
        if (!taken) return;
        bytes = taken.rest;
        settle?.(ok(taken.answer));
      },
      (reason) => end(noAnswer(asked, reason)),
    );
  };
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    look();
    // The second answer may come before anybody asks for it; nobody needs to take in more than one.
    if (!settle && bytes.length > 2 * maxBody) socket.pause();
  });
  const closed = (reason: string) => () =>
    end(
      failure('connection_failed', `${placeOf(asked)} closed the connection before its answer (${reason})`, {
        host: asked.host,
        reason,
      }),
    );
  socket.on('error', (error: NodeJS.ErrnoException) => closed(error.code ?? 'unknown')());
  socket.on('end', closed('closed'));
  socket.on('close', closed('closed'));

  return {
    end,
    next: (phase: 'answer' | 'pairing', timeout: number): Promise<Answered> =>
      new Promise<Answered>((resolve) => {
        const timer = setTimeout(() => end(unanswered(asked, phase, timeout)), timeout);
        settle = (answered) => {
          settle = undefined;
          clearTimeout(timer);
          resolve(answered);
        };
        look();
        if (ended) settle?.(err(ended));
        socket.resume();
      }),
  };
}

const connected = (asked: LegacyPairingRequest): Promise<Result<TLSSocket, LegacyPairingError>> =>
  new Promise((resolve) => {
    const { host, port, signal, connectTimeout } = asked;
    const socket = connect({
      host,
      port,
      ...(isIP(host) ? {} : { servername: host }),
      // It cannot be verified yet: whom the certificate belongs to is judged when its CA is known.
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
      ciphers: aeadSuites,
    });
    const settle = (result: Result<TLSSocket, LegacyPairingError>) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      if (result.isErr()) socket.destroy();
      resolve(result);
    };
    const onAbort = () => settle(err(aborted()));
    const timer = setTimeout(() => settle(err(timedOut(asked, 'connect', connectTimeout))), connectTimeout);
    signal?.addEventListener('abort', onAbort, { once: true });
    socket.on('error', (error) => settle(err(notConnected(asked, error))));
    socket.once('secureConnect', () => settle(ok(socket)));
    if (signal?.aborted) onAbort();
  });

/** As a deployed agent writes it, byte for byte. */
const requestBytes = (body: Uint8Array): Buffer =>
  Buffer.concat([
    Buffer.from(
      `POST /pair HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`,
      'latin1',
    ),
    body,
  ]);

/** Pairing version 1 over `node:tls`: no HTTP client reads two answers to one request. */
export const tlsLegacyPairing = (ports: { crypto: Crypto }): LegacyPairing => {
  const exchange = async (
    asked: LegacyPairingRequest,
  ): Promise<Result<LegacyExchange, LegacyPairingError>> => {
    const { signal } = asked;
    const connection = await connected(asked);
    if (connection.isErr()) return err(connection.error);
    const socket = connection.value;
    const shown = socket.getPeerX509Certificate();
    const peer = shown && ports.crypto.readCertificate(shown.raw);
    if (!peer?.isOk()) {
      socket.destroy();
      return err(tlsFailed(asked, 'its certificate cannot be read'));
    }
    const answers = answersOf(socket, asked);
    const onAbort = () => answers.end(aborted());
    signal?.addEventListener('abort', onAbort, { once: true });
    socket.once('close', () => signal?.removeEventListener('abort', onAbort));
    if (signal?.aborted) onAbort();
    else socket.write(requestBytes(asked.body));
    const first = await answers.next('answer', asked.answerTimeout);
    if (first.isErr()) return err(first.error);
    return ok({
      peer: peer.value,
      first: first.value,
      second: (timeout) =>
        new ResultAsync(
          answers.next('pairing', timeout).then((answered) => {
            answers.end(aborted());
            return answered;
          }),
        ),
      close: onAbort,
    });
  };
  return { request: (asked) => new ResultAsync(exchange(asked)) };
};
