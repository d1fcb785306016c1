import { err, ok, type Result } from 'neverthrow';
import type { Client, Dispatcher } from 'undici';
import { authority } from '../../domain/core/host-argument.js';
import type { HeaderList, HttpAnswer } from '../../domain/protocol/http-message.js';
import type {
  BodyConsumer,
  TransportError,
  TransportRequest,
  TransportTarget,
} from '../../ports/transport.js';
import type { Secured } from './connect.js';
import { aborted, answerTooLarge, exchangeFailure, timedOut, violation } from './failures.js';

/** A connection with the HTTP client that owns it; one request at a time. */
export interface Channel extends Secured {
  readonly client: Client;
  /** No request was sent over it yet. */
  fresh: boolean;
}

/** `unsent`: the connection turned out to be closed before a byte of the request was written. */
export type ExchangeEnd = Result<HttpAnswer, TransportError> | 'unsent';

function requestHeaders(target: TransportTarget, headers: HeaderList): string[] {
  const named = headers.some(([name]) => name === 'host');
  return [...(named ? [] : ['host', authority(target.host, target.port)]), ...headers.flat()];
}

function answerHeaders(raw: Dispatcher.DispatchController['rawHeaders']): HeaderList {
  const fields = (Array.isArray(raw) ? raw : []).map((field) =>
    typeof field === 'string' ? field : field.toString('latin1'),
  );
  return Array.from({ length: Math.floor(fields.length / 2) }, (_, index) => [
    (fields[2 * index] ?? '').toLowerCase(),
    fields[2 * index + 1] ?? '',
  ]);
}

/** Where an answer without any of these ends nobody can tell from its being cut off. */
const hasLength = (status: number, headers: HeaderList) =>
  status === 204 ||
  status === 304 ||
  headers.some(([name]) => name === 'content-length' || name === 'transfer-encoding');

/**
 * Lets nothing more be read from a socket; gives what ends that, not to be called within a callback of undici. Not by undici's own pause: a
 * connection that breaks meanwhile fails an assertion there, and would end the process.
 */
function hold(socket: Channel['socket']): () => void {
  const { read } = socket;
  socket.read = () => null;
  return () => {
    socket.read = read;
    socket.emit('readable');
  };
}

/** Milliseconds within which a peer has closed a connection that refuses the certificate of this side. */
const soon = 1_000;

/** Sends one request and collects its answer. The caller closes the connection unless this ends in an answer. */
export function exchange(
  channel: Channel,
  target: TransportTarget,
  request: TransportRequest,
  signal: AbortSignal,
): Promise<ExchangeEnd> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return resolve(err(aborted()));
    const first = channel.fresh;
    const begun = performance.now();
    let sent = false;
    let head: { status: number; headers: HeaderList } | undefined;
    const chunks: Buffer[] = [];
    let size = 0;
    let timer: NodeJS.Timeout | undefined;
    let consume: BodyConsumer | undefined;
    let complete = false;
    const waiting: Uint8Array[] = [];
    let release: (() => void) | undefined;
    let settled = false;

    const finish = () => {
      settled = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      channel.socket.off('drain', startTimer);
    };
    const settle = (end: ExchangeEnd) => {
      if (settled) return;
      finish();
      resolve(end);
    };
    const onAbort = () => settle(err(aborted()));
    /** Counts from the beginning of sending, and once more from its end where that took a while. */
    const startTimer = () => {
      clearTimeout(timer);
      timer = setTimeout(
        () => settle(err(timedOut(target, 'answer', request.answerTimeout))),
        request.answerTimeout,
      );
    };
    signal.addEventListener('abort', onAbort);

    /** Has the consumer take one piece after the other; until it has, nothing more is read. */
    const hand = async (take: BodyConsumer) => {
      clearTimeout(timer);
      release = hold(channel.socket);
      // Outside of the parser, which does not bear what a consumer may do.
      await undefined;
      for (let bytes = waiting.shift(); bytes; bytes = waiting.shift()) {
        if (settled) return;
        const outcome = await take(bytes);
        if (settled) return;
        if (outcome.isErr()) return settle(err(outcome.error));
      }
      if (!complete) startTimer();
      release();
      release = undefined;
      if (complete) end();
    };
    const end = () => {
      if (head) settle(ok({ ...head, body: new Uint8Array(Buffer.concat(chunks)) }));
      else settle(err(violation(target, 'an answer without a status')));
    };

    channel.client.dispatch(
      {
        method: request.method,
        path: `${request.path}${request.query}`,
        headers: requestHeaders(target, [...request.headers, ...(request.sign?.(channel.peer) ?? [])]),
        body: request.body.length > 0 ? request.body : null,
        headersTimeout: 0,
        bodyTimeout: 0,
      },
      {
        onRequestStart() {
          sent = true;
          channel.fresh = false;
          startTimer();
          channel.socket.once('drain', startTimer);
        },
        onRequestUpgrade() {
          settle(err(violation(target, 'an upgrade that nobody asked for')));
        },
        onResponseStart(controller, status) {
          if (status < 200) return;
          const headers = answerHeaders(controller.rawHeaders);
          head = { status, headers };
          const length = Number(headers.find(([name]) => name === 'content-length')?.[1] ?? 0);
          if (!hasLength(status, headers)) settle(err(violation(target, 'an answer without Content-Length')));
          else {
            consume = request.onBody?.({ ...head, peer: channel.peer });
            if (!consume && length > request.maxAnswer)
              settle(err(answerTooLarge(target, request.maxAnswer)));
          }
        },
        onResponseData(_controller, chunk) {
          if (settled) return;
          if (consume) {
            // A copy: undici goes on using this memory.
            waiting.push(new Uint8Array(chunk));
            if (release) return;
            hand(consume).catch((bug: unknown) => {
              finish();
              reject(bug);
            });
            return;
          }
          size += chunk.length;
          if (size > request.maxAnswer) settle(err(answerTooLarge(target, request.maxAnswer)));
          else chunks.push(chunk);
        },
        onResponseEnd() {
          complete = true;
          if (!release) end();
        },
        onResponseError(_controller, thrown) {
          const lost = !sent && !first && (thrown as { code?: string }).code !== 'UND_ERR_INVALID_ARG';
          if (lost) settle('unsent');
          else {
            const atOnce = first && performance.now() - begun < soon;
            settle(err(exchangeFailure(target, thrown, { atOnce, answered: head !== undefined })));
          }
        },
      },
    );
  });
}
