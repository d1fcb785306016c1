import { describe, expect, it } from 'vitest';
import { eventsIn } from '../../../../support/api/api.js';
import { memoryApi, no } from '../../../../support/api/memory-api.js';

const yes = { kind: 'exited', code: 0 } as const;

describe('with auth_deny_generic nobody learns why', () => {
  it('an agent behind another spelling was refused, in an answer or an event', async () => {
    const { ask, post, policy, serve } = await memoryApi('auth_deny_generic = on\n');
    await serve('web-01');
    policy.decide = ({ hosts }) => (hosts.includes('web-01') ? no(3) : yes);
    const body = { hosts: ['web-01:7443'], script: 'greet' };
    const { status, json } = await post('/run', body);
    expect([status, json.results[0].error]).toEqual([200, 'forbidden']);
    const { text } = await ask('POST', '/v1/runs', { body, headers: { accept: 'text/event-stream' } });
    expect(text).toContain('forbidden');
    expect(text).not.toContain('privilege');
  });

  it('the events of a run ended, which it was allowed to begin', async () => {
    const { get, post, policy, serve } = await memoryApi('auth_deny_generic = on\n');
    await serve('web-01');
    const { json } = await post('/run', { hosts: ['web-01'], script: 'greet' });
    let asked = 0;
    policy.decide = ({ action }) => (action === 'status' && ++asked > 1 ? no(3) : yes);
    const { text } = await get(`/v1/runs/${json.reqid}/events`);
    expect(eventsIn(text).at(-1)).toEqual({ event: 'error', data: { ok: false, error: 'forbidden' } });
  });
});

it('whoever may run a script nowhere does not learn which tags there are', async () => {
  const { get, post, policy, serve } = await memoryApi();
  await serve('web-01', '[tags]\nenv = prod\n');
  await get('/discovery');
  const told = async (env: string) => (await post('/v1/runs', { tags: { env }, script: 'greet' })).text;
  policy.decide = ({ action }) => (action === 'run' ? no(3) : yes);
  expect(await told('nowhere')).toBe(await told('prod'));
});

it('a member that is null is as left out', async () => {
  const { ask, asked, serve } = await memoryApi();
  await serve('web-01');
  const body = { hosts: ['web-01'], script: 'greet', args: null, timeout: null, username: null, token: null };
  const headers = { authorization: 'Bearer t1' };
  const { status } = await ask('POST', '/run', { body, headers });
  expect([status, asked.at(-1)?.token]).toEqual([200, 't1']);
  const none = await ask('POST', '/run', { body: { hosts: null, script: 'greet' } });
  expect([none.status, none.json.field, none.json.detail]).toEqual([400, 'hosts', 'hosts: is missing']);
});

it('the document names all that the hook is asked', async () => {
  const { get, post, questions, serve } = await memoryApi();
  await serve('web-01');
  const { json } = await post('/run', { hosts: ['web-01'], script: 'fail' });
  const { paths } = (await get('/openapi.json')).json;
  questions();
  const asked = () => ['api', ...questions().map(({ action }) => action)];
  await post(`/v1/runs/${json.reqid}/retry`);
  expect(paths['/v1/runs/{reqid}/retry'].post['x-hook-actions']).toEqual(asked());
  await get('/openapi-live.json');
  expect(paths['/openapi-live.json'].get['x-hook-actions']).toEqual(asked());
});

describe('a host that there is not', () => {
  const body = { hosts: ['web-01', 'wbe-01'], script: 'greet' };
  const unknown = { ok: false, error: 'bad request', detail: 'unknown host wbe-01' };

  it('is 400 before anything is sent, and tells no names', async () => {
    const { ask, get, post, serve } = await memoryApi();
    await serve('web-01');
    for (const async of [false, true]) {
      const { status, json } = await post('/v1/runs', { ...body, async });
      expect([status, json]).toEqual([400, unknown]);
    }
    const { status, json } = await ask('POST', '/v1/runs', {
      body,
      headers: { accept: 'text/event-stream' },
    });
    expect([status, json]).toEqual([400, unknown]);
    expect((await get('/v1/runs')).json.runs).toEqual([]);
  });

  it('is what a caller without permission is not told', async () => {
    const { post, policy } = await memoryApi();
    policy.decide = ({ action }) => (action === 'run' ? no(3) : yes);
    expect((await post('/v1/runs', body)).status).toBe(403);
  });
});
