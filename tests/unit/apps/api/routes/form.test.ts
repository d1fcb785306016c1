import express from 'express';
import { describe, expect, it } from 'vitest';
import { createApiRouter } from '../../../../../src/apps/api/router.js';
import { memoryApi } from '../../../../support/api/memory-api.js';

const run = { hosts: ['web-01'], script: 'greet' };

const tooLarge =
  'expected a number from -9007199254740991 to 9007199254740991; a larger one must be a string';

describe('a body', () => {
  it.each([
    ['{', 'not valid JSON'],
    ['[1]', 'not a JSON object'],
    ['"x"', 'not a JSON object'],
    ['{"a":1,"a":2}', 'the name "a" occurs twice in one object'],
    ['{"__proto__":{}}', 'the name "__proto__" is not allowed'],
    [`{"a":${'['.repeat(70)}${']'.repeat(70)}}`, 'nested deeper than 64'],
    [Uint8Array.of(0x7b, 0xff, 0x7d), 'not valid UTF-8'],
  ])('that is no JSON of ours (%s) is 400, and nobody is asked', async (body, why) => {
    const { ask, asked } = await memoryApi();
    const { status, json } = await ask('POST', '/run', { body });
    expect([status, json]).toEqual([400, { ok: false, error: 'bad request', detail: `the body: ${why}` }]);
    const newer = await ask('POST', '/v1/runs', { body });
    expect(newer.json).toEqual({ ok: false, error: 'invalid JSON', detail: `the body: ${why}` });
    expect(asked).toEqual([]);
  });

  it.each([
    [undefined, 'body', 'is missing, a JSON object is expected'],
    [{}, 'hosts', 'is missing'],
    [{ ...run, hosts: 'web-01' }, 'hosts', 'expected array, received string'],
    [{ ...run, hosts: [] }, 'hosts', 'Too small: expected array to have >=1 items'],
    [{ ...run, hosts: [7] }, 'hosts[0]', 'expected string, received number'],
    [{ ...run, script: undefined }, 'script', 'is missing'],
    [{ ...run, args: 'x' }, 'args', 'expected array, received string'],
    [{ ...run, args: [null] }, 'args[0]', 'expected a string, a number or a boolean'],
    [{ ...run, args: ['a', {}] }, 'args[1]', 'expected a string, a number or a boolean'],
    [{ ...run, args: [['a']] }, 'args[0]', 'expected a string, a number or a boolean'],
    [{ ...run, args: [2 ** 53] }, 'args[0]', tooLarge],
    [{ ...run, timeout: 0 }, 'timeout', 'Too small: expected number to be >=1'],
    [{ ...run, timeout: 1.5 }, 'timeout', 'expected int, received number'],
    [{ ...run, async: 'yes' }, 'async', 'Invalid input'],
    [{ ...run, token: 5 }, 'token', 'expected string, received number'],
  ])('of the wrong shape (%o) is 400 and says where', async (body, field, reason) => {
    const { post, questions } = await memoryApi();
    const { status, json } = await post('/run', body);
    expect([status, json]).toEqual([
      400,
      { ok: false, error: 'bad request', detail: `${field}: ${reason}`, field },
    ]);
    expect(questions()).toEqual([]);
  });

  it.each([
    [{ ...run, hosts: ['a b'] }, 'host'],
    [{ ...run, script: 'a\nb' }, 'script'],
    [{ ...run, args: ['a\0b'] }, 'args'],
  ])('that the library does not take (%o) is 400 as well', async (body, field) => {
    const { post } = await memoryApi();
    const { status, json } = await post('/run', body);
    expect([status, json.error, json.field]).toEqual([400, 'bad request', field]);
    const newer = await post('/v1/runs', body);
    expect([newer.status, newer.json.error, newer.json.field]).toEqual([400, 'invalid_argument', field]);
  });

  it.each([[[1]], [[true]]])('of POST /v1/runs has strings for arguments: %j', async (args) => {
    const { post } = await memoryApi();
    const { status, json } = await post('/v1/runs', { ...run, args });
    expect([status, json.field]).toEqual([400, 'args[0]']);
  });

  it('of any media type is read as JSON, as legacy clients send it', async () => {
    const { ask } = await memoryApi();
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    expect((await ask('POST', '/discovery', { body: '{"hosts":[]}', headers })).status).toBe(200);
  });

  it.each([true, false])('above 1 MiB is 413 and ends the connection (length told: %s)', async (told) => {
    const { ask, asked } = await memoryApi();
    const headers: Record<string, string> = told
      ? { 'content-length': '1048577' }
      : { 'transfer-encoding': 'chunked' };
    const {
      status,
      json,
      headers: got,
    } = await ask('POST', '/run', { body: Buffer.alloc(1_048_577, 32), headers });
    expect([status, json.error, got.connection]).toEqual([413, 'too_large', 'close']);
    expect(asked).toEqual([]);
  });

  it('of 1 MiB is read', async () => {
    const { ask } = await memoryApi();
    const body = '{"hosts":[]}'.padEnd(1_048_576);
    expect((await ask('POST', '/discovery', { body })).status).toBe(200);
  });

  it('that is compressed is 415', async () => {
    const { ask } = await memoryApi();
    expect((await ask('POST', '/run', { body: '{}', headers: { 'content-encoding': 'gzip' } })).status).toBe(
      415,
    );
  });

  it('that the application has read before is taken from it', async () => {
    const { dispatcher, port: _, ...api } = await memoryApi();
    expect(api.unexpected).toEqual([]);
    const app = express().use(express.json(), createApiRouter({ dispatcher }));
    const server = app.listen(0, '127.0.0.1');
    try {
      await new Promise((resolve) => server.once('listening', resolve));
      const { port } = server.address() as { port: number };
      const asked = {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(run),
      };
      const answer = await fetch(`http://127.0.0.1:${port}/run`, asked);
      expect([answer.status, JSON.parse(await answer.text()).results[0].host]).toEqual([200, 'web-01']);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });
});

describe('an address', () => {
  it('that is of no route is 404, and so is another method of a deployed route; below /v1 that is 405 and says which', async () => {
    const { ask } = await memoryApi();
    expect((await ask('GET', '/nothing')).json).toEqual({ ok: false, error: 'not found' });
    expect((await ask('GET', '/Health')).status).toBe(404);
    for (const path of ['/', '/health', '/ping', '/run', '/status/x', '/discovery', '/openapi.json', '/docs'])
      for (const method of ['DELETE', 'PUT', 'OPTIONS']) {
        const { status, json } = await ask(method, path);
        expect([method, path, status, json]).toEqual([method, path, 404, { ok: false, error: 'not found' }]);
      }
    expect((await ask('GET', '/run')).status).toBe(404);
    const wrong = await ask('DELETE', '/v1/runs');
    expect([wrong.status, wrong.headers.allow]).toEqual([405, 'GET, POST']);
    expect((await ask('OPTIONS', '/v1/locks')).headers.allow).toBe('GET');
  });

  it('that cannot be decoded is 400', async () => {
    const { ask } = await memoryApi();
    const { status, json } = await ask('GET', '/status/%E0%A4%A');
    expect([status, json.error]).toEqual([400, 'bad request']);
  });

  it.each(['limit=0', 'limit=1001', 'limit=x', 'limit=5&limit=6', 'cursor=!', 'tags=x', 'tags='])(
    'whose query is not understood (%s) is 400',
    async (query) => {
      const { get } = await memoryApi();
      const { status, json } = await get(`/v1/agents?${query}`);
      expect([status, json.error, json.field]).toEqual([400, 'invalid_argument', query.split('=')[0]]);
    },
  );

  it('HEAD is answered like GET, without the body', async () => {
    const { ask } = await memoryApi();
    const { status, text, headers } = await ask('HEAD', '/health');
    expect([status, text, Number(headers['content-length']) > 0]).toEqual([200, '', true]);
  });
});

describe('an answer', () => {
  it('names its request: as the client did, if that is a plain name', async () => {
    const { ask } = await memoryApi();
    const idFor = async (id: string) =>
      (await ask('GET', '/health', { headers: { 'x-request-id': id } })).headers['x-request-id'];
    expect(await idFor('trace-1.a_B')).toBe('trace-1.a_B');
    for (const odd of ['', 'a b', 'x'.repeat(65), 'ü']) expect(await idFor(odd)).toMatch(/^[0-9a-f]{16}$/);
  });

  it('is JSON that is kept nowhere', async () => {
    const { get } = await memoryApi();
    expect((await get('/v1/locks')).headers).toMatchObject({
      'content-type': 'application/json',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
  });

  it('of a handler that throws says no more than that, and the application is told', async () => {
    const { dispatcher } = await memoryApi();
    const bug = new Error('token t0p');
    const told: unknown[] = [];
    const { open } = await memoryApi('', {
      dispatcher: {
        ...dispatcher,
        locks: () => {
          throw bug;
        },
      },
      onUnexpected: (error, id) => told.push([error, id]),
    });
    const { status, text, headers } = await open('GET', '/v1/locks').answer;
    expect([status, text]).toEqual([500, '{"ok":false,"error":"internal error"}']);
    expect(told).toEqual([[bug, headers['x-request-id']]]);
  });
});
