import type { ResponseConfig } from '@asteasolutions/zod-to-openapi';
import { type ErrorCode, failure } from '../../../domain/core/errors.js';
import {
  type FailureBody,
  httpStatus,
  inWordsOf,
  isDeployed,
  otherCaller,
  refusalOf,
} from '../answers/errors.js';
import type { AnswerDefinition, Route } from '../route.js';
import { failureBody } from './failure-schema.js';

interface FailureExample {
  readonly name: string;
  readonly body: FailureBody;
}

type Failures = ReadonlyMap<number, readonly FailureExample[]>;

/** Refusals that are not of the library. */
const refusals = {
  everywhere: [
    [400, 'invalidJson', { ok: false, error: 'invalid JSON', detail: 'the body: not valid JSON' }],
    [403, 'denied', { ok: false, error: 'bad credentials', code: 2 }],
    [403, 'generic', { ok: false, error: 'forbidden' }],
    [413, 'tooLarge', { ok: false, error: 'too_large', detail: 'the body is larger than 1048576 bytes' }],
    [
      415,
      'compressed',
      { ok: false, error: 'unsupported media type', detail: 'the body must not be compressed' },
    ],
    [
      408,
      'tooSlow',
      { ok: false, error: 'request timeout', detail: 'the body was not whole within 5000 ms' },
    ],
    [500, 'internal', { ok: false, error: 'internal error' }],
    [503, 'busy', { ok: false, error: 'busy', detail: '64 requests are under way, more are not taken' }],
  ],
  /** Of the server, before it is known what is asked for. */
  anyRoute: [
    [
      429,
      'rate',
      { ok: false, error: 'too many requests', detail: '192.0.2.1 made more than 600 requests in 60 s' },
    ],
    [431, 'headers', { ok: false, error: 'too many headers', detail: 'at most 64 header lines are taken' }],
  ],
} as const satisfies Record<string, readonly (readonly [number, string, FailureBody])[]>;

const descriptions: Readonly<Record<number, string>> = {
  400: 'The request is not understood: the body is missing, no JSON, or of another shape.',
  403: 'The auth hook denied it, or a browser has asked for the page of another site.',
  404: 'There is no such thing.',
  405: 'Another method is expected: `Allow` names those.',
  408: 'The body did not come in time.',
  409: 'It cannot be as things are now.',
  410: 'It is over.',
  413: 'The body is too large.',
  415: 'The body comes in a form that is not read.',
  422: 'The idempotency key was used for another request.',
  429: 'Too many requests have come from this address: `Retry-After` has the seconds to wait.',
  431: 'The header is too large.',
  500: 'The dispatcher failed.',
  502: 'An agent failed.',
  503: 'The dispatcher cannot do it now (with `Retry-After` there are too many requests under way), or is not set up. `aborted`: the API is ending, and what was asked may have been begun; ask again with the same `Idempotency-Key`.',
  504: 'An agent did not answer in time.',
};

const exampleOf = (code: ErrorCode): FailureBody =>
  examples[code] ?? { ok: false, error: code, detail: details[code] ?? 'what was wrong, in one line' };

const examples: Partial<Record<ErrorCode, FailureBody>> = {
  locked: { ok: false, error: 'locked', code: 4, conflicts: ['web-01:backup'] },
  aborted: refusalOf(failure('aborted', 'stopped by the caller', {}), false).body,
  target_unknown: { ok: false, error: 'bad request', detail: 'unknown host slow' },
};

const details: Partial<Record<ErrorCode, string>> = {
  invalid_argument: 'hosts: expected array, received string',
  agent_unknown: 'no agent of that name is registered: web-1',
  agent_exists: 'an agent of that name is registered already: web-02',
  pairing_unknown: 'no pairing request 0f1e2d3c is waiting',
};

type Described = Pick<Route, 'path' | 'errors' | 'permission' | 'input'>;

/** Every failure that a route may answer, by status. */
function failuresOf({ path, errors, permission, input }: Described): Failures {
  const found = new Map<number, FailureExample[]>();
  const add = (status: number, name: string, body: FailureBody) =>
    found.set(status, [...(found.get(status) ?? []), { name, body: inWordsOf(path, { status, body }).body }]);
  for (const [status, name, body] of refusals.anyRoute) add(status, name, body);
  if (permission === 'nobody') return found;
  for (const [status, name, body] of refusals.everywhere) add(status, name, body);
  if (!isDeployed(path))
    add(405, 'method', { ok: false, error: 'method not allowed', detail: 'expected GET' });
  const checked = Object.keys(input).length > 0;
  const codes = new Set<ErrorCode>([
    ...(checked ? (['invalid_argument'] as const) : []),
    ...errors,
    'aborted',
  ]);
  for (const code of codes) add(httpStatus[code], code, exampleOf(code));
  if (codes.has('idempotency_mismatch'))
    add(otherCaller, 'idempotency_mismatch', { ...exampleOf('idempotency_mismatch'), field: 'caller' });
  return found;
}

const named = <T>(entries: Iterable<readonly [string, T]>) =>
  Object.fromEntries([...entries].map(([name, value]) => [name, { value }]));

/** Of every answer. */
export const headers = { 'X-Request-Id': { $ref: '#/components/headers/RequestId' } };

const retryAfter = { 'Retry-After': { $ref: '#/components/headers/RetryAfter' } };
const retried: ReadonlySet<number> = new Set([429, 503]);

export const content = (
  type: string,
  schema: AnswerDefinition['schema'],
  examples: Iterable<readonly [string, unknown]>,
) => ({
  [type]: { schema, examples: named(examples) },
});

export const json = (schema: AnswerDefinition['schema'], examples: Iterable<readonly [string, unknown]>) =>
  content('application/json', schema, examples);

export const failed = (status: number, examples: readonly FailureExample[]): ResponseConfig => ({
  description: descriptions[status] ?? 'It failed.',
  headers: retried.has(status) ? { ...headers, ...retryAfter } : headers,
  content: json(
    failureBody,
    examples.map(({ name, body }) => [name, body] as const),
  ),
});

/** What a route may answer besides success. */
export const failureResponses = (route: Described): ReadonlyMap<number, ResponseConfig> =>
  new Map([...failuresOf(route)].map(([status, examples]) => [status, failed(status, examples)]));
