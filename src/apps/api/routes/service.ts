import { okAsync } from 'neverthrow';
import { z } from 'zod';
import { version } from '../../version.js';
import { liveDocument } from '../answers/live.js';
import type { ApiDocument } from '../document/openapi.js';
import { ok } from '../document/schemas.js';
import { type Route, route, success } from '../route.js';

const health = route({
  method: 'get',
  path: '/health',
  id: 'health',
  tag: 'service',
  summary: 'Whether the API answers',
  description: 'Needs no credentials, and asks nobody.',
  permission: 'nobody',
  input: {},
  examples: { one: { summary: 'Health' } },
  answers: {
    200: {
      description: 'It does.',
      schema: z.object({ ok, version: z.string() }),
      examples: { one: { ok: true, version: '0.13.0' } },
    },
  },
  errors: [],
  handle: () => okAsync(success(200, { version })),
});

const document = z
  .looseObject({
    openapi: z.string(),
    info: z.looseObject({ title: z.string(), version: z.string() }),
  })
  .meta({ id: 'OpenApiDocument', description: 'An OpenAPI 3.1 document.' });

const documentExample = { openapi: '3.1.0', info: { title: 'ctrl-exec API', version: '0.13.0' } };

const plain = (described: ApiDocument) => ({ ...described, info: { ...described.info } });

/**
 * The routes about the API itself.
 * @param routes all routes, asked when they are needed
 * @param describe the document, for an API under this path
 */
export function serviceRoutes(
  routes: () => readonly Route[],
  describe: (base: string) => ApiDocument,
): readonly Route[] {
  const index = route({
    method: 'get',
    path: '/',
    id: 'index',
    tag: 'service',
    summary: 'What there is',
    permission: 'api',
    input: {},
    examples: { one: { summary: 'Index' } },
    answers: {
      200: {
        description: 'The endpoints, and where they are described.',
        schema: z.object({
          name: z.string(),
          version: z.string(),
          spec: z.string().meta({ description: 'Path of the document.' }),
          live_spec: z.string().meta({ description: 'Path of the document with the names of this fleet.' }),
          endpoints: z.array(z.object({ method: z.string(), path: z.string() })),
        }),
        examples: {
          one: {
            name: 'ctrl-exec-api',
            version: '0.13.0',
            spec: '/openapi.json',
            live_spec: '/openapi-live.json',
            endpoints: [{ method: 'GET', path: '/health' }],
          },
        },
      },
    },
    errors: [],
    handle: ({ base }) =>
      okAsync({
        status: 200 as const,
        body: {
          name: 'ctrl-exec-api',
          version,
          spec: `${base}/openapi.json`,
          live_spec: `${base}/openapi-live.json`,
          endpoints: [...routes(), { method: 'get', path: '/docs' }].map(({ method, path }) => ({
            method: method.toUpperCase(),
            path: `${base}${path}`,
          })),
        },
      }),
  });

  const spec = route({
    method: 'get',
    path: '/openapi.json',
    id: 'spec',
    tag: 'service',
    summary: 'This document',
    permission: 'api',
    input: {},
    examples: { one: { summary: 'The document' } },
    answers: {
      200: { description: 'OpenAPI 3.1.', schema: document, examples: { one: documentExample } },
    },
    errors: [],
    handle: ({ base }) => okAsync({ status: 200 as const, body: plain(describe(base)) }),
  });

  const liveSpec = route({
    method: 'get',
    path: '/openapi-live.json',
    id: 'liveSpec',
    tag: 'service',
    summary: 'This document, with the hosts and scripts of this fleet',
    description:
      'Registered hosts, and the scripts of those that answer within ten seconds. A caller that the auth hook refuses `discovery` is given the document without them.',
    permission: { action: 'discovery', askedBy: 'use case' },
    input: {},
    examples: { one: { summary: 'The live document' } },
    answers: {
      200: {
        description: 'OpenAPI 3.1; `info.version` ends in when it was made, `+<seconds since 1970>`.',
        schema: document,
        examples: {
          one: {
            ...documentExample,
            info: { title: 'ctrl-exec API', version: '0.13.0+1780000000' },
          },
        },
      },
    },
    errors: ['identity_missing', 'store_failed'],
    handle: ({ base, dispatcher, asking, gone }) =>
      liveDocument(describe(base), dispatcher, asking, gone).map((live) => ({
        status: 200 as const,
        body: plain(live),
      })),
  });

  return [index, health, spec, liveSpec];
}
