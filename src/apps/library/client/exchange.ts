import { setTimeout as sleep } from 'node:timers/promises';
import { err, ok, type Result } from 'neverthrow';
import { connectionCode, errorMessage, errorName } from '../../../domain/core/thrown.js';
import { type ClientError, clientError, failureOf } from './error.js';
import type { Settings } from './options.js';

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

/** An answer, whatever sent the request. */
interface Answer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: AsyncIterable<Uint8Array>;
}

type Ask = (
  url: URL,
  request: {
    readonly method: ApiRequest['method'];
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string | null;
    readonly signal: AbortSignal;
  },
) => Promise<Answer>;

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

const codeOf = (thrown: unknown): string => connectionCode(thrown) ?? errorMessage(thrown);

/** What was thrown on the way, as a value. */
export const connectionError = (
  thrown: unknown,
  signal: AbortSignal | undefined,
  where = 'the API',
): ClientError =>
  signal?.aborted || errorName(thrown) === 'AbortError' || codeOf(thrown) === 'UND_ERR_DESTROYED'
    ? clientError('aborted', 'the request was aborted', {})
    : clientError('connection_failed', `the connection to ${where} failed: ${codeOf(thrown)}`, {
        reason: codeOf(thrown),
      });

/** Over a fetch of the user's. */
const asking =
  (fetch: typeof globalThis.fetch): Ask =>
  async (url, request) => {
    const { status, headers, body } = await fetch(url, { ...request, redirect: 'manual' });
    return {
      statusCode: status,
      headers: Object.fromEntries(headers),
      body: (body ?? []) as AsyncIterable<Uint8Array>,
    };
  };

export function sender(settings: Settings): Sender {
  const { options, origin, base, authorization, retries, maxAnswer } = settings;
  const { ca, cert, key, socketPath, timeoutMs } = options;
  const closed = new AbortController();
  const ends = [closed.signal, ...(options.signal ? [options.signal] : [])];
  const signalOf = ({ signal }: ApiRequest) => AbortSignal.any(signal ? [...ends, signal] : ends);

  /** What ends a request before its answer has begun, and the error that this is. @param late what is missing after `timeoutMs` */
  const limited = (request: ApiRequest, late: string) => {
    const signal = signalOf(request);
    const over = new AbortController();
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => over.abort(), timeoutMs);
    return {
      signal: AbortSignal.any([signal, over.signal]),
      failed: (thrown: unknown): ClientError =>
        over.signal.aborted && !signal.aborted
          ? clientError('timed_out', `${late} within ${timeoutMs} ms`, { timeoutMs: timeoutMs ?? 0 })
          : connectionError(thrown, signal, socketPath ?? origin),
      end: () => clearTimeout(timer),
    };
  };

  const open = async (): Promise<{ ask: Ask; close: () => Promise<void> }> => {
    if (options.fetch) return { ask: asking(options.fetch), close: async () => undefined };
    const undici = await import('undici');
    const connections = new undici.Agent({
      // A run takes as long as it takes.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: {
        timeout: connectTimeout,
        ...(ca !== undefined && { ca: typeof ca === 'string' ? ca : [...ca] }),
        ...(cert !== undefined && key !== undefined && { cert, key }),
        ...(socketPath !== undefined && { socketPath }),
      },
    });
    return {
      ask: (url, request) => undici.request(url, { ...request, dispatcher: connections }),
      close: () => connections.destroy(),
    };
  };
  let opened: ReturnType<typeof open> | undefined;

  /** Who answered: another server than the API often says who it is. */
  const fromOf = ({ headers }: Answer): string =>
    headers['server'] === undefined ? origin : `${origin} (${headers['server']})`;

  const sendAs = async (
    request: ApiRequest,
    accept: string,
    authorised: string | undefined,
  ): Promise<Result<Answer, ClientError>> => {
    const limit = limited(request, `no answer from ${origin}`);
    const url = new URL(`${origin}${base}${request.path}`);
    for (const [name, value] of Object.entries(request.query ?? {}))
      if (value !== undefined) url.searchParams.set(name, String(value));
    try {
      opened ??= open();
      const { ask } = await opened;
      const answer = await ask(url, {
        method: request.method,
        headers: {
          ...options.headers,
          accept,
          ...(authorised !== undefined && { authorization: authorised }),
          ...(request.body !== undefined && { 'content-type': 'application/json' }),
          ...(request.idempotencyKey !== undefined && { 'idempotency-key': request.idempotencyKey }),
        },
        body: request.body === undefined ? null : JSON.stringify(request.body),
        signal: limit.signal,
      });
      if (answer.statusCode >= 200 && answer.statusCode < 300) return ok(answer);
      const told = await read(answer, limit.failed);
      if (told.isErr() && told.error.code !== 'protocol_violation') return err(told.error);
      const retryAfter = String(answer.headers['retry-after'] ?? '');
      const head = { from: fromOf(answer), retryAfter };
      return err(failureOf(answer.statusCode, told.unwrapOr(undefined), head));
    } catch (thrown) {
      return err(limit.failed(thrown));
    } finally {
      limit.end();
    }
  };
  /** The header of one call. A function that gives no token is waited for no longer than an answer. */
  const authorise = async (request: ApiRequest): ReturnType<typeof authorization> => {
    const limit = limited(request, 'no token of its function');
    const ended = new Promise<never>((_, reject) => {
      limit.signal.addEventListener('abort', reject, { once: true });
    });
    try {
      return await Promise.race([authorization(), ended]);
    } catch (thrown) {
      return err(limit.failed(thrown));
    } finally {
      limit.end();
    }
  };
  const send: Sender['send'] = async (request, accept) => {
    const authorised = await authorise(request);
    return authorised.isErr() ? err(authorised.error) : sendAs(request, accept, authorised.value);
  };

  /** The body as JSON. */
  const read = async (
    { body, statusCode }: Answer,
    failed: (thrown: unknown) => ClientError,
  ): Promise<Result<unknown, ClientError>> => {
    const pieces: Uint8Array[] = [];
    let size = 0;
    try {
      for await (const piece of body) {
        size += piece.length;
        if (size > maxAnswer)
          return err(
            clientError('too_large', `the answer has more than ${maxAnswer} bytes`, { limit: maxAnswer }),
          );
        pieces.push(piece);
      }
    } catch (thrown) {
      return err(failed(thrown));
    }
    try {
      return ok(JSON.parse(Buffer.concat(pieces).toString('utf8')));
    } catch {
      const message = `${statusCode} with a body that is no JSON: not the API of ctrl-exec`;
      return err(clientError('protocol_violation', message, { status: statusCode }));
    }
  };

  const once = async (
    request: ApiRequest,
    authorised: string | undefined,
  ): Promise<Result<Readonly<Record<string, unknown>>, ClientError>> => {
    const answer = await sendAs(request, 'application/json', authorised);
    if (answer.isErr()) return err(answer.error);
    const signal = signalOf(request);
    return (await read(answer.value, (thrown) => connectionError(thrown, signal))).andThen((body) =>
      typeof body === 'object' && body !== null && Reflect.get(body, 'ok') === true
        ? ok(body as Readonly<Record<string, unknown>>)
        : err(failureOf(answer.value.statusCode, undefined, { from: fromOf(answer.value) })),
    );
  };

  return {
    maxAnswer,
    send,
    async fetch(request) {
      const authorised = await authorise(request);
      if (authorised.isErr()) return err(authorised.error);
      const repeatable = request.method === 'GET' || request.idempotencyKey !== undefined;
      for (let attempt = 0; ; attempt += 1) {
        const answer = await once(request, authorised.value);
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
      if (opened) await (await opened).close();
    },
  };
}
