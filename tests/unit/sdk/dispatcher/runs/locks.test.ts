import { errAsync } from 'neverthrow';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { actionRunner } from '../../../../../src/adapters/in-process/runner.js';
import { memoryJobs } from '../../../../../src/adapters/memory/jobs.js';
import { memoryRunStore, runTable } from '../../../../../src/adapters/memory/run-store.js';
import { status } from '../../../../../src/apps/cli/commands/async.js';
import { failure as errorOf } from '../../../../../src/domain/core/errors.js';
import { jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import { knownFor, mayBeLearnt } from '../../../../../src/domain/runs/host-result.js';
import { serve } from '../../../../../src/sdk/agent/serve.js';
import type { DispatcherContext } from '../../../../../src/sdk/dispatcher/context.js';
import { type RunRequest, run } from '../../../../../src/sdk/dispatcher/runs/run.js';
import { failure, value } from '../../../../contract/result.js';
import {
  endingOnce,
  holdLock,
  locksOf,
  otherRun,
  type Said,
  settling,
} from '../../../../support/fleet/begun-runs.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import {
  type Answering,
  dispatcherOver,
  enrol,
  scriptedAgent,
  withPorts,
} from '../../../../support/fleet/memory-agents.js';
import {
  identifiedFleet,
  type MemoryFleet,
  type TestDispatcher,
} from '../../../../support/fleet/memory-fleet.js';
import { deferred } from '../../../../support/network/network.js';
import { printed } from '../../../apps/cli/printed.js';

let fleet: MemoryFleet;
let control: TestDispatcher;

beforeEach(async () => {
  ({ fleet, control } = await identifiedFleet('read_timeout = 60'));
});

const success: Answering = ({ body }) =>
  jsonAnswer(200, { script: body['script'], exit: 0, stdout: 'done\n', stderr: '', reqid: body['reqid'] });

const order = { hosts: ['web-01'], script: 'greet' };
const both = { hosts: ['web-01', 'web-02'], script: 'greet' };
const greet = async (context = control.context, request: RunRequest = order) =>
  value(await run(context, request)).results;
const held = () => locksOf(control);
const named = (hosts: readonly string[]) => hosts.map((host) => ({ host }));
const recordOf = async (reqid: string | undefined) => value(await control.context.runStore.find(reqid ?? ''));

const storeDown = errorOf('store_failed', 'disk full', { operation: 'write', reason: 'SQLITE_FULL' });

const late = errorOf('timed_out', 'no answer', { phase: 'answer', timeoutMs: 60_000 });
/** The next run is sent and gets no answer in time. */
const silentOnce = () => endingOnce(control.context, late);

describe('locks', () => {
  it('of all hosts are held while agents are asked, and free when the run has ended', async () => {
    const during: unknown[] = [];
    const watch: Answering = async (request) => {
      during.push(await held());
      return success(request);
    };
    await scriptedAgent(fleet, control, 'web-01', watch);
    await scriptedAgent(fleet, control, 'web-02', watch);
    const [{ reqid } = { reqid: '' }] = await greet(control.context, both);
    expect(during).toEqual([
      ['web-01:greet', 'web-02:greet'],
      ['web-01:greet', 'web-02:greet'],
    ]);
    expect(await held()).toEqual([]);
    const record = await recordOf(reqid);
    expect(record).toMatchObject({ reqid, script: 'greet', underWay: false });
    expect(record?.completedAt).toBeDefined();
  });

  it('of each host are free soon after it has ended, while others still run', async () => {
    const slow = deferred();
    await scriptedAgent(fleet, control, 'web-01', success);
    await scriptedAgent(fleet, control, 'web-02', async (request) => {
      await slow.promise;
      return success(request);
    });
    const first = deferred();
    const running = run(control.context, { ...both, onResult: () => first.resolve() });
    await first.promise;
    await fleet.clock.advance(300);
    expect(await held()).toEqual(['web-02:greet']);
    expect(await greet()).toMatchObject([{ state: 'succeeded' }]);
    slow.resolve();
    value(await running);
    expect(await held()).toEqual([]);
  });

  it('are one for a host that is named twice, in whatever case', async () => {
    const { seen } = await scriptedAgent(fleet, control, 'web-01', success);
    const results = await greet(control.context, { ...order, hosts: ['web-01', 'Web-01', 'WEB-01'] });
    expect(results.map(({ host }) => host)).toEqual(['web-01']);
    expect(seen.length).toBe(1);
  });

  it('are free after every host has refused, or was not there', async () => {
    await scriptedAgent(fleet, control, 'web-01', () => jsonAnswer(500, { error: 'internal error' }));
    const results = await greet(control.context, { ...order, hosts: ['web-01', 'nowhere.test'] });
    expect(results).toMatchObject([{ state: 'refused' }, { state: 'unreachable' }]);
    expect(await held()).toEqual([]);
  });

  it('are not taken from the run that holds them by one that was refused', async () => {
    await holdLock(control, 'web-01', 'greet');
    const { seen } = await scriptedAgent(fleet, control, 'web-01', settling(success));
    for (const _ of [1, 2]) expect(failure(await run(control.context, order)).code).toBe('locked');
    expect(value(await control.dispatcher.locks())).toMatchObject([{ runId: 'f'.repeat(16) }]);
    expect(seen.map(({ path }) => path)).not.toContain('/run');
  });

  it.each(['purge', 'begin'] as const)(
    'are not taken where the store fails at the %s, and no host is asked',
    async (step) => {
      const { seen } = await scriptedAgent(fleet, control, 'web-01', success);
      const { runStore } = control.context;
      const context = withPorts(control, { runStore: { ...runStore, [step]: () => errAsync(storeDown) } });
      expect(failure(await run(context, order))).toEqual(storeDown);
      expect(seen).toEqual([]);
      expect(await held()).toEqual([]);
    },
  );
});

describe('a lock of a host that may still run', () => {
  const done = { status: 'done', exit: 3, stdout: 'late', stderr: '' };
  const agent = (said: Said) => scriptedAgent(fleet, control, 'web-01', settling(success, said));

  it('is kept, refuses another run, and makes way once its agent says that it has ended', async () => {
    let said: object = { status: 'running' };
    const web = await agent(() => said);
    const context = silentOnce();
    const [first] = await greet(context);
    expect(first).toMatchObject({ state: 'running', error: 'read timeout after 60s' });
    expect(await held()).toEqual(['web-01:greet']);
    expect(failure(await run(context, order))).toMatchObject({
      code: 'locked',
      conflicts: [{ host: 'web-01', script: 'greet', runId: first?.reqid }],
    });
    said = done;
    expect(await greet(context)).toMatchObject([{ state: 'succeeded' }]);
    expect((await recordOf(first?.reqid))?.results).toMatchObject([{ state: 'failed', exit: 3 }]);
    expect(web.seen.filter(({ path }) => path === '/run')).toHaveLength(1);
    expect(await held()).toEqual([]);
  });

  it.each([
    [61_000, 'unreachable', 'timed_out'],
    [0, 'unknown', 'forgotten'],
  ])(
    'is free once its agent never begins it; complete since %i ms before: %s',
    async (before, state, code) => {
      await agent(() => ({ status: 'void', complete_since: fleet.clock.now() - before }));
      const [result] = await greet(silentOnce());
      expect(result).toMatchObject({ state, failure: { code }, settledAt: fleet.clock.now() });
      expect(await held()).toEqual([]);
    },
  );

  it('is kept where an abort was all that ended the wait, for each host as its agent says', async () => {
    const stop = new AbortController();
    const forever: Answering = () => new Promise(() => setTimeout(() => stop.abort(), 0));
    const running = { status: 'running' };
    const never = () => ({ status: 'void', complete_since: fleet.clock.now() - 61_000 });
    await scriptedAgent(
      fleet,
      control,
      'web-01',
      settling(forever, () => running),
    );
    await scriptedAgent(fleet, control, 'web-02', settling(forever, never));
    const results = await greet(control.context, { ...both, signal: stop.signal });
    expect(results).toMatchObject([
      { host: 'web-01', state: 'running', exit: -1, failure: { code: 'aborted' } },
      { host: 'web-02', state: 'skipped', exit: -1, failure: { code: 'skipped' } },
    ]);
    expect(await held()).toEqual(['web-01:greet']);
  });

  it('is kept where its agent cannot be asked, and begins nothing', async () => {
    const web = await agent(() => ({ status: 'running' }));
    await greet(silentOnce());
    await web.listening.close(0);
    expect(failure(await run(control.context, order))).toMatchObject({ code: 'locked' });
    expect(await held()).toEqual(['web-01:greet']);
  });

  it('is looked at where 64 hosts are in the way, and not where there are more', async () => {
    const hosts = ['web-01', ...Array.from({ length: 64 }, (_, index) => `gone-${index}`)];
    const web = await agent(() => done);
    const start = { reqid: 'a'.repeat(16), startedAt: fleet.clock.now(), hosts: named(hosts) };
    const { runStore, clock } = control.context;
    value(await runStore.begin(otherRun('', 'greet', start), clock.now()));
    value(await runStore.settle(start.reqid, [], clock.now(), 'left'));
    expect(failure(await run(control.context, { ...order, hosts })).code).toBe('locked');
    expect(web.seen).toEqual([]);
    expect(failure(await run(control.context, { ...order, hosts: hosts.slice(0, 64) }))).toMatchObject({
      code: 'locked',
      conflicts: named(hosts.slice(1, 64).toSorted()),
    });
    expect(web.seen.map(({ path }) => path)).toContain('/v2/settle');
    expect(await greet()).toMatchObject([{ state: 'succeeded' }]);
  });

  it('of a legacy agent stays until somebody releases it, or a day has passed', async () => {
    ({ fleet, control } = await identifiedFleet('allow_legacy_agents = *'));
    const web = await scriptedAgent(fleet, control, 'web-01', settling(success), {
      sign: (answer) => answer,
    });
    const { registry, clock } = control.context;
    const { endpoint, pins, standing } = value(await registry.find('web-01')) ?? {};
    const pin = pins?.[0];
    if (!endpoint || !pin || !standing) throw new Error('not registered');
    const legacy = { ...standing, speaks: 'unsigned' } as const;
    const paired = { pairing: 'v2', replace: true, at: clock.now() } as const;
    value(await registry.enrol({ name: 'web-01', endpoint, pin, standing: legacy, ...paired }));
    value(await registry.activate('web-01', pin.spkiSha256));
    const [result] = await greet(silentOnce());
    expect(result).toMatchObject({
      state: 'unknown',
      error: 'read timeout after 60s',
      failure: { code: 'forgotten', message: expect.stringContaining('a legacy agent keeps no record') },
    });
    expect((await recordOf(result?.reqid))?.results.map(mayBeLearnt)).toEqual([false]);
    const asked = await printed(() => status(control.dispatcher, result?.reqid ?? '', {}));
    expect(asked).toMatchObject({ value: 1, stdout: expect.stringContaining('UNKNOWN') });
    expect(web.seen).toEqual([]);
    expect(failure(await run(control.context, order)).code).toBe('locked');
    expect(value(await control.dispatcher.releaseLock({ host: 'WEB-01', script: 'greet' }))).toMatchObject([
      { host: 'web-01', runId: result?.reqid },
    ]);
    expect(eventsOf(control.events, 'lock-released')).toHaveLength(1);
    expect(await greet(silentOnce())).toMatchObject([{ state: 'unknown' }]);
    await fleet.clock.advance(knownFor + 1);
    expect(await held()).toEqual([]);
  });

  it.each(['unpair', 'revoke'] as const)('is free after %s of its agent', async (way) => {
    await agent(() => ({ status: 'running' }));
    const [result] = await greet(silentOnce());
    expect(await held()).toEqual(['web-01:greet']);
    const { dispatcher } = control;
    const gone = way === 'unpair' ? dispatcher.unpair('web-01') : dispatcher.revoke('web-01');
    expect(await fleet.settle(gone.map(() => way))).toMatchObject({ value: way });
    expect(await held()).toEqual([]);
    expect((await recordOf(result?.reqid))?.results).toMatchObject([
      { state: 'unknown', settledAt: expect.any(Number) },
    ]);
  });

  it('that nobody holds cannot be released', async () => {
    await holdLock(control, 'web-01', 'greet');
    for (const lock of [
      { host: 'web-01', script: 'other' },
      { host: 'web-02', script: 'greet' },
    ])
      expect(failure(await control.dispatcher.releaseLock(lock))).toMatchObject({ code: 'invalid_argument' });
    expect(await held()).toEqual(['web-01:greet']);
  });
});

describe('a store that fails at the end', () => {
  it('takes no result away, the log and a warning say so, and the next run asks the agent', async () => {
    const done = { status: 'done', exit: 0, stdout: '', stderr: '' };
    await scriptedAgent(
      fleet,
      control,
      'web-01',
      settling(success, () => done),
    );
    const table = runTable();
    const broken = memoryRunStore(table);
    const context = withPorts(control, { runStore: { ...broken, settle: () => errAsync(storeDown) } });
    const { reqid, results, warnings } = value(await run(context, order));
    expect(results).toMatchObject([{ exit: 0, stdout: 'done\n' }]);
    expect(warnings).toEqual(['disk full']);
    expect(eventsOf(control.events, 'record-failed')).toEqual([
      { action: 'record-failed', level: 'error', fields: { reqid, reason: 'disk full' } },
    ]);
    broken.die();
    const next = withPorts(control, { runStore: memoryRunStore(table) });
    expect(await greet(next)).toMatchObject([{ state: 'succeeded' }]);
    expect(value(await next.runStore.find(reqid))?.results).toMatchObject([{ state: 'succeeded' }]);
  });
});

describe('a port that throws, which is a bug and is thrown on', () => {
  const thrown = new Error('a bug of an adapter');
  /** Throws the first time, and then does its work. */
  const once = <A extends unknown[], R>(call: (...args: A) => R): ((...args: A) => R) => {
    let first = true;
    return (...args) => {
      if (!first) return call(...args);
      first = false;
      throw thrown;
    };
  };
  const throwing: readonly [string, (context: DispatcherContext) => Partial<DispatcherContext>][] = [
    ['channel.connect', ({ channel }) => ({ channel: { ...channel, connect: once(channel.connect) } })],
    ...(['purge', 'begin', 'settle'] as const).map((call): (typeof throwing)[number] => [
      `runStore.${call}`,
      ({ runStore }) => ({ runStore: { ...runStore, [call]: once(runStore[call] as () => unknown) } }),
    ]),
  ];
  const done = { status: 'done', exit: 0, stdout: '', stderr: '' };
  it.each(throwing)('leaves nothing that the next run cannot get past: %s', async (_port, portsOf) => {
    for (const name of both.hosts)
      await scriptedAgent(
        fleet,
        control,
        name,
        settling(success, () => done),
      );
    const context = withPorts(control, portsOf(control.context));
    await expect(Promise.resolve(run(context, both))).rejects.toBe(thrown);
    expect(await greet(context, both)).toMatchObject([{ state: 'succeeded' }, { state: 'succeeded' }]);
    expect(await held()).toEqual([]);
  });

  it('while others still run is told at the end of the run, and nothing else of the process is struck', async () => {
    const slow = deferred();
    await scriptedAgent(fleet, control, 'web-01', success);
    await scriptedAgent(fleet, control, 'web-02', async (request) => {
      await slow.promise;
      return success(request);
    });
    const unhandled: unknown[] = [];
    const note = (error: unknown) => void unhandled.push(error);
    process.on('unhandledRejection', note);
    const { runStore } = control.context;
    const context = withPorts(control, { runStore: { ...runStore, settle: once(runStore.settle) } });
    const first = deferred();
    const running = run(context, { ...both, onResult: () => first.resolve() });
    await first.promise;
    await fleet.clock.advance(300);
    await new Promise((resolve) => setTimeout(resolve, 5));
    slow.resolve();
    await expect(Promise.resolve(running)).rejects.toBe(thrown);
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
  });

  it('in the log spoils nothing', async () => {
    await scriptedAgent(fleet, control, 'web-01', success);
    const { events } = control;
    const dispatcher = dispatcherOver(withPorts(control, { events: { emit: once(events.emit) } }));
    for (const _ of [1, 2])
      expect(value(await dispatcher.run(order)).results).toMatchObject([{ state: 'succeeded' }]);
    expect(await held()).toEqual([]);
  });

  it('or a listener: no host is left under way, and all locks are free', async () => {
    const slow = deferred();
    let underWay = 0;
    await scriptedAgent(fleet, control, 'web-01', success);
    await scriptedAgent(fleet, control, 'web-02', async (request) => {
      underWay += 1;
      await slow.promise;
      underWay -= 1;
      return success(request);
    });
    const told: string[] = [];
    const outcome = run(control.context, {
      ...both,
      onResult: ({ host }) => {
        told.push(host);
        if (host !== 'web-01') return;
        setTimeout(slow.resolve, 0);
        throw thrown;
      },
    });
    let underWayAtTheEnd = -1;
    const rejected = await Promise.resolve(outcome).catch((error: unknown) => {
      underWayAtTheEnd = underWay;
      return error;
    });
    expect(rejected).toBe(thrown);
    expect(await held()).toEqual([]);
    expect(underWayAtTheEnd).toBe(0);
    expect(told).toEqual(['web-01', 'web-02']);
    const [started] = eventsOf(control.events, 'run');
    expect((await recordOf(started?.fields.reqid))?.results.map(({ exit }) => exit)).toEqual([0, 0]);
  });
});

it('an agent whose action allows three at a time runs three at once, and the fourth is locked', async () => {
  const agent = fleet.agent('web-01');
  await enrol(control, agent, 'web-01');
  const gates: { resolve(): void }[] = [];
  const job = () => {
    const gate = deferred();
    gates.push(gate);
    return gate.promise;
  };
  const functions = { job: { run: job, concurrency: 3 } };
  const runner = actionRunner({ actions: functions, events: agent.events, killAfter: 50 });
  const actions = { functions, runner, jobs: () => memoryJobs({ runner }) };
  value(await serve({ ...agent.context, actions }));
  const begin = () => run(control.context, { hosts: ['web-01'], script: 'job' });
  const three = [begin(), begin(), begin()];
  await vi.waitFor(() => expect(gates).toHaveLength(3));
  expect(await held()).toEqual(Array(3).fill('web-01:job'));
  const locked = failure(await begin());
  expect(locked.code === 'locked' && locked.conflicts).toHaveLength(3);
  gates[0]?.resolve();
  await Promise.race(three);
  const fourth = begin();
  await vi.waitFor(() => expect(gates).toHaveLength(4));
  for (const gate of gates) gate.resolve();
  for (const each of [...three, fourth])
    expect(value(await each).results).toMatchObject([{ state: 'succeeded' }]);
  expect(await held()).toEqual([]);
});
