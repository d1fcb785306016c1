import {
  OpenAPIRegistry,
  OpenApiGeneratorV31,
  type ResponseConfig,
  type RouteConfig,
} from '@asteasolutions/zod-to-openapi';
import type { ErrorCode } from '../../domain/errors.js';
import { type FailureBody, httpStatus } from './errors.js';
import { failureBody } from './failure-schema.js';
import { type AnswerDefinition, type EventDefinition, type Route, tags } from './route.js';

export type ApiDocument = ReturnType<OpenApiGeneratorV31['generateDocument']>;

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
    [405, 'method', { ok: false, error: 'method not allowed', detail: 'expected GET' }],
    [413, 'tooLarge', { ok: false, error: 'too_large', detail: 'the body is larger than 1048576 bytes' }],
    [
      415,
      'compressed',
      { ok: false, error: 'unsupported media type', detail: 'the body must not be compressed' },
    ],
    [500, 'internal', { ok: false, error: 'internal error' }],
  ],
} as const satisfies Record<string, readonly (readonly [number, string, FailureBody])[]>;

const descriptions: Readonly<Record<number, string>> = {
  400: 'The request is not understood: the body is missing, no JSON, or of another shape.',
  403: 'The auth hook denied it.',
  404: 'There is no such thing.',
  405: 'Another method is expected: `Allow` names those.',
  409: 'It cannot be as things are now.',
  410: 'It is over.',
  413: 'The body is too large.',
  415: 'The body comes in a form that is not read.',
  422: 'The idempotency key was used for another request.',
  500: 'The dispatcher failed.',
  502: 'An agent failed.',
  503: 'The dispatcher cannot do it now, or is not set up.',
  504: 'An agent did not answer in time.',
};

const exampleOf = (code: ErrorCode): FailureBody =>
  code === 'locked'
    ? { ok: false, error: 'locked', code: 4, conflicts: ['web-01:backup'] }
    : { ok: false, error: code, detail: details[code] ?? 'what was wrong, in one line' };

const details: Partial<Record<ErrorCode, string>> = {
  invalid_argument: 'hosts: expected array, received string',
  agent_unknown: 'no agent of that name is registered: web-1 (did you mean web-01?)',
  agent_exists: 'an agent of that name is registered already: web-02',
  request_unknown: 'no pairing request 0f1e2d3c is waiting',
};

/** Every failure that a route may answer, by status. */
function failuresOf({ errors, permission, input }: Route): Failures {
  const found = new Map<number, FailureExample[]>();
  const add = (status: number, name: string, body: FailureBody) =>
    found.set(status, [...(found.get(status) ?? []), { name, body }]);
  if (permission === 'nobody') return found;
  for (const [status, name, body] of refusals.everywhere) add(status, name, body);
  const checked = Object.keys(input).length > 0;
  const codes = new Set<ErrorCode>([
    ...(checked ? (['invalid_argument'] as const) : []),
    ...errors,
    'aborted',
  ]);
  for (const code of codes) add(httpStatus[code], code, exampleOf(code));
  return found;
}

const named = <T>(entries: Iterable<readonly [string, T]>) =>
  Object.fromEntries([...entries].map(([name, value]) => [name, { value }]));

const headers = { 'X-Request-Id': { $ref: '#/components/headers/RequestId' } };

const json = (schema: AnswerDefinition['schema'], examples: Iterable<readonly [string, unknown]>) => ({
  'application/json': { schema, examples: named(examples) },
});

const failed = (status: number, examples: readonly FailureExample[]): ResponseConfig => ({
  description: descriptions[status] ?? 'It failed.',
  headers,
  content: json(
    failureBody,
    examples.map(({ name, body }) => [name, body] as const),
  ),
});

const eventText = ([name, { example }]: readonly [string, EventDefinition]): string =>
  `event: ${name}\ndata: ${JSON.stringify(example)}\n\n`;

/** The media type of events: what each holds is told in `x-events`, which has a schema for each kind. */
const eventContent = (events: NonNullable<Route['events']>) => ({
  'text/event-stream': {
    schema: {
      type: 'string' as const,
      description: Object.entries(events)
        .map(([name, { description }]) => `- \`${name}\`: ${description}`)
        .join('\n'),
    },
    examples: {
      stream: {
        value: Object.entries(events)
          .filter(([name]) => name !== 'error')
          .map(eventText)
          .join(''),
      },
    },
  },
});

function responsesOf(route: Route): Record<string, ResponseConfig> {
  const responses = new Map<number, ResponseConfig>();
  for (const [text, { description, schema, examples }] of Object.entries(route.answers))
    responses.set(Number(text), { description, headers, content: json(schema, Object.entries(examples)) });
  if (route.events) {
    const before = responses.get(200);
    responses.set(200, {
      description: before?.description ?? 'Events.',
      headers,
      content: { ...before?.content, ...eventContent(route.events) },
    });
  }
  for (const [status, examples] of failuresOf(route))
    if (!responses.has(status)) responses.set(status, failed(status, examples));
  return Object.fromEntries([...responses].sort(([a], [b]) => a - b));
}

const bodyOf = ({ method, input: { body }, examples }: Route) =>
  // The semantics of a body of GET are not defined (RFC 9110 section 9.3.1): taken, but not recommended.
  body && method !== 'get'
    ? {
        body: {
          required: !body.safeParse({}).success,
          content: {
            'application/json': {
              schema: body,
              examples: Object.fromEntries(
                Object.entries(examples).flatMap(([name, example]) =>
                  example.body ? [[name, { summary: example.summary, value: example.body }]] : [],
                ),
              ),
            },
          },
        },
      }
    : {};

const requestOf = (route: Route) => {
  const { params, query, headers: taken } = route.input;
  return {
    ...(params && { params }),
    ...(query && { query }),
    ...(taken && { headers: taken }),
    ...bodyOf(route),
  };
};

const hookOf = ({ permission }: Route): string[] => {
  if (permission === 'nobody') return [];
  return permission === 'api' ? ['api'] : ['api', permission.action];
};

const about = `Run allowlisted scripts on the agents of a ctrl-exec dispatcher.

Every request but \`GET /health\` is put to the auth hook of the dispatcher, first with action \`api\`, then with the action
of the route (\`x-hook-actions\`). Credentials are \`username\` and \`token\` in the body, else a bearer token or a pair of
\`Basic\` in the \`Authorization\` header. Members, parameters and headers that are not described are ignored.`;

/** The OpenAPI 3.1 document of these routes. @param version of the package */
export function apiDocument(routes: readonly Route[], version: string): ApiDocument {
  const registry = new OpenAPIRegistry();
  registry.registerComponent('securitySchemes', 'bearer', {
    type: 'http',
    scheme: 'bearer',
    description: 'The token that the auth hook knows.',
  });
  registry.registerComponent('securitySchemes', 'basic', {
    type: 'http',
    scheme: 'basic',
    description: 'User name and token.',
  });
  registry.registerComponent('headers', 'RequestId', {
    description:
      'Id of the request: the one that it came with in `X-Request-Id`, if that is 1 to 64 letters, digits, `.`, `_` or `-`.',
    schema: { type: 'string', example: '9b1c0d2e3f405162' },
  });
  for (const route of routes) {
    const { method, path, id, tag, summary, description, permission, events } = route;
    registry.registerPath({
      method,
      path,
      operationId: id,
      tags: [tag],
      summary,
      ...(description !== undefined && { description }),
      security: permission === 'nobody' ? [] : [{ bearer: [] }, { basic: [] }, {}],
      'x-hook-actions': hookOf(route),
      ...(events && { 'x-events': schemasOf(events) }),
      request: requestOf(route),
      responses: responsesOf(route),
    });
  }
  registry.registerPath(docsPage);
  const ofEvents = routes.flatMap(({ events = {} }) =>
    Object.values(events).map(({ schema }) => ({ type: 'schema' as const, schema })),
  );
  return new OpenApiGeneratorV31([...registry.definitions, ...ofEvents]).generateDocument({
    openapi: '3.1.0',
    info: {
      title: 'ctrl-exec API',
      version,
      description: about,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: Object.entries(tags).map(([name, description]) => ({ name, description })),
  });
}

const docsPage: RouteConfig = {
  method: 'get',
  path: '/docs',
  operationId: 'docs',
  tags: ['service'],
  summary: 'This document as a page on which requests can be tried',
  security: [{ basic: [] }, { bearer: [] }, {}],
  'x-hook-actions': ['api'],
  responses: {
    200: { description: 'The page.', headers, content: { 'text/html': { schema: { type: 'string' } } } },
    401: {
      description: 'The auth hook denied it; the browser asks for a user name and the token.',
      headers,
      content: json(failureBody, [['denied', { ok: false, error: 'bad credentials', code: 2 }]]),
    },
    403: failed(403, [
      {
        name: 'crossOrigin',
        body: { ok: false, error: 'forbidden', detail: 'requests of other sites are not answered' },
      },
    ]),
  },
};

const idOf = (schema: EventDefinition['schema']): string => {
  const id = schema.meta()?.id;
  if (id === undefined) throw new Error('the schema of an event has no id');
  return id;
};

const schemasOf = (events: NonNullable<Route['events']>) =>
  Object.fromEntries(
    Object.entries(events).map(([name, { schema }]) => [
      name,
      { $ref: `#/components/schemas/${idOf(schema)}` },
    ]),
  );
