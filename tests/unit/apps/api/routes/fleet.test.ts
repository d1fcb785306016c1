import { describe, expect, it } from 'vitest';
import { memoryApi, no } from '../../../../support/api/memory-api.js';

const reqid = expect.stringMatching(/^[0-9a-f]{16}$/);

describe('agents', () => {
  it('are listed by name in pages that fit together', async () => {
    const { get, serve } = await memoryApi();
    for (const name of ['web-03', 'web-01', 'web-02']) await serve(name);
    const names: string[] = [];
    let cursor: string | undefined;
    do {
      const { json } = await get(`/v1/agents?limit=2${cursor === undefined ? '' : `&cursor=${cursor}`}`);
      names.push(...json.agents.map(({ name }: { name: string }) => name));
      cursor = json.next_cursor;
    } while (cursor !== undefined);
    expect(names).toEqual(['web-01', 'web-02', 'web-03']);
    expect((await get('/v1/agents?limit=3')).json.next_cursor).toBeUndefined();
  });

  it('are listed by tags', async () => {
    const { get, serve } = await memoryApi();
    await serve('web-01', '[tags]\nenv = prod\n');
    await serve('web-02', '[tags]\nenv = test\n');
    await get('/discovery');
    const { json } = await get('/v1/agents?tags=env=prod');
    expect(json.agents.map(({ name }: { name: string }) => name)).toEqual(['web-01']);
  });

  it('one: 404 names no agent that the hook was not asked about', async () => {
    const { get, serve } = await memoryApi();
    await serve('web-01');
    expect((await get('/v1/agents/WEB-01')).json.agent).toMatchObject({
      name: 'web-01',
      port: 7443,
      pairing: 'v2',
    });
    const { status, json } = await get('/v1/agents/web-1');
    expect([status, json.error]).toEqual([404, 'agent_unknown']);
    expect(json.detail).toBe('no agent of that name is registered: web-1');
  });

  it('are edited: what is left out stays', async () => {
    const { ask, get, serve } = await memoryApi();
    await serve('web-01');
    await serve('web-02');
    const body = { rename: 'web-09', ip: '192.0.2.9', port: 7000, lookup_by: 'ip' };
    const { status, json } = await ask('PATCH', '/v1/agents/web-01', { body });
    expect([status, json.agent]).toEqual([
      200,
      expect.objectContaining({
        name: 'web-09',
        ip: '192.0.2.9',
        port: 7000,
        lookup_by: 'ip',
        hostname: 'web-01',
      }),
    ]);
    expect((await get('/v1/agents/web-01')).status).toBe(404);
    const taken = await ask('PATCH', '/v1/agents/web-09', { body: { rename: 'web-02' } });
    expect([taken.status, taken.json.error]).toEqual([409, 'agent_exists']);
    const odd = await ask('PATCH', '/v1/agents/web-09', { body: { ip: 'x' } });
    expect([odd.status, odd.json.field]).toEqual([400, 'ip']);
  });

  it('a change of nothing is 400', async () => {
    const { ask, serve } = await memoryApi();
    await serve('web-01');
    const { status, json } = await ask('PATCH', '/v1/agents/web-01', { body: { username: 'alice' } });
    expect([status, json.error]).toEqual([400, 'invalid_argument']);
  });

  it('are unpaired', async () => {
    const { ask, get, serve } = await memoryApi();
    await serve('web-01');
    expect((await ask('DELETE', '/v1/agents/web-01')).json.agent.name).toBe('web-01');
    expect((await ask('DELETE', '/v1/agents/web-01')).status).toBe(404);
    expect((await get('/v1/agents')).json.agents).toEqual([]);
  });
});

describe('runs', () => {
  it('by tags; of tags that nobody has, or with hosts as well, 400', async () => {
    const { get, post, serve } = await memoryApi();
    await serve('web-01', '[tags]\nenv = prod\n');
    await serve('web-02', '[tags]\nenv = prod\n');
    await get('/discovery');
    const { json } = await post('/v1/runs', { tags: { env: 'prod' }, script: 'greet' });
    expect(json.results.map(({ host, exit }: { host: string; exit: number }) => [host, exit])).toEqual([
      ['web-01', 0],
      ['web-02', 0],
    ]);
    for (const odd of [
      { tags: { env: 'x' } },
      { tags: {} },
      {},
      { tags: { env: 'prod' }, hosts: ['web-01'] },
    ])
      expect((await post('/v1/runs', { ...odd, script: 'greet' })).status).toBe(400);
  });

  it('are listed, the latest first, by what they were', async () => {
    const { get, post, serve } = await memoryApi();
    await serve('web-01');
    const fine = await post('/run', { hosts: ['web-01'], script: 'greet', username: 'alice' });
    const failed = await post('/run', {
      hosts: ['web-01', 'nobody'],
      script: 'fail',
      username: 'bob',
      async: true,
    });
    const listed = async (query: string) =>
      (await get(`/v1/runs?${query}`)).json.runs.map((run: { reqid: string }) => run.reqid);
    const [first, second] = [fine.json.reqid, failed.json.reqid];
    expect((await listed('')).sort()).toEqual([first, second].sort());
    expect(await listed('host=nobody')).toEqual([second]);
    expect(await listed('script=greet')).toEqual([first]);
    expect(await listed('user=bob')).toEqual([second]);
    expect(await listed('outcome=succeeded')).toEqual([first]);
    expect(await listed('started_after=9999999999')).toEqual([]);
    expect(await listed('started_before=1')).toEqual([]);
    const page = (await get('/v1/runs?limit=1')).json;
    const next = (await get(`/v1/runs?limit=1&cursor=${encodeURIComponent(page.next_cursor)}`)).json;
    expect([...page.runs, ...next.runs].map((run) => run.reqid).sort()).toEqual([first, second].sort());
    expect((await get('/v1/runs?cursor=!')).status).toBe(400);
  });

  it('are retried where they failed; of one that failed nowhere 400', async () => {
    const { post, serve } = await memoryApi();
    await serve('web-01');
    const { json } = await post('/run', { hosts: ['web-01', 'nobody'], script: 'greet', args: ['x'] });
    await serve('nobody');
    const retried = await post(`/v1/runs/${json.reqid}/retry`);
    expect(retried.status).toBe(200);
    expect(retried.json.reqid).not.toBe(json.reqid);
    expect(retried.json.results).toMatchObject([{ host: 'nobody', exit: 0, stdout: 'hello x' }]);
    const again = await post(`/v1/runs/${retried.json.reqid}/retry`, { async: true });
    expect([again.status, again.json.field]).toEqual([400, 'reqid']);
    expect((await post('/v1/runs/0123456789abcdef/retry')).status).toBe(404);
  });

  it('a retry is 403 for who may know of the run but not run it, and 404 for who may not know', async () => {
    const { post, serve, policy } = await memoryApi();
    await serve('web-01');
    const { json } = await post('/run', { hosts: ['web-01'], script: 'fail' });
    const path = `/v1/runs/${json.reqid}/retry`;
    policy.decide = ({ action }) => (action === 'run' ? no(3) : { kind: 'exited', code: 0 });
    expect((await post(path)).json).toEqual({ ok: false, error: 'insufficient privilege', code: 3 });
    policy.decide = ({ action }) => (action === 'status' ? no(3) : { kind: 'exited', code: 0 });
    expect((await post(path)).status).toBe(404);
  });

  it('are cancelled, on some of their hosts or all', async () => {
    const { post, serve } = await memoryApi();
    await serve('web-01');
    const { json } = await post('/run', { hosts: ['web-01'], script: 'greet', async: true });
    const path = `/v1/runs/${json.reqid}/cancel`;
    const { status, json: told } = await post(path, { hosts: ['web-01'] });
    expect([status, told]).toEqual([
      200,
      {
        ok: true,
        reqid: json.reqid,
        script: 'greet',
        results: [{ host: 'web-01', status: 'done', rtt: expect.stringMatching(/ms$/) }],
      },
    ]);
    expect((await post(path, { hosts: ['web-02'] })).status).toBe(400);
  });

  it('with an idempotency key run once; another request with it is 422, another token 409', async () => {
    const { post, get, serve } = await memoryApi();
    await serve('web-01');
    const key = { 'idempotency-key': 'deploy 1' };
    const body = { hosts: ['web-01'], script: 'greet' };
    const first = await post('/run', body, key);
    expect([first.status, first.json.reqid]).toEqual([200, reqid]);
    expect((await post('/v1/runs', body, key)).text).toBe(first.text);
    expect((await get('/v1/runs')).json.runs).toHaveLength(1);
    const other = await post('/run', { ...body, args: ['x'] }, key);
    expect([other.status, other.json.error]).toEqual([422, 'idempotency_mismatch']);
    const thief = await post('/run', body, { ...key, authorization: 'Bearer another-token' });
    expect([thief.status, thief.json]).toEqual([
      409,
      { ok: false, error: 'idempotency_mismatch', field: 'caller', detail: expect.any(String) },
    ]);
    expect((await get('/v1/runs')).json.runs).toHaveLength(1);
    const odd = await post('/run', body, { 'idempotency-key': 'x'.repeat(256) });
    expect([odd.status, odd.json.field]).toEqual([400, 'idempotency-key']);
  });
});
