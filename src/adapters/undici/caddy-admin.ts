import { err, ok, Result, ResultAsync } from 'neverthrow';
import { Agent, request } from 'undici';
import { failure } from '../../domain/core/errors.js';
import type { CaddyAdmin, CaddyFailure } from '../../ports/caddy-admin.js';

const largest = 16 * 1024 * 1024;
const patience = 10_000;

interface Answer {
  readonly status: number;
  readonly revision: string | undefined;
  readonly body: string;
}

/** Caddy's administration API over HTTP, one connection a call. */
export const undiciCaddyAdmin = (): CaddyAdmin => ({
  read: (api) =>
    call(api, { method: 'GET' }).andThen(({ body, revision }) =>
      parsed(api, body).map((document) => ({ document, revision })),
    ),
  replace: (api, { document, revision }) =>
    call(api, {
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

function call(api: string, { method, body, headers }: Call): ResultAsync<Answer, CaddyFailure> {
  return ResultAsync.fromPromise(exchange(api, method, body, headers), (thrown) =>
    broken(api, thrown),
  ).andThen((answer) => {
    const { status } = answer;
    const refused = () => failure('refused', `${api} answered ${status}`, { status, reason: String(status) });
    return status >= 200 && status < 300 ? ok(answer) : err(refused());
  });
}

async function exchange(
  api: string,
  method: Call['method'],
  body = '',
  headers: Record<string, string> = {},
): Promise<Answer> {
  const dispatcher = new Agent({ maxResponseSize: largest, keepAliveTimeout: 1, pipelining: 0 });
  try {
    const answer = await request(`${api}/config/`, {
      method,
      headers,
      dispatcher,
      signal: AbortSignal.timeout(patience),
      ...(body === '' ? {} : { body }),
    });
    const text = await answer.body.text();
    // Caddy hashes the document while it sends it, so the revision comes behind it, as a trailer.
    const etag = answer.headers['etag'] ?? answer.trailers['etag'];
    const revision = typeof etag === 'string' && etag !== '' ? etag : undefined;
    return { status: answer.statusCode, revision, body: text };
  } finally {
    await dispatcher.destroy();
  }
}

function broken(api: string, thrown: unknown): CaddyFailure {
  const { name, code, cause } = thrown as { name?: string; code?: string; cause?: { code?: string } };
  if (name === 'TimeoutError')
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
