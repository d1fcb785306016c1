import type { Request } from 'express';
import { err, ok, type Result } from 'neverthrow';
import type { z } from 'zod';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { printable } from '../../domain/core/names.js';
import type { Input, Route } from './route.js';
import type { JsonObject } from './serve/body.js';

type Invalid = CtrlExecError<'invalid_argument'>;

const invalid = (field: string, reason: string): Invalid =>
  failure('invalid_argument', `${field}: ${reason}`, { field, reason });

/** `hosts[0]`; what comes of the request is made fit to be shown. */
const pathText = (path: readonly PropertyKey[]): string =>
  printable(
    path
      .map((key, index) => (typeof key === 'number' ? `[${key}]` : `${index > 0 ? '.' : ''}${String(key)}`))
      .join(''),
    80,
  );

const missing = ({ code, message }: z.core.$ZodIssue): boolean =>
  code === 'invalid_type' && message.endsWith('received undefined');

/** The first thing that is wrong; the messages of zod name types and limits, not values. */
function objection(error: z.ZodError, what: string): Invalid {
  const [issue] = error.issues;
  if (!issue) return invalid(what, 'not understood');
  const reason = missing(issue) ? 'is missing' : issue.message.replace(/^Invalid input: /, '');
  return invalid(issue.path.length > 0 ? pathText(issue.path) : what, reason);
}

function parsed(
  schema: z.ZodObject | undefined,
  value: unknown,
  what: string,
): Result<Readonly<Record<string, never>>, Invalid> {
  if (!schema) return ok({});
  const outcome = schema.safeParse(value);
  return outcome.success
    ? ok(outcome.data as Readonly<Record<string, never>>)
    : err(objection(outcome.error, what));
}

/** The query as it stands in the address; a parameter that is repeated has no one value. */
function queryOf(request: Request): Result<Readonly<Record<string, string>>, Invalid> {
  const at = request.url.indexOf('?');
  const query = new URLSearchParams(at < 0 ? '' : request.url.slice(at));
  const names = [...query.keys()];
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  return repeated === undefined
    ? ok(Object.fromEntries(query))
    : err(invalid(printable(repeated, 80), 'is given more than once'));
}

/** Many clients send `null` for what is left out. */
const membersOf = (body: JsonObject | undefined): JsonObject =>
  Object.fromEntries(Object.entries(body ?? {}).filter(([, value]) => value !== null));

/** What a route takes of a request, or the first thing that is wrong with it. */
export function inputOf(
  { input, method }: Route,
  request: Request,
  body: JsonObject | undefined,
): Result<Input, Invalid> {
  if (input.body && body === undefined && method !== 'get' && !input.body.safeParse({}).success)
    return err(invalid('body', 'is missing, a JSON object is expected'));
  return parsed(input.params, request.params, 'path').andThen((params) =>
    queryOf(request)
      .andThen((query) => parsed(input.query, query, 'query'))
      .andThen((query) =>
        parsed(input.headers, request.headers, 'headers').andThen((headers) =>
          parsed(input.body, membersOf(body), 'body').map((given) => ({
            params,
            query,
            headers,
            body: given,
          })),
        ),
      ),
  );
}
