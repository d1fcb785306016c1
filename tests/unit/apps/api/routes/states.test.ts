import { describe, expect, it } from 'vitest';
import type { RunStart } from '../../../../../src/ports/run-store.js';
import { value } from '../../../../contract/result.js';
import { eventsIn } from '../../../../support/api/api.js';
import { memoryApi } from '../../../../support/api/memory-api.js';

const held = '00000000000000aa';

/** The API, an agent, and a run of another process that does not end there. */
async function apiWithRun() {
  const api = await memoryApi();
  await api.serve('web-01');
  const { clock, runStore } = api.control.context;
  const start: RunStart = {
    ...{ reqid: held, script: 'greet', hosts: [{ host: 'web-01' }], args: [], mode: 'sync' },
    ...{ principal: 'os:root', username: 'ann', sourceIp: '192.0.2.9', startedAt: clock.now() },
  };
  expect(value(await runStore.begin(start, clock.now()))).toEqual({ kind: 'begun' });
  return { ...api, now: Math.floor(clock.now() / 1000) };
}

describe('states of hosts', () => {
  it('are counted in the list of runs, by which it can be asked', async () => {
    const { get, post, now } = await apiWithRun();
    const { json } = await post('/v1/runs', { hosts: ['web-01'], script: 'fail' });
    const of = async (outcome: string) => (await get(`/v1/runs?outcome=${outcome}`)).json.runs;
    expect(await of('running')).toEqual([
      {
        ...{ reqid: held, script: 'greet', hosts: ['web-01'], mode: 'sync', failed: [] },
        ...{ principal: 'os:root', username: 'ann', source_ip: '192.0.2.9' },
        ...{ started_at: now, completed_at: null, outcome: 'running', counts: { running: 1 } },
      },
    ]);
    expect(await of('failed')).toMatchObject([
      { reqid: json.reqid, outcome: 'failed', counts: { failed: 1 }, failed: ['web-01'] },
    ]);
    expect(await of('unknown')).toEqual([]);
    expect((await get('/v1/runs?outcome=ok')).status).toBe(400);
  });

  it('one that goes on is shown without a result, and pending', async () => {
    const { get } = await apiWithRun();
    const { json } = await get(`/v1/runs/${held}`);
    expect(json).toMatchObject({
      ...{ mode: 'sync', complete: false, pending: ['web-01'], hosts: ['web-01'] },
      results: [{ host: 'web-01', state: 'running', exit: -1, error: 'still running' }],
    });
    expect(json.completed).toBeUndefined();
  });

  it('come with the events of a run', async () => {
    const { ask, get } = await apiWithRun();
    const body = { hosts: ['web-01', 'nobody.example'], script: 'fail' };
    const { text } = await ask('POST', '/v1/runs', { body, headers: { accept: 'text/event-stream' } });
    const events = eventsIn(text);
    const states = events
      .filter(({ event }) => event === 'result')
      .map(({ data }) => [data.host, data.state]);
    expect(states).toEqual(
      expect.arrayContaining([
        ['web-01', 'failed'],
        ['nobody.example', 'unreachable'],
      ]),
    );
    const { reqid } = events.at(-1)?.data ?? {};
    expect(events.at(-1)).toEqual({ event: 'end', data: { reqid, failed: body.hosts } });
    const watched = eventsIn((await get(`/v1/runs/${reqid}/events`)).text);
    expect(watched.map(({ event }) => event)).toEqual(['status', 'end']);
    expect(watched.at(-1)?.data).toEqual({ reqid, outcome: 'failed' });
  });
});

it('locks name their run and since when they are held', async () => {
  const { get, post, now } = await apiWithRun();
  expect((await get('/v1/locks')).json).toEqual({
    ok: true,
    locks: [{ host: 'web-01', script: 'greet', reqid: held, since: now }],
  });
  const { status, json } = await post('/v1/runs', { hosts: ['web-01'], script: 'greet' });
  expect([status, json]).toEqual([409, { ok: false, error: 'locked', code: 4, conflicts: ['web-01:greet'] }]);
});
