import type { Socket } from 'node:net';
import { err, ok, Result, ResultAsync } from 'neverthrow';
import { Client } from 'undici';
import { failure } from '../../domain/core/errors.js';
import type { CaddyAdmin, CaddyFailure, CaddyPlace } from '../../ports/caddy-admin.js';
import { caddyConnection, type Judging, NotTrusted } from './caddy-connection.js';

const largest = 16 * 1024 * 1024;
const patience = 10_000;

interface Answer {
  readonly status: number;
  readonly revision: string | undefined;
  readonly body: string;
}

/** Caddy's administration API over HTTP, one connection a call. */
export const undiciCaddyAdmin = (files: Judging): CaddyAdmin => ({
  read: (place) =>
    call(files, place, { method: 'GET' }).andThen(({ body, revision }) =>
      parsed(place.api, body).map((document) => ({ document, revision })),
    ),
  replace: (place, { document, revision }) =>
    call(files, place, {
      method: 'POST',
      body: JSON.stringify(document),
      headers: {
        'content-type': 'application/json',
        ...(revision === undefined ? {} : { 'if-match': revision }),
      },
    }).map(() => undefined),
});

const parsed = (api: string, body: string): Result<unknown, CaddyFailure> =>
  Result.fromThrowable(
    () => JSON.parse(body) as unknown,
    () => failure('protocol_violation', `${api} did not answer with JSON`, { reason: 'not JSON' }),
  )();

interface Call {
  readonly method: 'GET' | 'POST';
  readonly body?: string;
  readonly headers?: Record<string, string>;
}

function call(files: Judging, place: CaddyPlace, request: Call): ResultAsync<Answer, CaddyFailure> {
  const { api } = place;
  const signal = AbortSignal.timeout(patience);
  const answered = caddyConnection(files, place, signal).then((socket) =>
    exchange(api, socket, request, signal),
  );
  return ResultAsync.fromPromise(answered, (thrown) => broken(api, thrown)).andThen((answer) => {
    const { status } = answer;
    const refused = () => failure('refused', `${api} answered ${status}`, { status, reason: String(status) });
    return status >= 200 && status < 300 ? ok(answer) : err(refused());
  });
}

async function exchange(
  api: string,
  socket: Socket,
  { method, body = '', headers = {} }: Call,
  signal: AbortSignal,
): Promise<Answer> {
  const origin = api.startsWith('unix/') ? 'http://localhost' : api;
  const dispatcher = new Client(origin, {
    maxResponseSize: largest,
    // This connection and no other one: it was judged.
    connect: (_options, callback) =>
      queueMicrotask(() =>
        socket.destroyed ? callback(new Error('the connection is closed'), null) : callback(null, socket),
      ),
  });
  try {
    const answer = await dispatcher.request({
      path: '/config/',
      method,
      headers,
      signal,
      ...(body === '' ? {} : { body }),
    });
    const text = await answer.body.text();
    // Caddy hashes the document while it sends it, so the revision comes behind it, as a trailer.
    const etag = answer.headers['etag'] ?? answer.trailers['etag'];
    const revision = typeof etag === 'string' && etag !== '' ? etag : undefined;
    return { status: answer.statusCode, revision, body: text };
  } finally {
    await dispatcher.destroy();
    socket.destroy();
  }
}

function broken(api: string, thrown: unknown): CaddyFailure {
  if (thrown instanceof NotTrusted)
    return failure('connection_failed', thrown.message, { host: api, reason: 'owner' });
  const { name, code, cause } = thrown as {
    name?: string;
    code?: string;
    cause?: { code?: string; name?: string };
  };
  if (name === 'TimeoutError' || (name === 'AbortError' && cause?.name === 'TimeoutError'))
    return failure('timed_out', `no answer from ${api} within ${patience / 1000} s`, {
      phase: 'answer',
      timeoutMs: patience,
    });
  if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE')
    return failure('too_large', `the answer of ${api} is larger than ${largest} bytes`, {
      what: 'the answer',
      limit: largest,
    });
  const reason = code ?? cause?.code ?? name ?? 'unknown';
  return failure('connection_failed', `no answer from ${api} (${reason})`, { host: api, reason });
}
