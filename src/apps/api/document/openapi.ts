import {
  OpenAPIRegistry,
  OpenApiGeneratorV31,
  type ResponseConfig,
  type RouteConfig,
} from '@asteasolutions/zod-to-openapi';
import { z } from 'zod';
import { refusal } from '../answers/refusals.js';
import { type EventDefinition, type Route, tags } from '../route.js';
import { crossOrigin } from '../serve/admission.js';
import { content, failed, failureResponses, headers, json } from './described-answers.js';
import { docsParts } from './docs.js';
import { failureBody } from './failure-schema.js';

export type ApiDocument = ReturnType<OpenApiGeneratorV31['generateDocument']>;

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
  for (const [text, { description, type = 'application/json', schema, examples }] of Object.entries(
    route.answers,
  ))
    responses.set(Number(text), {
      description,
      headers,
      content: content(type, schema, Object.entries(examples)),
    });
  if (route.events) {
    const before = responses.get(200);
    responses.set(200, {
      description: before?.description ?? 'Events.',
      headers,
      content: { ...before?.content, ...eventContent(route.events) },
    });
  }
  for (const [status, response] of failureResponses(route))
    if (!responses.has(status)) responses.set(status, response);
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
  if (permission === 'api') return ['api'];
  const { before, action } = permission;
  return ['api', ...(before === undefined ? [] : [before]), action];
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
  registry.registerComponent('headers', 'RetryAfter', {
    description: 'Seconds after which it may be tried again, where waiting helps.',
    schema: { type: 'integer', example: 1 },
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
  registry.registerPath(docsPart);
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

/** What the page and its parts answer besides themselves. */
const pageFailures: Record<string, ResponseConfig> = {
  ...Object.fromEntries(failureResponses({ path: '/docs', errors: [], permission: 'api', input: {} })),
  401: {
    description: 'The auth hook denied it; the browser asks for a user name and the token.',
    headers,
    content: json(failureBody, [['denied', { ok: false, error: 'bad credentials', code: 2 }]]),
  },
  403: {
    ...failed(403, [{ name: 'crossOrigin', body: crossOrigin.body }]),
    description: 'The page of another site has asked for it.',
  },
};

const text = { schema: { type: 'string' as const } };

const page: Omit<RouteConfig, 'path' | 'responses'> = {
  method: 'get',
  tags: ['service'],
  security: [{ basic: [] }, { bearer: [] }, {}],
  'x-hook-actions': ['api'],
};

const docsPage: RouteConfig = {
  ...page,
  path: '/docs',
  operationId: 'docs',
  summary: 'This document as a page on which requests can be tried',
  responses: {
    ...pageFailures,
    200: { description: 'The page.', headers, content: { 'text/html': text } },
  },
};

const docsPart: RouteConfig = {
  ...page,
  path: '/docs/{part}',
  operationId: 'docsPart',
  summary: 'What the page loads',
  request: {
    params: z.object({ part: z.enum(docsParts).meta({ description: 'Name of the script or style sheet.' }) }),
  },
  responses: {
    ...pageFailures,
    200: { description: 'It.', headers, content: { 'text/javascript': text, 'text/css': text } },
    304: { description: 'It is as the browser has it.', headers },
    404: failed(404, [{ name: 'unknown', body: refusal('notFound').body }]),
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
