import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { err, ok, type Result } from 'neverthrow';
import { authority } from '../../domain/core/host-argument.js';
import {
  aborted,
  answerTooLarge,
  closedAtOnce,
  connectionFailed,
  exchangeFailure,
  timedOut,
  tlsFailed,
  unsendable,
  violation,
} from '../../domain/protocol/connection-failures.js';
import type { HeaderList } from '../../domain/protocol/http-message.js';
import type {
  AnswerHead,
  BodyConsumer,
  ChannelAnswer,
  ChannelError,
  ChannelTarget,
  Exchange,
  ExchangeError,
} from '../../ports/channel.js';
import type { Interruption, Secured } from './open-connection.js';

/** A connection that stands. */
export interface Line extends Secured {
  /** A request was sent over it. */
  used: boolean;
  /** Closes it once it has been idle for too long. */
  idling: NodeJS.Timeout | undefined;
  /** Ends the watch over it while nothing is asked. */
  unwatch(): void;
  /** Has it closed as soon as something comes unasked, or the other side ends it. */
  watch(): void;
}

type Outcome<E> = Result<ChannelAnswer, ExchangeError<E>>;

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

function requestHeaders(target: ChannelTarget, { method, headers, body }: Exchange<unknown>): string[] {
  const names = new Set(headers.map(([name]) => name));
  const withLength = body.length > 0 || !['GET', 'HEAD', 'DELETE'].includes(method);
  return [
    ...(names.has('host') ? [] : ['host', authority(target.host, target.port)]),
    'connection',
    'keep-alive',
    ...headers.flat(),
    ...(withLength && !names.has('content-length') ? ['content-length', String(body.length)] : []),
  ];
}

function headOf({ statusCode = 0, rawHeaders }: IncomingMessage): AnswerHead {
  const headers: HeaderList = Array.from({ length: rawHeaders.length / 2 }, (_, index) => [
    (rawHeaders[2 * index] ?? '').toLowerCase(),
    rawHeaders[2 * index + 1] ?? '',
  ]);
  return { status: statusCode, headers };
}

/** Where an answer without any of these ends nobody can tell from its being cut off. */
const hasLength = ({ status, headers }: AnswerHead) =>
  status === 204 ||
  status === 304 ||
  headers.some(([name]) => name === 'content-length' || name === 'transfer-encoding');

/** Milliseconds within which a peer has closed a connection that refuses the certificate of this side. */
const soon = 1_000;

/** Why a connection can no longer be used: the other side may have said that it refuses the certificate of this one. */
function closedMeanwhile(target: ChannelTarget, { used, socket }: Line): ChannelError {
  const { code = '' } = (socket.errored ?? {}) as NodeJS.ErrnoException;
  if (code.startsWith('ERR_SSL_')) return tlsFailed(target, code);
  return used ? connectionFailed(target, 'closed') : closedAtOnce(target);
}

/** Sends one request and collects its answer. Closes the connection unless it can be used again. */
export async function exchange<E>(
  line: Line,
  target: ChannelTarget,
  request: Exchange<E>,
  interrupted: Interruption,
): Promise<Outcome<E>> {
  let early: ChannelError | undefined;
  const hearNoMore = interrupted(() => {
    early = aborted();
  });
  // The second turn begins with asking the kernel whether the peer has closed the connection meanwhile.
  await nextTurn();
  await nextTurn();
  hearNoMore();
  if (line.socket.destroyed) early ??= closedMeanwhile(target, line);
  if (!early) return await converse(line, target, request, interrupted);
  return err({ ...early, sent: false } as ExchangeError<E>);
}

function converse<E>(
  line: Line,
  target: ChannelTarget,
  request: Exchange<E>,
  interrupted: Interruption,
): Promise<Outcome<E>> {
  const { socket } = line;
  const { answerTimeout, maxAnswer } = request;
  return new Promise((resolve, reject) => {
    const first = !line.used;
    const begun = performance.now();
    let asked: ClientRequest | undefined;
    let head: AnswerHead | undefined;
    let consume: BodyConsumer<E> | undefined;
    let timer: NodeJS.Timeout | undefined;
    let settled = false;

    /** Whether it is this call that ends the exchange. */
    const finish = (keep = false): boolean => {
      if (settled) return false;
      settled = true;
      clearTimeout(timer);
      stopListening();
      if (!keep) socket.destroy();
      return true;
    };
    const fail = (error: ChannelError | E, sent = true) => {
      if (finish()) resolve(err({ ...error, sent } as ExchangeError<E>));
    };
    const onBug = (bug: unknown) => {
      if (finish()) reject(bug);
    };
    const startTimer = () => {
      clearTimeout(timer);
      if (!settled) timer = setTimeout(() => fail(timedOut(target, 'answer', answerTimeout)), answerTimeout);
    };

    /** Hands a piece to the consumer, with no time limit. */
    const hand = async (take: BodyConsumer<E>, bytes: Uint8Array) => {
      clearTimeout(timer);
      const outcome = await take(bytes);
      if (outcome.isErr()) fail(outcome.error);
      else startTimer();
    };

    const receive = async (from: ClientRequest, response: IncomingMessage, freed: Promise<unknown>) => {
      head = headOf(response);
      if (!hasLength(head)) return fail(violation(target, 'an answer without Content-Length'));
      consume = request.onBody?.(head);
      const length = Number(response.headers['content-length'] ?? 0);
      if (!consume && length > maxAnswer) return fail(answerTooLarge(target, maxAnswer));
      const chunks: Buffer[] = [];
      let size = 0;
      const pieces: AsyncIterator<Buffer> = response[Symbol.asyncIterator]();
      for (;;) {
        const next = await pieces.next().catch((thrown: unknown) => {
          fail(exchangeFailure(target, thrown, { atOnce: false, answered: true }));
        });
        if (settled || !next || next.done) break;
        if (consume) await hand(consume, new Uint8Array(next.value));
        else {
          size += next.value.length;
          if (size > maxAnswer) fail(answerTooLarge(target, maxAnswer));
          else chunks.push(next.value);
        }
        if (settled) break;
      }
      if (settled) return;
      // The system tells a turn later that it has taken the request, and may not have taken one that was answered early.
      if (from.shouldKeepAlive) await Promise.race([freed, nextTurn().then(nextTurn)]);
      const keep = from.shouldKeepAlive && from.writableFinished && !socket.destroyed;
      if (keep) line.watch();
      if (finish(keep)) resolve(ok({ ...head, body: new Uint8Array(Buffer.concat(chunks)) }));
    };

    const stopListening = interrupted(() => fail(aborted()));
    if (settled) return;
    line.unwatch();
    try {
      asked = httpRequest({
        createConnection: () => socket,
        method: request.method,
        path: `${request.path}${request.query}`,
        headers: requestHeaders(target, request),
        insecureHTTPParser: false,
      });
    } catch (thrown) {
      return fail(unsendable(target, thrown), false);
    }
    const sending = asked;
    const freed = new Promise((free) => sending.once('close', free));
    sending.shouldKeepAlive = true;
    // All of them: it would leave out those above its limit. Their bytes have one of their own.
    sending.maxHeadersCount = 0;
    sending.on('error', (thrown) => {
      const answered = head !== undefined;
      const atOnce = first && performance.now() - begun < soon;
      fail(exchangeFailure(target, thrown, { atOnce, answered }));
    });
    sending.on('information', ({ statusCode }) => {
      if (statusCode < 102) fail(violation(target, `a ${statusCode} that nobody asked for`));
    });
    sending.on('upgrade', () => fail(violation(target, 'an upgrade that nobody asked for')));
    sending.on('response', (response) => {
      response.on('error', () => {});
      receive(sending, response, freed).catch(onBug);
    });
    // Counts from the beginning of sending, and once more from its end where that took a while.
    sending.once('finish', () => {
      if (!consume) startTimer();
    });
    startTimer();
    line.used = true;
    sending.end(request.body);
  });
}
