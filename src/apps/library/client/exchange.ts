import { setTimeout as sleep } from 'node:timers/promises';
import { err, ok, type Result } from 'neverthrow';
import type { Dispatcher as Connections } from 'undici';
import { type ClientError, clientError, failureOf } from './error.js';
import type { ApiClientOptions, Settings } from './options.js';

/** One request of the API. */
export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** Below the API's own path; what comes from callers is encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: unknown;
  /** Makes a repetition harmless. */
  readonly idempotencyKey?: string;
  readonly signal?: AbortSignal | undefined;
}

type Answer = Connections.ResponseData;

/** Sends requests over connections that are opened with the first one. */
export interface Sender {
  readonly maxAnswer: number;
  /** The head of a success; anything else is an Err. */
  send(
    request: ApiRequest,
    accept: 'application/json' | 'text/event-stream',
  ): Promise<Result<Answer, ClientError>>;
  /** The whole of a success. Sent again where that does no harm and the connection failed. */
  fetch(request: ApiRequest): Promise<Result<Readonly<Record<string, unknown>>, ClientError>>;
  close(): Promise<void>;
}

const connectTimeout = 10_000;
const retryDelay = 200;

/** What a connection can die of without a word of the API. */
const lost =
  /^(ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|EAI_AGAIN|ENETUNREACH|EHOSTUNREACH|UND_ERR_SOCKET|UND_ERR_CONNECT_TIMEOUT)$/;

const codeOf = (thrown: unknown): string => {
  const { code, message, errors } = thrown as {
    code?: string;
    message?: string;
    errors?: { code?: string }[];
  };
  return errors?.find((each) => each.code)?.code ?? code ?? message ?? 'unknown';
};

/** What was thrown on the way, as a value. */
export const connectionError = (thrown: unknown, signal: AbortSignal | undefined): ClientError =>
  signal?.aborted || (thrown as Error).name === 'AbortError' || codeOf(thrown) === 'UND_ERR_DESTROYED'
    ? clientError('aborted', 'the request was aborted', {})
    : clientError('connection_failed', `the connection to the API failed: ${codeOf(thrown)}`, {
        reason: codeOf(thrown),
      });

export function sender(options: ApiClientOptions, settings: Settings): Sender {
  const { origin, base, authorization, retries, maxAnswer } = settings;
  const { ca, socketPath } = options;
  const closed = new AbortController();
  const ends = [closed.signal, ...(options.signal ? [options.signal] : [])];
  const signalOf = ({ signal }: ApiRequest) => AbortSignal.any(signal ? [...ends, signal] : ends);

  const open = async () => {
    const undici = await import('undici');
    const connections = new undici.Agent({
      // A run takes as long as it takes.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: {
        timeout: connectTimeout,
        ...(ca !== undefined && { ca: typeof ca === 'string' ? ca : [...ca] }),
        ...(socketPath !== undefined && { socketPath }),
      },
    });
    return { request: undici.request, connections };
  };
  let opened: ReturnType<typeof open> | undefined;

  const send: Sender['send'] = async (request, accept) => {
    const signal = signalOf(request);
    const url = new URL(`${origin}${base}${request.path}`);
    for (const [name, value] of Object.entries(request.query ?? {}))
      if (value !== undefined) url.searchParams.set(name, String(value));
    try {
      opened ??= open();
      const { request: ask, connections } = await opened;
      const answer = await ask(url, {
        dispatcher: connections,
        method: request.method,
        headers: {
          accept,
          ...(authorization !== undefined && { authorization }),
          ...(request.body !== undefined && { 'content-type': 'application/json' }),
          ...(request.idempotencyKey !== undefined && { 'idempotency-key': request.idempotencyKey }),
        },
        body: request.body === undefined ? null : JSON.stringify(request.body),
        signal,
      });
      if (answer.statusCode >= 200 && answer.statusCode < 300) return ok(answer);
      const body = await read(answer, signal);
      const retryAfter = String(answer.headers['retry-after'] ?? '');
      return body.andThen((told) => err(failureOf(answer.statusCode, told, retryAfter)));
    } catch (thrown) {
      return err(connectionError(thrown, signal));
    }
  };

  /** The body as JSON. */
  const read = async (
    { body, statusCode }: Answer,
    signal: AbortSignal,
  ): Promise<Result<unknown, ClientError>> => {
    const pieces: Uint8Array[] = [];
    let size = 0;
    try {
      for await (const piece of body as AsyncIterable<Uint8Array>) {
        size += piece.length;
        if (size > maxAnswer)
          return err(
            clientError('too_large', `the answer has more than ${maxAnswer} bytes`, { limit: maxAnswer }),
          );
        pieces.push(piece);
      }
    } catch (thrown) {
      return err(connectionError(thrown, signal));
    }
    try {
      return ok(JSON.parse(Buffer.concat(pieces).toString('utf8')));
    } catch {
      const message = `${statusCode} with a body that is no JSON: not the API of ctrl-exec`;
      return err(clientError('protocol_violation', message, { status: statusCode }));
    }
  };

  const once: Sender['fetch'] = async (request) => {
    const answer = await send(request, 'application/json');
    if (answer.isErr()) return err(answer.error);
    return (await read(answer.value, signalOf(request))).andThen((body) =>
      typeof body === 'object' && body !== null && Reflect.get(body, 'ok') === true
        ? ok(body as Readonly<Record<string, unknown>>)
        : err(failureOf(answer.value.statusCode, undefined)),
    );
  };

  return {
    maxAnswer,
    send,
    async fetch(request) {
      const repeatable = request.method === 'GET' || request.idempotencyKey !== undefined;
      for (let attempt = 0; ; attempt += 1) {
        const answer = await once(request);
        const failed =
          answer.isErr() && answer.error.code === 'connection_failed' && lost.test(answer.error.reason);
        if (!failed || !repeatable || attempt >= retries) return answer;
        try {
          await sleep(retryDelay * 2 ** attempt, undefined, { signal: signalOf(request) });
        } catch {
          return err(clientError('aborted', 'the request was aborted', {}));
        }
      }
    },
    async close() {
      closed.abort();
      if (opened) await (await opened).connections.destroy();
    },
  };
}
