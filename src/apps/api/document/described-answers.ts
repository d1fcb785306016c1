import type { ResponseConfig } from '@asteasolutions/zod-to-openapi';
import type { ErrorCode } from '../../../domain/core/errors.js';
import { refusalsOf, type ShownRefusal, statusTexts } from '../answers/refusals.js';
import type { AnswerDefinition, Route } from '../route.js';
import { failureBody } from './failure-schema.js';

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

export const failed = (
  status: number,
  examples: readonly Omit<ShownRefusal, 'status'>[],
): ResponseConfig => ({
  description: statusTexts[status] ?? 'It failed.',
  headers: retried.has(status) ? { ...headers, ...retryAfter } : headers,
  content: json(
    failureBody,
    examples.map(({ name, body }) => [name, body] as const),
  ),
});

/** What a route may answer besides success. */
export function failureResponses({
  path,
  errors,
  permission,
  input,
}: Pick<Route, 'path' | 'errors' | 'permission' | 'input'>): ReadonlyMap<number, ResponseConfig> {
  const isChecked = Object.keys(input).length > 0;
  const codes = new Set<ErrorCode>([
    ...(isChecked ? (['invalid_argument'] as const) : []),
    ...errors,
    'aborted',
  ]);
  const found = new Map<number, readonly ShownRefusal[]>();
  for (const each of refusalsOf(path, permission === 'nobody' ? undefined : [...codes]))
    found.set(each.status, [...(found.get(each.status) ?? []), each]);
  return new Map([...found].map(([status, examples]) => [status, failed(status, examples)]));
}
