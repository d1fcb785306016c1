import { describe, expect, it } from 'vitest';
import { jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import { value } from '../../../../contract/result.js';
import { memoryApi } from '../../../../support/api/memory-api.js';
import { scriptedAgent } from '../../../../support/fleet/memory-agents.js';

const reqid = expect.stringMatching(/^[0-9a-f]{16}$/);
const rtt = expect.stringMatching(/^\d+ms$/);
const unresolved = 'nobody is not registered here; the host name nobody does not resolve';

describe('the routes of the legacy API answer as they did', () => {
  it('GET / names the endpoints and the documents, under the path that it is mounted at', async () => {
    const { get } = await memoryApi('', { base: '/fleet' });
    const { status, json } = await get('/');
    expect(status).toBe(200);
    expect(Object.keys(json)).toEqual(['name', 'version', 'spec', 'live_spec', 'endpoints']);
    expect(json).toMatchObject({ spec: '/fleet/openapi.json', live_spec: '/fleet/openapi-live.json' });
    expect(json.endpoints).toContainEqual({ method: 'POST', path: '/fleet/run' });
    expect((await get('/openapi.json')).json.servers).toEqual([{ url: '/fleet' }]);
  });

  it('GET /health', async () => {
    const { get, asked } = await memoryApi();
    expect((await get('/health')).json).toEqual({ ok: true, version: expect.any(String) });
    expect(asked).toEqual([]);
  });

  it('POST /ping reports every host inline', async () => {
    const { post, serve } = await memoryApi();
    await serve('web-01');
    const { status, json } = await post('/ping', { hosts: ['web-01', 'nobody'], colour: 'ignored' });
    expect([status, json]).toEqual([
      200,
      {
        ok: true,
        results: [
          { host: 'web-01', status: 'ok', rtt, expiry: expect.stringMatching(/ GMT$/), version: '1.2.3' },
          { host: 'nobody', status: 'error', error: unresolved, rtt },
        ],
      },
    ]);
  });

  it('POST /run reports results, and of a host without one only why', async () => {
    const { post, serve } = await memoryApi();
    await serve('web-01');
    const { status, json } = await post('/run', {
      hosts: ['web-01', 'nobody'],
      script: 'greet',
      args: ['you'],
    });
    expect([status, json]).toEqual([
      200,
      {
        ok: true,
        reqid,
        results: [
          {
            ...{ host: 'web-01', script: 'greet', exit: 0, stdout: 'hello you', stderr: '', rtt, reqid },
            state: 'succeeded',
          },
          {
            ...{ host: 'nobody', script: 'greet', exit: -1, error: unresolved, rtt, reqid },
            state: 'unreachable',
            failure: { code: 'host_unresolved', host: 'nobody', may_have_run: false },
          },
        ],
      },
    ]);
    expect(new Set(json.results.map((each: { reqid: string }) => each.reqid))).toEqual(new Set([json.reqid]));
  });

  it.each(['format-disk', 'script.sh', '../x', 'a b'])(
    '%j, which the agent does not permit, is reported inline too',
    async (script) => {
      const { post, serve } = await memoryApi();
      await serve('web-01');
      const { json } = await post('/run', { hosts: ['web-01'], script });
      expect(json.results).toEqual([
        {
          ...{ host: 'web-01', script, exit: -1, error: 'script not permitted', rtt, reqid },
          state: 'refused',
          failure: { code: 'not_allowlisted', script, may_have_run: false },
        },
      ]);
    },
  );

  it('arguments that are numbers and booleans arrive as text', async () => {
    const { ask, serve } = await memoryApi();
    await serve('web-01');
    const told = async (args: string) => {
      const body = `{"hosts":["web-01"],"script":"greet","args":${args}}`;
      return (await ask('POST', '/run', { body })).json.results[0].stdout;
    };
    for (const [written, text] of [
      ['1', '1'],
      ['-1', '-1'],
      ['1.5', '1.5'],
      ['1.0', '1'],
      ['1e3', '1000'],
      ['1e-7', '1e-7'],
      ['9007199254740991', '9007199254740991'],
      ['true', 'true'],
      ['false', 'false'],
      ['""', ''],
    ])
      expect([written, await told(`[${written}]`)]).toEqual([written, `hello ${text}`]);
  });

  it('a lock that is held is 409 with code 4 and whose it is', async () => {
    const { post, serve, control } = await memoryApi();
    await serve('web-01');
    const { clock, runStore } = control.context;
    const first = {
      ...{ reqid: '00000000000000aa', script: 'greet', hosts: [{ host: 'web-01' }], args: [] },
      ...{ mode: 'sync' as const, principal: 'os:root', username: '', sourceIp: '', startedAt: clock.now() },
    };
    expect(value(await runStore.begin(first, clock.now()))).toEqual({ kind: 'begun' });
    const { status, json } = await post('/run', { hosts: ['web-01'], script: 'greet' });
    expect([status, json]).toEqual([
      409,
      { ok: false, error: 'locked', code: 4, conflicts: ['web-01:greet'] },
    ]);
  });

  it.each([true, 1])(
    'an async run (%s) is 202, and its status says what became of it',
    async (asynchronous) => {
      const { post, get, serve } = await memoryApi();
      await serve('web-01');
      const { status, json } = await post('/run', {
        hosts: ['web-01', 'nobody'],
        script: 'greet',
        async: asynchronous,
      });
      expect([status, json]).toEqual([
        202,
        {
          ok: true,
          async: true,
          reqid,
          results: [
            { host: 'web-01', state: 'running', status: 'accepted', reqid, rtt },
            { host: 'nobody', state: 'unreachable', status: 'error', error: unresolved, reqid, rtt },
          ],
        },
      ]);
      expect((await get(`/status/${json.reqid}`)).json).toEqual({
        ok: true,
        reqid: json.reqid,
        script: 'greet',
        mode: 'async',
        complete: true,
        completed: expect.any(Number),
        pending: [],
        hosts: {
          'web-01': { status: 'done', state: 'succeeded', exit: 0, stdout: 'hello ', stderr: '' },
          nobody: {
            ...{ status: 'error', state: 'unreachable', error: unresolved },
            failure: { code: 'host_unresolved', host: 'nobody', may_have_run: false },
          },
        },
      });
    },
  );

  it('async false or 0 is a run like any other', async () => {
    const { post, serve } = await memoryApi();
    await serve('web-01');
    for (const asynchronous of [false, 0])
      expect((await post('/run', { hosts: ['web-01'], script: 'greet', async: asynchronous })).status).toBe(
        200,
      );
  });

  it('the status of a sync run has epoch seconds and its results', async () => {
    const { post, get, serve, fleet } = await memoryApi();
    await serve('web-01');
    const { json } = await post('/run', { hosts: ['web-01'], script: 'fail' });
    expect((await get(`/status/${json.reqid}`)).json).toEqual({
      ok: true,
      reqid: json.reqid,
      script: 'fail',
      mode: 'sync',
      complete: true,
      hosts: ['web-01'],
      completed: Math.floor(fleet.clock.now() / 1000),
      results: [
        {
          ...{
            host: 'web-01',
            script: 'fail',
            exit: 3,
            stdout: '',
            stderr: 'broken',
            rtt,
            reqid: json.reqid,
          },
          state: 'failed',
          failure: { code: 'script_failed', exit: 3, may_have_run: true },
        },
      ],
    });
  });

  it.each(['0123456789abcdef', 'x', '%22%00'])(
    'the status of a run that is unknown (%s) is 404',
    async (id) => {
      const { get } = await memoryApi();
      const { status, json } = await get(`/status/${id}`);
      expect(status).toBe(404);
      expect(json).toEqual({
        ok: false,
        error: 'not found',
        detail: expect.stringMatching(/^no result for reqid /),
      });
    },
  );

  it('discovery by GET and POST: the whole registry, or those that are named', async () => {
    const { ask, get, post, serve } = await memoryApi();
    await serve('web-01', '[tags]\nenv = prod\n');
    await serve('web-02');
    const found = {
      host: 'web-01',
      status: 'ok',
      version: '1.2.3',
      rtt,
      tags: { env: 'prod' },
      scripts: [
        { name: 'fail', path: '/opt/fail', executable: false },
        { name: 'greet', path: '/opt/greet', executable: false },
      ],
    };
    for (const all of [await get('/discovery'), await post('/discovery'), await post('/discovery', {})])
      expect(all.json).toEqual({ ok: true, hosts: { 'web-01': found, 'web-02': expect.anything() } });
    for (const one of [
      await get('/discovery?hosts=web-01'),
      await post('/discovery', { hosts: ['web-01'] }),
      await ask('GET', '/discovery', { body: { hosts: ['web-01'] } }),
    ])
      expect(one.json).toEqual({ ok: true, hosts: { 'web-01': found } });
  });

  it('a sidecar is passed on as it stands', async () => {
    const { get, control, fleet } = await memoryApi();
    const schema = { description: 'Greets', arguments: { type: 'object' } };
    const scripts = [{ name: 'greet', path: '/g', executable: true, schema, schema_version: '2' }];
    await scriptedAgent(fleet, control, 'web-01', () => jsonAnswer(200, { scripts, tags: {} }));
    const { json } = await get('/discovery');
    expect(json.hosts['web-01'].scripts).toEqual(scripts);
  });

  it('a host may be named like a member that every object has', async () => {
    const { get, post } = await memoryApi();
    const hosts = ['__proto__', 'constructor'];
    const { json } = await post('/discovery', { hosts });
    expect(Object.keys(json.hosts)).toEqual(hosts);
    const run = await post('/run', { hosts, script: 'greet', async: true });
    expect(Object.keys((await get(`/status/${run.json.reqid}`)).json.hosts)).toEqual(hosts);
  });

  it('the live document names registered hosts and the scripts of those that answer', async () => {
    const { get, serve, control, fleet } = await memoryApi();
    await serve('web-01');
    await scriptedAgent(fleet, control, 'web-02', () => jsonAnswer(500, {}));
    const plain = (await get('/openapi.json')).json;
    const live = (await get('/openapi-live.json')).json;
    expect(live.components.schemas.HostArgument.enum).toEqual(['web-01', 'web-02']);
    expect(live.components.schemas.ScriptArgument.enum).toEqual(['fail', 'greet']);
    const [version, made] = live.info.version.split('+');
    expect(version).toBe(plain.info.version);
    expect(Math.abs(Number(made) - Date.now() / 1000)).toBeLessThan(60);
    expect(plain.components.schemas.HostArgument.enum).toBeUndefined();
  });

  it('the live document of an empty registry allows any name', async () => {
    const { get } = await memoryApi();
    const { components } = (await get('/openapi-live.json')).json;
    expect([components.schemas.HostArgument.enum, components.schemas.ScriptArgument.enum]).toEqual([
      undefined,
      undefined,
    ]);
  });
});
