import { errAsync } from 'neverthrow';
import { beforeEach, describe, expect, it } from 'vitest';
import { memoryAuthHook } from '../../../../../src/adapters/memory/auth-hook.js';
import { failure as errorOf } from '../../../../../src/domain/core/errors.js';
import { jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import { run } from '../../../../../src/sdk/dispatcher/runs/run.js';
import { failure, value } from '../../../../contract/result.js';
import { holdLock, locksOf, settling } from '../../../../support/fleet/begun-runs.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import { type Answering, enrol, scriptedAgent, withPorts } from '../../../../support/fleet/memory-agents.js';
import {
  identifiedFleet,
  identify,
  type MemoryFleet,
  memoryFleet,
  type TestDispatcher,
} from '../../../../support/fleet/memory-fleet.js';
import { interposed } from '../../../../support/network/interposed.js';
import { deferred } from '../../../../support/network/network.js';

let fleet: MemoryFleet;
let control: TestDispatcher;

beforeEach(async () => {
  ({ fleet, control } = await identifiedFleet());
});

const success: Answering = ({ body }) =>
  jsonAnswer(200, { script: body['script'], exit: 0, stdout: 'done\n', stderr: '', reqid: body['reqid'] });

/** The context with a note of every step that matters to the order. */
function noting() {
  const steps: string[] = [];
  const { channel, hook, runStore } = control.context;
  const note =
    <A extends unknown[], R>(step: string, call: (...args: A) => R) =>
    (...args: A): R => {
      steps.push(step);
      return call(...args);
    };
  const context = withPorts(control, {
    hook: { ask: note('hook', hook.ask) },
    runStore: {
      ...runStore,
      begin: note('begin', runStore.begin),
      settle: note('settle', runStore.settle),
    },
    channel: { ...channel, connect: note('contact', channel.connect) },
  });
  return { context, steps };
}

describe('the order of a run', () => {
  it('is hook, record with its locks, contact, record of what became of it', async () => {
    await scriptedAgent(fleet, control, 'web-01', success);
    const { context, steps } = noting();
    value(await run(context, { hosts: ['web-01'], script: 'greet' }));
    expect(steps).toEqual(['hook', 'begin', 'contact', 'settle']);
  });

  it.each([
    ['no host', { hosts: [], script: 'greet' }, 'hosts'],
    ['a script name with a control character', { hosts: ['web-01'], script: 'a\u001b[2J' }, 'script'],
    ['a script name with a NUL', { hosts: ['web-01'], script: 'a\0' }, 'script'],
    ['a script name of 256 characters', { hosts: ['web-01'], script: 'x'.repeat(256) }, 'script'],
    ['an empty script name', { hosts: ['web-01'], script: '' }, 'script'],
    ['a NUL in an argument', { hosts: ['web-01'], script: 'greet', args: ['a\0b'] }, 'args'],
    ['an argument that is a number', { hosts: ['web-01'], script: 'greet', args: [1 as never] }, 'args'],
    ['arguments that are no list', { hosts: ['web-01'], script: 'greet', args: 'x' as never }, 'args'],
    ['an option in place of a host', { hosts: ['web-01', '--help'], script: 'greet' }, 'host'],
    ['a host with white space', { hosts: ['web 01'], script: 'greet' }, 'host'],
    ['a port out of range', { hosts: ['web-01:70000'], script: 'greet' }, 'host'],
  ])('%s asks no hook and takes no lock', async (_what, request, field) => {
    const { context, steps } = noting();
    const refused = failure(await run(context, request));
    expect(refused).toMatchObject({ code: 'invalid_argument', field });
    expect(steps).toEqual([]);
  });

  it.each([
    [{ kind: 'exited', code: 1 }, 'denied', 1],
    [{ kind: 'exited', code: 2 }, 'bad credentials', 2],
    [{ kind: 'exited', code: 3 }, 'insufficient privilege', 3],
    [{ kind: 'exited', code: 4 }, 'hook exited 4', undefined],
    [{ kind: 'exited', code: 255 }, 'hook exited 255', undefined],
    [{ kind: 'signalled', signal: 'SIGKILL' }, 'hook killed by SIGKILL', undefined],
    [{ kind: 'timed-out', seconds: 10 }, 'hook timed out after 10 s', undefined],
    [{ kind: 'not-run', reason: 'ENOENT' }, 'hook could not be executed: ENOENT', undefined],
  ] as const)('a hook that ends as %j stops it before any lock', async (outcome, reason, hookCode) => {
    const { seen } = await scriptedAgent(fleet, control, 'web-01', success);
    const { context, steps } = noting();
    control.hook = outcome;
    const refused = failure(await run(context, { hosts: ['web-01'], script: 'greet' }));
    expect(refused).toEqual(errorOf('denied', reason, { who: 'hook', reason, hookCode }));
    expect(steps).toEqual(['hook']);
    expect(seen).toEqual([]);
  });

  it('a lock that somebody holds stops it before anything is run, and takes no other lock', async () => {
    const agents = [
      await scriptedAgent(fleet, control, 'web-01', settling(success)),
      await scriptedAgent(fleet, control, 'web-02', settling(success)),
    ];
    await holdLock(control, 'web-02', 'greet');
    const refused = await run(control.context, { hosts: ['web-01', 'web-02'], script: 'greet' });
    expect(failure(refused)).toMatchObject({
      code: 'locked',
      conflicts: [{ host: 'web-02', script: 'greet', runId: 'f'.repeat(16) }],
      message: 'already running: web-02:greet',
    });
    // The agent that is in the way may allow more than one at a time.
    expect(agents.map(({ seen }) => seen.map(({ path }) => path))).toEqual([[], ['/capabilities']]);
    expect(await locksOf(control)).toEqual(['web-02:greet']);
  });

  it('another script on the same host is not in its way', async () => {
    await scriptedAgent(fleet, control, 'web-01', success);
    await holdLock(control, 'web-01', 'other');
    value(await run(control.context, { hosts: ['web-01'], script: 'greet' }));
  });

  it('without an identity nobody is contacted and no lock is taken', async () => {
    const bare = memoryFleet().dispatcher();
    const refused = await run(bare.context, { hosts: ['web-01'], script: 'greet' });
    expect(failure(refused).code).toBe('ca_missing');
    expect(await locksOf(bare)).toEqual([]);
  });

  it('where no hook is configured, the caller decides what that means', async () => {
    await scriptedAgent(fleet, control, 'web-01', success);
    const request = { hosts: ['web-01'], script: 'greet' };
    const denied = await run(control.context, { ...request, withoutHook: 'deny' });
    expect(failure(denied)).toMatchObject({ code: 'denied', reason: 'denied' });
    expect((await run(control.context, { ...request, withoutHook: 'allow' })).isOk()).toBe(true);
  });
});

describe('what the hook is told', () => {
  it('is the run as asked for, with the caller and the time in whole seconds', async () => {
    await scriptedAgent(fleet, control, 'web-01', success);
    const hook = memoryAuthHook(() => ({ kind: 'exited', code: 0 }));
    await run(withPorts(control, { hook }), {
      hosts: ['web-01'],
      script: 'greet',
      args: ['--db', 'a b'],
      caller: { username: 'alice', token: 't0ken', sourceIp: '2001:db8::7' },
    });
    expect(hook.asked).toEqual([
      {
        action: 'run',
        script: 'greet',
        hosts: ['web-01'],
        args: ['--db', 'a b'],
        username: 'alice',
        token: 't0ken',
        sourceIp: '2001:db8::7',
        timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      },
    ]);
  });

  it('names a registered host as it is registered, however it was written', async () => {
    await scriptedAgent(fleet, control, 'web-01', success);
    const hook = memoryAuthHook(() => ({ kind: 'exited', code: 1 }));
    await run(withPorts(control, { hook }), { hosts: ['WEB-01', 'web-01'], script: 'greet' });
    expect(hook.asked.map(({ hosts }) => hosts)).toEqual([['web-01']]);
  });

  it('never reaches the log as far as the token is concerned', async () => {
    await scriptedAgent(fleet, control, 'web-01', () => jsonAnswer(200, { exit: 1, stdout: 'printed' }));
    const request = { hosts: ['web-01'], script: 'greet', caller: { username: 'alice', token: 's3cret' } };
    await run(control.context, request);
    control.hook = { kind: 'exited', code: 2 };
    await run(control.context, request);
    const log = JSON.stringify(control.events.events);
    expect(log).toContain('alice');
    expect(log).not.toContain('s3cret');
    expect(log).not.toContain('printed');
    const denied = control.events.events.at(-1);
    expect(denied).toMatchObject({ action: 'denied', fields: { request: 'run', reason: 'bad credentials' } });
  });
});

describe('what an agent is sent', () => {
  it('is script, arguments, reqid, username and token', async () => {
    const { seen } = await scriptedAgent(fleet, control, 'web-01', success);
    const args = ['', '-x', 'ü\n"', '\u0001'];
    const caller = { username: 'alice', token: 't' };
    const { reqid } = value(await run(control.context, { hosts: ['web-01'], script: 'greet', args, caller }));
    expect(reqid).toMatch(/^[0-9a-f]{16}$/);
    expect(seen).toMatchObject([
      {
        method: 'POST',
        path: '/run',
        body: { script: 'greet', args, reqid, username: 'alice', token: 't' },
      },
    ]);
  });

  it('has a reqid that is the same for all hosts and another for each run', async () => {
    const agents = [
      await scriptedAgent(fleet, control, 'web-01', success),
      await scriptedAgent(fleet, control, 'web-02', success),
    ];
    const request = { hosts: ['web-01', 'web-02'], script: 'greet' };
    for (const _ of [1, 2]) value(await run(control.context, request));
    const ids = agents.map(({ seen }) => seen.map(({ body }) => body['reqid']));
    expect(ids[0]).toEqual(ids[1]);
    expect(new Set(ids[0]).size).toBe(2);
  });
});

describe('results', () => {
  it('come in the order of the request, and are told in the order of arrival', async () => {
    const second = deferred();
    await scriptedAgent(fleet, control, 'web-01', async (request) => {
      await second.promise;
      return success(request);
    });
    await scriptedAgent(fleet, control, 'web-02', success);
    const told: string[] = [];
    const { results } = value(
      await run(control.context, {
        hosts: ['web-01', 'web-02'],
        script: 'greet',
        onResult: ({ host }) => {
          told.push(host);
          second.resolve();
        },
      }),
    );
    expect(told).toEqual(['web-02', 'web-01']);
    expect(results.map(({ host }) => host)).toEqual(['web-01', 'web-02']);
  });

  it('of a host that fails spoil nothing', async () => {
    await scriptedAgent(fleet, control, 'web-01', success);
    await scriptedAgent(fleet, control, 'web-03', ({ body }) =>
      jsonAnswer(200, { exit: 3, stdout: '', stderr: 'broken', reqid: body['reqid'] }),
    );
    const { results } = value(
      await run(control.context, { hosts: ['web-01', 'nowhere.test', 'web-03'], script: 'greet' }),
    );
    expect(results).toMatchObject([
      { host: 'web-01', exit: 0, stdout: 'done\n' },
      { host: 'nowhere.test', exit: -1, error: expect.stringContaining('nowhere.test') },
      { host: 'web-03', exit: 3, stderr: 'broken' },
    ]);
  });

  it('are asked for at most max_parallel hosts at a time', async () => {
    const narrow = fleet.dispatcher('narrow.test', 'max_parallel = 3');
    await identify(narrow);
    let underWay = 0;
    let most = 0;
    const counted: Answering = async (request) => {
      underWay += 1;
      most = Math.max(most, underWay);
      await new Promise((resolve) => setImmediate(resolve));
      underWay -= 1;
      return success(request);
    };
    const hosts = ['a1', 'a2', 'a3', 'a4', 'a5', 'a6', 'a7', 'a8'];
    for (const host of hosts) await scriptedAgent(fleet, narrow, host, counted);
    const { results } = value(await run(narrow.context, { hosts, script: 'greet' }));
    expect(results.every(({ exit }) => exit === 0)).toBe(true);
    expect(most).toBe(3);
  });

  it('of an agent that does not answer in time say so with the time that was waited', async () => {
    await scriptedAgent(fleet, control, 'web-01', settling(success));
    let answerTimeout = 0;
    const channel = interposed(control.context.channel, {
      exchange(_target, request, send) {
        if (request.path !== '/run') return send();
        ({ answerTimeout } = request);
        const late = errorOf('timed_out', 'no answer', { phase: 'answer', timeoutMs: 60_000 });
        return errAsync({ ...late, sent: true });
      },
    });
    const context = withPorts(control, { channel });
    const { results } = value(await run(context, { hosts: ['web-01'], script: 'greet' }));
    expect(answerTimeout).toBe(60_000);
    expect(results).toMatchObject([{ state: 'unknown', exit: -1, error: 'read timeout after 60s' }]);
  });

  it.each([
    ['in a run that is no longer known', errorOf('run_unknown', 'purged', { id: 'x' })],
    ['in a store that fails', errorOf('store_failed', 'disk full', { operation: 'write', reason: 'FULL' })],
  ])('are not lost when they cannot be recorded %s, and the log says so', async (_what, error) => {
    await scriptedAgent(fleet, control, 'web-01', success);
    const { runStore } = control.context;
    const context = withPorts(control, { runStore: { ...runStore, settle: () => errAsync(error) } });
    const outcome = await run(context, { hosts: ['web-01'], script: 'greet' });
    const { reqid, results, warnings } = value(outcome);
    expect(results).toMatchObject([{ exit: 0 }]);
    expect(warnings).toEqual([error.message]);
    expect(eventsOf(control.events, 'record-failed')).toEqual([
      { action: 'record-failed', level: 'error', fields: { reqid, reason: error.message } },
    ]);
  });

  it('from a real agent carry exit, output and the reqid of both logs', async () => {
    const agent = fleet.agent('web-01');
    await enrol(control, agent, 'web-01');
    value(await agent.agent.serve());
    const { reqid, results } = value(
      await run(control.context, { hosts: ['web-01'], script: 'greet', args: ['a', 'b'] }),
    );
    expect(results).toEqual([
      {
        ...{ host: 'web-01', script: 'greet', reqid, state: 'succeeded' },
        ...{ begunAt: fleet.clock.now(), seenAt: fleet.clock.now(), settledAt: fleet.clock.now() },
        ...{ exit: 0, stdout: 'hello a b', stderr: '', rtt: 0 },
      },
    ]);
    const logged = (events: typeof agent.events) =>
      events.events
        .filter(({ fields }) => 'reqid' in fields && fields.reqid === reqid)
        .map(({ action }) => action);
    expect(logged(control.events)).toEqual(['run', 'run-result']);
    expect(logged(agent.events)).toEqual(['run-start', 'run-end']);
  });

  it('are kept under the registered name when the agent claims to be another', async () => {
    await scriptedAgent(fleet, control, 'web-01', ({ body }) =>
      jsonAnswer(200, { host: 'web-02', script: 'other', exit: 0, reqid: body['reqid'] }),
    );
    await scriptedAgent(fleet, control, 'web-02', success);
    const { reqid, results } = value(await run(control.context, { hosts: ['web-01'], script: 'greet' }));
    expect(results).toMatchObject([{ host: 'web-01', script: 'greet', reqid }]);
    const stored = value(await control.context.runStore.find(reqid));
    expect(stored?.results).toMatchObject([{ host: 'web-01', script: 'greet' }]);
  });

  it('say what was cut', async () => {
    await scriptedAgent(fleet, control, 'web-01', ({ body }) =>
      jsonAnswer(200, { exit: 0, stdout: 'head tail', truncated: { stdout: 99 }, reqid: body['reqid'] }),
    );
    const { results } = value(await run(control.context, { hosts: ['web-01'], script: 'greet' }));
    expect(results).toMatchObject([{ truncated: { stdout: 99 } }]);
  });
});
