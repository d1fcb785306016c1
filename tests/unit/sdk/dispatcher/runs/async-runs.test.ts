import { err, errAsync, ok, okAsync } from 'neverthrow';
import { beforeEach, describe, expect, it } from 'vitest';
import { memoryAuthHook } from '../../../../../src/adapters/memory/auth-hook.js';
import { failure as errorOf } from '../../../../../src/domain/core/errors.js';
import { type HttpAnswer, jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import { newStanding } from '../../../../../src/domain/trust/agent-standing.js';
import type { RunStart } from '../../../../../src/ports/run-store.js';
import type { Dispatcher } from '../../../../../src/sdk/dispatcher/dispatcher.js';
import { failure, value } from '../../../../contract/result.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import {
  type Answering,
  dispatcherOver,
  type Seen,
  scriptedAgent,
  withPorts,
} from '../../../../support/fleet/memory-agents.js';
import {
  identifiedFleet,
  type MemoryFleet,
  type TestDispatcher,
} from '../../../../support/fleet/memory-fleet.js';
import { interposed } from '../../../../support/network/interposed.js';
import { deferred } from '../../../../support/network/network.js';

let fleet: MemoryFleet;
let control: TestDispatcher;
let dispatcher: Dispatcher;

beforeEach(() => start());

async function start(configuration = '') {
  ({ fleet, control } = await identifiedFleet(configuration));
  dispatcher = control.dispatcher;
}

const hour = 3_600_000;
const order = { hosts: ['web-01', 'web-02'], script: 'job', args: ['a'] };

/** What an agent answers to each path; `results` are given one after the other, the last one for good. */
function agentWith({
  run = ({ body }: Seen): HttpAnswer => jsonAnswer(202, { status: 'accepted', reqid: body['reqid'] }),
  results = [] as readonly (object | undefined)[],
  cancel = { status: 'cancelling' } as object,
  features = ['settle'],
} = {}): Answering {
  const left = [...results];
  return (request) => {
    if (request.path === '/run') return run(request);
    if (request.path === '/v2/cancel') return jsonAnswer(200, cancel);
    if (request.path === '/capabilities') return jsonAnswer(200, { scripts: [], features });
    const answer = left.length > 1 ? left.shift() : left[0];
    return answer ? jsonAnswer(200, answer) : jsonAnswer(404, { status: 'unknown' });
  };
}

const done = { status: 'done', exit: 0, stdout: 'out', stderr: '' };
const running = { status: 'running' };
const agent = (name: string, answering: Answering, options: Parameters<typeof scriptedAgent>[4] = {}) =>
  scriptedAgent(fleet, control, name, answering, options);
/** What an agent was asked, but for what it can do, which is asked once. */
const paths = ({ seen }: { readonly seen: readonly Seen[] }) =>
  seen.map(({ path }) => path).filter((path) => path !== '/capabilities');
const statusOf = async (reqid: string) => value(await dispatcher.status(reqid));
const submitted = async () => value(await dispatcher.submit(order));
const held = async () => value(await dispatcher.locks());
const gone = errorOf('connection_failed', 'no answer: closed', { host: 'web-02', reason: 'closed' });

describe('a submission', () => {
  it('tells each agent to run by itself, and its locks are held until the ends are known', async () => {
    const late = deferred();
    const locked: string[][] = [];
    const one = await agent('web-01', agentWith());
    await agent('web-02', async (request) => {
      locked.push((await held()).map(({ host }) => host));
      await late.promise;
      return agentWith()(request);
    });
    const told: string[] = [];
    const outcome = dispatcher.submit({
      ...order,
      timeout: 90,
      onResult: ({ host }) => {
        told.push(host);
        late.resolve();
      },
    });
    const { reqid, results } = value(await outcome);
    expect(one.seen[0]?.body).toMatchObject({ script: 'job', args: ['a'], reqid, async: true, timeout: 90 });
    expect(told).toEqual(['web-01', 'web-02']);
    expect(locked).toEqual([['web-01', 'web-02']]);
    expect((await held()).map(({ host }) => host)).toEqual(['web-01', 'web-02']);
    expect(results).toEqual(
      order.hosts.map((host) => ({
        ...{ host, state: 'running', status: 'accepted', reqid },
        rtt: expect.any(Number),
      })),
    );
  });

  it('that is denied or locked contacts nobody', async () => {
    const one = await agent('web-01', agentWith());
    control.hook = { kind: 'exited', code: 1 };
    expect(failure(await dispatcher.submit(order)).code).toBe('denied');
    control.hook = { kind: 'none' };
    value(await control.context.runStore.begin(begun({ hosts: [{ host: 'web-02' }] }), 0));
    expect(failure(await dispatcher.submit(order)).code).toBe('locked');
    expect(one.seen).toEqual([]);
  });

  it.each([
    ['busy', jsonAnswer(409, { status: 'busy', error: 'script already running' }), 'busy', 'refused'],
    ['its own request, twice', jsonAnswer(409, { status: 'running' }), 'accepted', 'running'],
    ['refused', jsonAnswer(200, { exit: -1, error: 'script not permitted' }), 'error', 'refused'],
    ['run at once', jsonAnswer(200, { exit: 3, stdout: 'x', stderr: '' }), 'accepted', 'failed'],
    ['overloaded', jsonAnswer(503, { error: 'busy: 64 runs are under way' }), 'error', 'refused'],
    ['about another', jsonAnswer(202, { status: 'accepted', reqid: 'other' }), 'error', 'unknown'],
    ['not understood', jsonAnswer(202, 'accepted'), 'error', 'unknown'],
  ])('that is %s is told and kept as such', async (_what, answer, status, kept) => {
    await agent('web-01', agentWith({ run: () => answer }));
    const { reqid, results } = value(await dispatcher.submit({ ...order, hosts: ['web-01'] }));
    expect(results).toMatchObject([{ status }]);
    expect(value(await control.context.runStore.find(reqid))?.results).toMatchObject([
      { host: 'web-01', state: kept },
    ]);
  });

  it('of which nothing was heard is asked about at once, and the answer decides', async () => {
    const since = { status: 'void', complete_since: fleet.clock.now() - 120_000 };
    await agent('web-01', agentWith({ results: [done] }));
    await agent('web-02', agentWith({ results: [since] }));
    await agent('web-03', agentWith({ results: [running] }));
    await agent('web-04', agentWith({ results: [{ ...since, complete_since: fleet.clock.now() }] }));
    losingAnswers();
    const hosts = ['web-01', 'web-02', 'web-03', 'web-04'];
    const { reqid, results } = value(await dispatcher.submit({ ...order, hosts }));
    expect(results).toMatchObject([
      { state: 'succeeded', status: 'accepted' },
      { state: 'unreachable', status: 'error', error: gone.message },
      { state: 'running', status: 'accepted' },
      { state: 'unknown', status: 'error', error: gone.message },
    ]);
    const stored = value(await control.context.runStore.find(reqid));
    expect(stored?.results).toMatchObject([
      { state: 'succeeded', stdout: 'out' },
      { state: 'unreachable', failure: { code: 'connection_failed' } },
      { state: 'running' },
      { state: 'unknown', failure: { code: 'forgotten' } },
    ]);
    expect((await held()).map(({ host }) => host)).toEqual(['web-03']);
  });

  it('that was interrupted is settled by what the agents know', async () => {
    const one = await agent('web-01', agentWith({ results: [done] }));
    const two = await agent('web-02', agentWith());
    const run = begun();
    value(await control.context.runStore.begin(run, fleet.clock.now()));
    // Somebody still submits it: an agent that does not know it yet may do so in a moment, and is not told that it must not.
    expect(await statusOf(run.reqid)).toMatchObject({ complete: false, pending: ['web-02'] });
    value(await control.context.runStore.settle(run.reqid, [], fleet.clock.now(), 'left'));
    await two.listening.close(0);
    const since = { status: 'void', complete_since: fleet.clock.now() - 120_000 };
    await agent('web-02', agentWith({ results: [since] }), { registered: false, issued: two.issued });
    expect(await statusOf(run.reqid)).toMatchObject({
      complete: true,
      results: [
        { state: 'succeeded' },
        { state: 'unreachable', error: expect.stringContaining('did not reach') },
      ],
    });
    expect(paths(one)).toEqual([`/result/${run.reqid}`]);
  });
});

/** A run as it begins. */
const begun = (change: Partial<RunStart> = {}): RunStart => ({
  ...{ reqid: 'a'.repeat(16), script: 'job', args: order.args, mode: 'async', principal: 'os:tester' },
  ...{ hosts: order.hosts.map((host) => ({ host })), username: '', sourceIp: '' },
  startedAt: fleet.clock.now(),
  ...change,
});

/** From now on what agents answer to a run is lost on its way. */
function losingAnswers() {
  const channel = interposed(control.context.channel, {
    exchange: (_target, { path }, send) =>
      send().andThen((answer) => (path === '/run' ? err({ ...gone, sent: true }) : ok(answer))),
  });
  dispatcher = dispatcherOver(withPorts(control, { channel }));
}

describe('the status of an async run', () => {
  it('asks only those that are not settled, and keeps what they say', async () => {
    const one = await agent('web-01', agentWith({ results: [done] }));
    const two = await agent('web-02', agentWith({ results: [running, { ...done, exit: 3, error: 'x' }] }));
    const { reqid } = await submitted();
    const first = await statusOf(reqid);
    expect(first).toMatchObject({ mode: 'async', complete: false, pending: ['web-02'] });
    expect(first.results).toMatchObject([
      { host: 'web-01', state: 'succeeded', exit: 0, stdout: 'out' },
      { host: 'web-02', state: 'running', exit: -1, seenAt: fleet.clock.now() },
    ]);
    const second = await statusOf(reqid);
    expect(second).toMatchObject({ complete: true, pending: [], completedAt: fleet.clock.now() });
    expect(second.results[1]).toMatchObject({ state: 'failed', exit: 3, stdout: 'out', error: 'x' });
    expect(await statusOf(reqid)).toEqual(second);
    expect([paths(one).length, paths(two).length]).toEqual([2, 3]);
    const ends = eventsOf(control.events, 'run-ended').map(({ fields }) => [fields.host, fields.exit]);
    expect(ends).toEqual([
      ['web-01', 0],
      ['web-02', 3],
    ]);
  });

  it.each([
    ['unknown', { status: 'void', complete_since: 0 }, { failure: { code: 'forgotten' } }],
    ['cancelled', { status: 'cancelled', exit: 126, stdout: 'a', stderr: '' }, { exit: 126, stdout: 'a' }],
    ['cancelled', { status: 'cancelled' }, { exit: -1 }],
    ['lost', { status: 'lost', error: 'the machine went down' }, { error: 'the machine went down' }],
  ])('says that it is %s, once and for all', async (state, said, more) => {
    await agent('web-01', agentWith({ results: [said] }));
    const two = await agent('web-02', agentWith({ results: [said] }));
    const { reqid } = await submitted();
    expect((await statusOf(reqid)).results).toMatchObject([
      { state, ...more },
      { state, ...more },
    ]);
    expect(await held()).toEqual([]);
    await statusOf(reqid);
    expect(paths(two)).toHaveLength(2);
  });

  it.each([
    ['is about another run', { ...done, reqid: 'other' }],
    ['has a status that no run has', { status: 'sleeping' }],
    ['has an exit that no script has', { ...done, exit: 300 }],
    ['has output that is no text', { ...done, stdout: ['x'] }],
  ])('takes nothing of an answer that %s, and says so inline', async (_what, said) => {
    await agent('web-01', agentWith({ results: [said] }));
    await agent('web-02', agentWith({ results: [done] }));
    const { reqid } = await submitted();
    const { results, pending } = await statusOf(reqid);
    expect(results).toMatchObject([
      { state: 'running', fetchError: expect.stringContaining('not understood') },
      { state: 'succeeded' },
    ]);
    expect(pending).toEqual(['web-01']);
    const stored = value(await control.context.runStore.find(reqid));
    expect(stored?.results[0]).toMatchObject({ host: 'web-01', state: 'running' });
  });

  it('takes no answer that is not signed by the agent', async () => {
    await agent('web-01', agentWith({ results: [done] }), { sign: (answer) => answer });
    const one = value(await dispatcher.submit({ ...order, hosts: ['web-01'] }));
    expect(one.results).toMatchObject([{ state: 'unknown', status: 'error', error: 'unverified result' }]);
    expect((await statusOf(one.reqid)).results).toMatchObject([
      { state: 'unknown', fetchError: 'unverified result' },
    ]);
  });

  it('is unknown where an agent says nothing for 15 minutes, and is given up after a day', async () => {
    await agent('web-01', agentWith({ results: [done] }));
    const two = await agent('web-02', agentWith({ results: [done] }));
    const { reqid } = await submitted();
    await two.listening.close(0);
    expect(await statusOf(reqid)).toMatchObject({ pending: ['web-02'] });
    await fleet.clock.advance(15 * 60_000 + 1);
    expect(await statusOf(reqid)).toMatchObject({
      pending: ['web-02'],
      results: [{ state: 'succeeded' }, { state: 'unknown', failure: { code: 'silent' } }],
    });
    expect(await held()).toMatchObject([{ host: 'web-02' }]);
    await fleet.clock.advance(24 * hour + 1);
    const late = await statusOf(reqid);
    expect(late).toMatchObject({ complete: true, results: [{ state: 'succeeded' }, { state: 'unknown' }] });
    expect(late.results[1]?.fetchError).toContain('nothing listens');
    const stored = value(await control.context.runStore.find(reqid));
    expect(stored).toMatchObject({ completedAt: fleet.clock.now() });
    expect(await held()).toEqual([]);
  });

  it('asks at most max_parallel agents at a time', async () => {
    await start('max_parallel = 2');
    let underWay = 0;
    let most = 0;
    const hosts = ['a1', 'a2', 'a3', 'a4', 'a5'];
    for (const host of hosts)
      await agent(host, async (request) => {
        underWay += 1;
        most = Math.max(most, underWay);
        await new Promise((resolve) => setImmediate(resolve));
        underWay -= 1;
        return agentWith({ results: [done] })(request);
      });
    const { reqid } = value(await dispatcher.submit({ ...order, hosts }));
    expect((await statusOf(reqid)).complete).toBe(true);
    expect(most).toBe(2);
  });

  it('is told although it cannot be kept, which is logged', async () => {
    await agent('web-01', agentWith({ results: [done] }));
    await agent('web-02', agentWith({ results: [done] }));
    const { reqid } = await submitted();
    const full = errorOf('store_failed', 'disk full', { operation: 'run.settle', reason: 'FULL' });
    const { runStore } = control.context;
    const over = dispatcherOver(
      withPorts(control, { runStore: { ...runStore, settle: () => errAsync(full) } }),
    );
    const ended = { state: 'succeeded', stdout: 'out' };
    expect(value(await over.status(reqid)).results).toMatchObject([ended, ended]);
    expect(eventsOf(control.events, 'record-failed')).toMatchObject([
      { fields: { reqid, reason: 'disk full' } },
    ]);
  });

  it('asks the hook, which is told whose run it is, before any agent', async () => {
    const one = await agent('web-01', agentWith({ results: [done] }));
    await agent('web-02', agentWith({ results: [done] }));
    const caller = { username: 'ann', token: 't', sourceIp: '192.0.2.9' };
    const { reqid } = value(await dispatcher.submit({ ...order, caller }));
    const hook = memoryAuthHook(() => ({ kind: 'exited', code: 1 }));
    const over = dispatcherOver(withPorts(control, { hook }));
    const asking = { caller: { username: 'bob', token: 'u' } };
    for (const outcome of [
      await over.status(reqid, asking),
      await over.wait(reqid, asking),
      await over.cancel(reqid, asking),
    ])
      expect(failure(outcome).code).toBe('denied');
    const told = { script: 'job', hosts: order.hosts, args: [], username: 'bob', token: 'u' };
    const run = { reqid, submitter: 'ann', submitterIp: '192.0.2.9' };
    expect(hook.asked).toMatchObject(
      ['status', 'status', 'cancel'].map((action) => ({ action, ...told, run })),
    );
    expect(paths(one)).toEqual(['/run']);
  });

  it('a run is also found by 8 digits or more that only it begins with', async () => {
    for (const name of order.hosts) await agent(name, agentWith({ results: [done] }));
    const { reqid } = await submitted();
    const { runStore } = control.context;
    const prefix = reqid.slice(0, 8).toUpperCase();
    expect(value(await control.dispatcher.status(prefix)).reqid).toBe(reqid);
    expect(value(await control.dispatcher.cancel(prefix)).reqid).toBe(reqid);
    expect(failure(await control.dispatcher.status(reqid.slice(0, 7)))).toMatchObject({
      code: 'run_unknown',
    });
    const another = `${reqid.slice(0, 15)}x`;
    const matches = [reqid, another];
    const find: typeof runStore.find = (id) =>
      id === another
        ? runStore.find(reqid).map((record) => record && { ...record, reqid: another, username: 'bob' })
        : runStore.find(id);
    const both = { ...runStore, find, idsWith: () => okAsync(matches) };
    const over = dispatcherOver(withPorts(control, { runStore: both }));
    for (const outcome of [await over.status(prefix), await over.wait(prefix), await over.retry(prefix)])
      expect(failure(outcome)).toMatchObject({
        code: 'id_ambiguous',
        message: `${prefix.toLowerCase()} names 2 runs: give more digits`,
        matches,
      });
    expect(value(await over.status(reqid)).reqid).toBe(reqid);
    const ofBob = memoryAuthHook(({ run }) => ({
      kind: 'exited',
      code: run?.submitter === 'bob' ? 0 : 3,
    }));
    const asBob = dispatcherOver(withPorts(control, { runStore: both, hook: ofBob }));
    expect(value(await asBob.status(prefix)).reqid).toBe(another);
    const ofNobody = memoryAuthHook(() => ({ kind: 'exited', code: 3 }));
    const asNobody = dispatcherOver(withPorts(control, { runStore: both, hook: ofNobody }));
    expect(failure(await asNobody.status(prefix)).code).toBe('denied');
  });

  it('of an unknown id is an error that asks nobody', async () => {
    const hook = memoryAuthHook(() => ({ kind: 'none' }));
    const over = dispatcherOver(withPorts(control, { hook }));
    const unknown = '0'.repeat(16);
    for (const outcome of [await over.status(unknown), await over.wait(unknown), await over.cancel(unknown)])
      expect(failure(outcome)).toMatchObject({ code: 'run_unknown', id: unknown });
    const odd = failure(await over.status('a/../b'));
    expect(odd.code).toBe('invalid_argument');
    expect(hook.asked).toEqual([]);
  });
});

describe('waiting for a run', () => {
  it('ends when every host has, tells each end once, and judges them all', async () => {
    await agent('web-01', agentWith({ results: [done] }));
    await agent('web-02', agentWith({ results: [running, running, { ...done, exit: 1 }] }));
    const { reqid } = await submitted();
    const told: string[] = [];
    const waited = await fleet.settle(dispatcher.wait(reqid, { onResult: ({ host }) => told.push(host) }));
    expect(value(waited)).toMatchObject({ outcome: 'failed', status: { complete: true } });
    expect(told).toEqual(['web-01', 'web-02']);
  });

  it('asks less and less often', async () => {
    await agent('web-01', agentWith({ results: [done] }));
    const asked: number[] = [];
    await agent('web-02', (request) => {
      if (request.path === '/v2/settle') asked.push(fleet.clock.monotonic());
      return agentWith({ results: [running] })(request);
    });
    const { reqid } = await submitted();
    const waited = await fleet.settle(dispatcher.wait(reqid, { timeout: 120 }), 100);
    expect(value(waited)).toMatchObject({ outcome: 'timed-out', status: { pending: ['web-02'] } });
    const gaps = asked.slice(1).map((time, index) => time - (asked[index] ?? 0));
    expect(gaps.slice(0, 3)).toEqual([500, 750, 1125]);
    expect(Math.max(...gaps)).toBe(10_000);
    expect(asked.length).toBeLessThan(25);
  });

  it('asks again where an agent could not be asked, and may be given up', async () => {
    await agent('web-01', agentWith({ results: [done] }));
    const two = await agent('web-02', agentWith({ results: [done] }));
    const { reqid } = await submitted();
    await two.listening.close(0);
    const stop = new AbortController();
    const waiting = dispatcher.wait(reqid, { signal: stop.signal });
    await fleet.clock.advance(5_000);
    stop.abort();
    expect(failure(await fleet.settle(waiting)).code).toBe('aborted');
    await agent('web-02', agentWith({ results: [done] }), { registered: false, issued: two.issued });
    const waited = await fleet.settle(dispatcher.wait(reqid));
    expect(value(waited).outcome).toBe('fine');
  });

  it('never asks a legacy agent twice within 10 seconds, and does not ask it to stop', async () => {
    await start('allow_legacy_agents = *');
    await agent('web-01', agentWith({ results: [running] }));
    const asked: number[] = [];
    const legacy = agentWith({ results: [running] });
    const { context } = control;
    const own = value(await context.keyStore.read(['dispatcher-certificate']));
    const { serial } = value(context.crypto.readCertificate(own['dispatcher-certificate'] ?? ''));
    await agent(
      'web-02',
      (request) => {
        if (request.path.startsWith('/result')) asked.push(fleet.clock.monotonic());
        return legacy(request);
      },
      { registered: false, sign: (answer) => answer },
    );
    const endpoint = { host: 'web-02', ip: '192.0.2.9', port: 7443, lookupBy: 'hostname' } as const;
    const standing = newStanding([serial]);
    value(await context.registry.adopt([{ name: 'web-02', endpoint, tags: {}, standing, pairedAt: 1 }]));
    const { reqid, results } = await submitted();
    expect(results).toMatchObject([{ status: 'accepted' }, { status: 'accepted' }]);
    await fleet.settle(dispatcher.wait(reqid, { timeout: 60 }), 100);
    const gaps = asked.slice(1).map((time, index) => time - (asked[index] ?? 0));
    expect(asked.length).toBeGreaterThan(3);
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(10_000);
    expect(value(await dispatcher.cancel(reqid)).results).toMatchObject([
      { host: 'web-01', status: 'cancelling' },
      { host: 'web-02', status: 'error', error: 'not known to legacy agents' },
    ]);
  });
});

describe('stopping a run', () => {
  it.each([
    [jsonAnswer(200, { status: 'cancelling' }), { status: 'cancelling' }],
    [jsonAnswer(409, { status: 'done' }), { status: 'done' }],
    [jsonAnswer(404, { status: 'unknown' }), { status: 'unknown' }],
    [jsonAnswer(404, { error: 'not found' }), { status: 'error', error: 'not known to legacy agents' }],
    [jsonAnswer(200, { status: 'done' }), { status: 'error' }],
    [jsonAnswer(503, { error: 'busy' }), { status: 'error', error: expect.stringContaining('busy') }],
  ])('reports what each agent says', async (answer, expected) => {
    await agent('web-01', agentWith());
    const two = await agent('web-02', (request) =>
      request.path === '/v2/cancel' ? answer : agentWith()(request),
    );
    const { reqid } = await submitted();
    const { results } = value(await dispatcher.cancel(reqid));
    expect(results).toMatchObject([{ host: 'web-01', status: 'cancelling' }, expected]);
    expect(two.seen.at(-1)?.body).toEqual({ reqid });
  });

  it('asks only the hosts that are named, and no others than those of the run', async () => {
    const one = await agent('web-01', agentWith());
    const two = await agent('web-02', agentWith());
    const { reqid } = await submitted();
    const { results } = value(await dispatcher.cancel(reqid, { hosts: ['WEB-02'] }));
    expect(results).toMatchObject([{ host: 'web-02', status: 'cancelling' }]);
    const refused = failure(await dispatcher.cancel(reqid, { hosts: ['web-01', 'web-09'] }));
    expect(refused).toMatchObject({ code: 'invalid_argument', field: 'hosts' });
    expect([paths(one), paths(two)]).toEqual([['/run'], ['/run', '/v2/cancel']]);
  });
});
