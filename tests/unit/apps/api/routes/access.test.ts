import { readFileSync } from 'node:fs';
import { errAsync } from 'neverthrow';
import { describe, expect, it } from 'vitest';
import { apiRoutes } from '../../../../../src/apps/api/routes.js';
import { failure } from '../../../../../src/domain/core/errors.js';
import { createDispatcher } from '../../../../../src/sdk/dispatcher/dispatcher.js';
import { value } from '../../../../contract/result.js';
import { apiOver } from '../../../../support/api/api.js';
import { memoryApi, no } from '../../../../support/api/memory-api.js';

const basic = (pair: string) => ({ authorization: `Basic ${Buffer.from(pair).toString('base64')}` });
const metrics = async () => ({ contentType: 'text/plain; version=0.0.4', text: 'runs 7\n' });
const { routes } = apiRoutes('1.0.0', metrics);

describe('who asks', () => {
  const callers: readonly [string, object | undefined, Record<string, string>, object][] = [
    ['the body', { username: 'alice', token: 't1' }, {}, { username: 'alice', token: 't1' }],
    ['a bearer token', undefined, { authorization: 'Bearer t2' }, { username: '', token: 't2' }],
    ['a pair of Basic', undefined, basic('bob:t:3'), { username: 'bob', token: 't:3' }],
    ['Basic in UTF-8', undefined, basic('zoë:ü'), { username: 'zoë', token: 'ü' }],
    ['the body before the header', { token: 't4' }, basic('bob:t3'), { username: '', token: 't4' }],
    [
      'a name in the body, a bearer token',
      { username: 'al' },
      { authorization: 'bearer t5' },
      { username: 'al', token: 't5' },
    ],
    ['nobody', undefined, {}, { username: '', token: '' }],
    ['nobody that can be read', undefined, { authorization: 'Digest x' }, { username: '', token: '' }],
    ['members that are no texts', { username: 5, token: ['x'] }, {}, { username: '', token: '' }],
  ];
  it.each(callers)('is told by %s', async (_what, body, headers, caller) => {
    const { ask, asked } = await memoryApi();
    await ask('POST', '/discovery', { body, headers });
    expect(asked[0]).toMatchObject({ action: 'api', ...caller, sourceIp: '127.0.0.1' });
  });

  it('the route’s own action is asked for the same caller, and agents’ hooks are told', async () => {
    const { post, asked, serve } = await memoryApi();
    const agent = await serve('web-01');
    agent.hook = { kind: 'exited', code: 0 };
    await post('/run', { hosts: ['web-01'], script: 'greet', username: 'alice', token: 't1' });
    expect(
      asked.map(({ action, username, token, hosts, script }) => [action, username, token, hosts, script]),
    ).toEqual([
      ['api', 'alice', 't1', [], ''],
      ['run', 'alice', 't1', ['web-01'], 'greet'],
    ]);
  });
});

describe('the hook', () => {
  it('is asked `api` before anything else: whoever may not use the API learns nothing of routes or shapes', async () => {
    const { ask, policy, asked } = await memoryApi();
    policy.decide = () => no(2);
    for (const [method, path, body] of [
      ['GET', '/', undefined],
      ['POST', '/run', { hosts: 'not a list' }],
      ['POST', '/run', undefined],
      ['GET', '/no-such-route', undefined],
      ['PUT', '/run', {}],
      ['GET', '/v1/agents?limit=0', undefined],
      ['GET', '/openapi.json', undefined],
    ] as const) {
      asked.length = 0;
      const { status, json } = await ask(method, path, { body });
      expect([path, status, json]).toEqual([path, 403, { ok: false, error: 'bad credentials', code: 2 }]);
      expect(asked.map(({ action }) => action)).toEqual(['api']);
    }
  });

  it.each([
    [no(1), { error: 'denied', code: 1 }],
    [no(2), { error: 'bad credentials', code: 2 }],
    [no(3), { error: 'insufficient privilege', code: 3 }],
    [{ kind: 'exited', code: 9 } as const, { error: 'hook exited 9' }],
    [{ kind: 'timed-out', seconds: 10 } as const, { error: 'hook timed out after 10 s' }],
  ])('%o is 403 %o', async (outcome, body) => {
    const { get, policy } = await memoryApi();
    policy.decide = () => outcome;
    expect((await get('/')).json).toEqual({ ok: false, ...body });
    policy.decide = ({ action }) => (action === 'locks' ? outcome : { kind: 'exited', code: 0 });
    const { status, json } = await get('/v1/locks');
    expect([status, json]).toEqual([403, { ok: false, ...body }]);
  });

  it('with auth_deny_generic nobody learns why', async () => {
    const { get, post, policy } = await memoryApi('auth_deny_generic = on\n');
    policy.decide = () => no(2);
    expect((await get('/')).text).toBe('{"ok":false,"error":"forbidden"}');
    policy.decide = ({ action }) => (action === 'api' ? { kind: 'exited', code: 0 } : no(3));
    expect((await get('/v1/locks')).text).toBe('{"ok":false,"error":"forbidden"}');
    expect((await post('/ping', { hosts: ['web-01'] })).text).toBe('{"ok":false,"error":"forbidden"}');
  });

  it.each([
    ['', 403],
    ['api_auth_default = deny\n', 403],
    ['api_auth_default = allow\n', 200],
  ])('where there is none, what is configured holds: "%s" %i', async (configuration, expected) => {
    const { get, post, policy } = await memoryApi(configuration);
    policy.decide = () => ({ kind: 'none' });
    expect((await get('/v1/locks')).status).toBe(expected);
    expect((await post('/discovery')).status).toBe(expected);
    expect((await get('/health')).status).toBe(200);
  });

  /** What each route asks about a request for agent web-01, script greet. */
  const own: Record<string, object | undefined> = {
    index: undefined,
    spec: undefined,
    ping: { action: 'ping', hosts: ['web-01'] },
    run: { action: 'run', hosts: ['web-01'], script: 'greet', args: ['x'] },
    createRun: { action: 'run', hosts: ['web-01'], script: 'greet', args: ['x'] },
    status: { action: 'status', hosts: ['web-01'], script: 'greet' },
    getRun: { action: 'status', hosts: ['web-01'], script: 'greet' },
    watchRun: { action: 'status', hosts: ['web-01'], script: 'greet' },
    cancelRun: { action: 'cancel', hosts: ['web-01'], script: 'greet' },
    discover: { action: 'discovery', hosts: ['web-01'] },
    discoverHosts: { action: 'discovery', hosts: ['web-01'] },
    liveSpec: { action: 'discovery', hosts: ['web-01'] },
    listRuns: { action: 'runs', hosts: ['web-01'], script: 'greet' },
    listAgents: { action: 'agents', hosts: [] },
    getAgent: { action: 'agents', hosts: ['web-01'] },
    editAgent: { action: 'edit-agent', hosts: ['web-01', 'web-09'] },
    unpairAgent: { action: 'unpair', hosts: ['web-01'] },
    listPairingRequests: { action: 'pairing-requests' },
    approvePairing: { action: 'approve', hosts: ['web-07'], args: ['0123456789'] },
    denyPairing: { action: 'deny', hosts: [], args: ['0123456789'] },
    getCertificates: { action: 'certificates' },
    metrics: { action: 'metrics', hosts: [] },
    getSerialStatus: { action: 'serial-status' },
    listLocks: { action: 'locks' },
  };
  const bodies: Record<string, object> = {
    ping: { hosts: ['WEB-01'] },
    run: { hosts: ['WEB-01'], script: 'greet', args: ['x'] },
    createRun: { hosts: ['WEB-01'], script: 'greet', args: ['x'] },
    discoverHosts: { hosts: ['WEB-01'] },
    editAgent: { rename: 'web-09' },
    approvePairing: { name: 'web-07' },
  };
  const checked = routes.filter(({ permission, id }) => permission !== 'nobody' && id !== 'retryRun');

  it.each(checked.map((route) => [route.id, route] as const))(
    '%s asks about what it does',
    async (id, route) => {
      expect(Object.keys(own)).toContain(id);
      const { ask, post, serve, questions } = await memoryApi('', { metrics });
      await serve('web-01');
      const { json } = await post('/run', { hosts: ['web-01'], script: 'greet' });
      questions();
      const path = route.path
        .replace('{reqid}', json.reqid)
        .replace('{name}', 'WEB-01')
        .replace('{id}', '0123456789');
      const query = id === 'listRuns' ? '?host=WEB-01&script=greet' : '';
      await ask(route.method.toUpperCase(), path + query, { body: bodies[id] });
      const [first, ...others] = questions();
      const expected = own[id];
      if (expected === undefined) expect(first).toBeUndefined();
      else expect(first).toMatchObject(expected);
      for (const other of others) expect(other).toMatchObject(expected ?? {});
    },
  );

  it('that refuses a route’s own action keeps it from being done', async () => {
    const { ask, post, policy, serve, dispatcher } = await memoryApi();
    await serve('web-01');
    policy.decide = ({ action }) => (action === 'api' ? { kind: 'exited', code: 0 } : no());
    for (const [method, path, body] of [
      ['PATCH', '/v1/agents/web-01', { port: 1 }],
      ['DELETE', '/v1/agents/web-01', undefined],
      ['GET', '/v1/agents', undefined],
      ['GET', '/v1/agents/web-01', undefined],
      ['GET', '/v1/runs', undefined],
      ['GET', '/v1/certificates', undefined],
      ['GET', '/v1/pairing-requests', undefined],
      ['POST', '/run', { hosts: ['web-01'], script: 'greet' }],
    ] as const) {
      const answer = await ask(method, path, { body });
      expect([method, path, answer.status]).toEqual([method, path, 403]);
    }
    expect((await post('/discovery', {})).status).toBe(403);
    const record = value(await dispatcher.agent('web-01'));
    expect(record.endpoint.port).toBe(7443);
    expect(value(await dispatcher.runs()).runs).toEqual([]);
  });

  it('a caller that it refuses a run cannot tell it from one that never was', async () => {
    const { ask, post, policy, serve } = await memoryApi();
    await serve('web-01');
    const { json } = await post('/run', { hosts: ['web-01'], script: 'greet' });
    policy.decide = ({ action }) => (action === 'api' ? { kind: 'exited', code: 0 } : no());
    const unknown = '0123456789abcdef';
    for (const [method, path] of [
      ['GET', '/status/ID'],
      ['GET', '/v1/runs/ID'],
      ['GET', '/v1/runs/ID/events'],
      ['POST', '/v1/runs/ID/cancel'],
    ] as const) {
      const refused = await ask(method, path.replace('ID', json.reqid));
      const missing = await ask(method, path.replace('ID', unknown));
      expect([refused.status, missing.status]).toEqual([404, 404]);
      expect(refused.text.replace(json.reqid, unknown)).toBe(missing.text);
      const names = ({ headers }: typeof refused) => Object.keys(headers).sort();
      expect(names(refused)).toEqual(names(missing));
    }
  });

  it('that refuses discovery leaves the live document without names', async () => {
    const { get, policy, serve } = await memoryApi();
    await serve('web-01');
    policy.decide = ({ action }) => (action === 'discovery' ? no() : { kind: 'exited', code: 0 });
    const { status, text, json } = await get('/openapi-live.json');
    expect(status).toBe(200);
    expect(json.info.version).toMatch(/\+\d+$/);
    expect(json.components.schemas.HostArgument.enum).toBeUndefined();
    expect(json.components.schemas.ScriptArgument.enum).toBeUndefined();
    expect(text).not.toContain('"fail"');
  });
});

describe('metrics', () => {
  it('are the text that the application gives, of the type that it says, and stand in the index and the document', async () => {
    const { get, dispatcher } = await memoryApi('', {
      metrics: async (given) => ({ ...(await metrics()), text: `same ${given === dispatcher}\n` }),
    });
    const { status, headers, text } = await get('/metrics');
    expect([status, headers['content-type'], text]).toEqual([
      200,
      'text/plain; version=0.0.4',
      'same true\n',
    ]);
    expect((await get('/')).json.endpoints).toContainEqual({ method: 'GET', path: '/metrics' });
    expect((await get('/openapi.json')).json.paths).toHaveProperty('/metrics');
  });

  it('are refused where the hook says no to them, and nobody is made to count', async () => {
    let counted = 0;
    const { get, policy } = await memoryApi('', {
      metrics: () => {
        counted += 1;
        return metrics();
      },
    });
    policy.decide = ({ action }) => (action === 'metrics' ? no(3) : { kind: 'exited', code: 0 });
    expect((await get('/metrics')).json).toEqual({ ok: false, error: 'insufficient privilege', code: 3 });
    expect(counted).toBe(0);
  });

  it('that cannot be had are a bug of the application, which is told', async () => {
    const { open, unexpected } = await memoryApi('', { metrics: () => Promise.reject(new Error('none')) });
    const { status, text } = await open('GET', '/metrics').answer;
    expect([status, text]).toEqual([500, '{"ok":false,"error":"internal error"}']);
    expect(unexpected).toEqual([new Error('none')]);
  });

  it('are not there where nobody gives any', async () => {
    const { get, open } = await memoryApi();
    expect((await open('GET', '/metrics').answer).status).toBe(404);
    expect((await get('/openapi.json')).json.paths).not.toHaveProperty('/metrics');
  });
});

describe('pages of other sites', () => {
  it.each([
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { 'sec-fetch-site': 'cross-site', origin: 'http://127.0.0.1' },
    // Of this host, but of another server of it.
    { origin: 'http://127.0.0.1:1' },
    { origin: 'http://localhost' },
  ])('cannot have a browser ask: %o', async (headers) => {
    const { ask, asked } = await memoryApi();
    const answer = await ask('POST', '/discovery', {
      body: '{}',
      headers: { ...headers, 'content-type': 'text/plain' },
    });
    expect(answer.status).toBe(403);
    expect(asked).toEqual([]);
  });

  it('the API’s own page can, also of a browser that says less, or through a proxy', async () => {
    const { ask, port } = await memoryApi();
    for (const headers of [
      { origin: `http://127.0.0.1:${port}`, 'sec-fetch-site': 'same-origin' },
      { origin: 'https://api.example', 'sec-fetch-site': 'same-origin' },
      { origin: `http://127.0.0.1:${port}` },
      { 'sec-fetch-site': 'none' },
      {},
    ])
      expect((await ask('POST', '/discovery', { body: {}, headers })).status).toBe(200);
  });

  it('may link to the page of the API, and to nothing else', async () => {
    const { get } = await memoryApi();
    const headers = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' };
    expect((await get('/docs', headers)).status).toBe(200);
    expect((await get('/docs', { ...headers, 'sec-fetch-mode': 'no-cors' })).status).toBe(403);
    expect((await get('/discovery', headers)).status).toBe(403);
  });
});

it('a configuration that is wrong is told to nobody who is not known', async () => {
  const error = failure('config_invalid', '/etc/secret.conf:3: no such key', {
    file: '/etc/secret.conf',
    reason: '',
  });
  const { get } = await apiOver(createDispatcher(() => errAsync(error)));
  const { status, text } = await get('/v1/locks');
  expect([status, text]).toEqual([500, '{"ok":false,"error":"internal error"}']);
  expect((await get('/health')).status).toBe(200);
});

it('the README of the hooks names every action that a hook can be asked about', () => {
  const readme = readFileSync(new URL('../../../../../examples/hooks/README.md', import.meta.url), 'utf8');
  const [, table = ''] = /^## Actions\n([\s\S]*?)^## /m.exec(readme) ?? [];
  const named = [...table.matchAll(/^\| (`[^|]*) \|/gm)].flatMap(([, cell = '']) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, action]) => action),
  );
  const asked = routes.flatMap(({ permission }) =>
    typeof permission === 'object' ? [permission.action] : [],
  );
  expect(named.sort()).toEqual([...new Set(['api', ...asked])].sort());
});
