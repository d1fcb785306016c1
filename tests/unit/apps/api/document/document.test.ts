import { readFileSync } from 'node:fs';
import { Validator } from '@seriousme/openapi-schema-validator';
import { describe, expect, it } from 'vitest';
import { errorAnswers } from '../../../../../src/apps/api/answers/refusals.js';
import { apiRoutes } from '../../../../../src/apps/api/routes.js';
import { eventsIn, mustBeDocumented } from '../../../../support/api/api.js';

const root = new URL('../../../../../', import.meta.url);
const read = (path: string) => JSON.parse(readFileSync(new URL(path, root), 'utf8'));

interface Operation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly security: readonly object[];
  readonly 'x-hook-actions': readonly string[];
  readonly parameters?: readonly {
    name: string;
    in: string;
    description?: string;
    required: boolean;
    schema: object;
  }[];
  readonly requestBody?: { content: Record<string, { schema: object; examples?: object }> };
  readonly responses: Record<
    string,
    {
      description: string;
      headers: object;
      content?: Record<string, { schema: object; examples?: Record<string, { value: unknown }> }>;
    }
  >;
}

const { routes, describe: documentFor } = apiRoutes(read('package.json').version, async () => ({
  contentType: 'text/plain',
  text: '',
}));
const document = JSON.parse(JSON.stringify(documentFor('')));
const operations = Object.entries<Record<string, Operation>>(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({
    path,
    method,
    operation,
    name: `${method} ${path}`,
  })),
);

describe('the document', () => {
  it('is valid OpenAPI 3.1', async () => {
    const validator = new Validator();
    const { valid, errors } = await validator.validate(structuredClone(document));
    expect(errors).toBeUndefined();
    expect([valid, validator.version]).toEqual([true, '3.1']);
  });

  it('is docs/openapi.json: `npm run docs:api` makes it', () => {
    expect(read('docs/openapi.json')).toEqual(document);
  });

  it('has every route, the page, and what that loads', () => {
    const known = [...routes.map(({ method, path }) => `${method} ${path}`), 'get /docs', 'get /docs/{part}'];
    expect(operations.map(({ name }) => name).sort()).toEqual(known.sort());
  });

  it('refers to nothing that it has not', () => {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/(\w+)\/(\w+)"/g)];
    for (const [, kind = '', name = ''] of references)
      expect(Object.keys(document.components[kind])).toContain(name);
    expect(references.length).toBeGreaterThan(50);
  });

  it('ids are unique', () => {
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
  });
});

describe.each(operations.map((each) => [each.name, each] as const))(
  '%s',
  (_name, { path, method, operation }) => {
    it('has a tag that is described, a summary, and who may ask', () => {
      const tags = document.tags.map(({ name }: { name: string }) => name);
      expect(tags).toEqual(expect.arrayContaining([...operation.tags]));
      expect(operation.summary).not.toBe('');
      expect(operation.security.length > 0).toBe(path !== '/health');
      expect(operation['x-hook-actions'][0]).toBe(path === '/health' ? undefined : 'api');
    });

    it('describes every parameter, all of its path among them', () => {
      const parameters = operation.parameters ?? [];
      const undescribed = parameters.filter(({ description, name }) => !description && name !== 'outcome');
      expect(undescribed).toEqual([]);
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      expect(parameters.filter((each) => each.in === 'path').map(({ name }) => name)).toEqual(inPath);
    });

    it('has no example of a parameter that may be left out: the page would send it', () => {
      const shown = (operation.parameters ?? []).filter(
        ({ required, schema }) => !required && 'example' in schema,
      );
      expect(shown).toEqual([]);
    });

    it('has an example of every answer, which fits its schema', () => {
      for (const [status, { description, headers, content }] of Object.entries(operation.responses)) {
        expect([status, description]).not.toEqual([status, '']);
        expect(headers).toHaveProperty('X-Request-Id');
        // Nothing comes with a 304, and nobody needs an example of a page.
        for (const [type, { examples }] of Object.entries(content ?? {})) {
          if (['text/html', 'text/css', 'text/javascript'].includes(type)) continue;
          const values = Object.values(examples ?? {}).map(({ value }) => value);
          expect([status, type, values.length]).not.toEqual([status, type, 0]);
          for (const value of values)
            mustBeDocumented(method.toUpperCase(), path.replaceAll(/[{}]/g, ''), {
              status: Number(status),
              headers: { 'x-request-id': 'x', 'content-type': type },
              text: typeof value === 'string' ? value : JSON.stringify(value),
              json: value,
            });
          if (type === 'text/event-stream')
            expect(values.flatMap((value) => eventsIn(String(value))).length).toBeGreaterThan(1);
        }
      }
    });

    it('has an example of its body', () => {
      for (const { examples } of Object.values(operation.requestBody?.content ?? {}))
        expect(Object.keys(examples ?? {}).length).toBeGreaterThan(0);
    });
  },
);

it('every expected failure has a status of its kind', () => {
  const odd = Object.entries(errorAnswers).filter(([, { status }]) => status < 400 || status > 599);
  expect(odd).toEqual([]);
});
