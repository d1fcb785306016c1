import { describe, expect, it, vi } from 'vitest';
import { memoryJobs } from '../../../../../src/adapters/memory/jobs.js';
import { memoryProcessRunner, processOutcome } from '../../../../../src/adapters/memory/process-runner.js';
import { value } from '../../../../contract/result.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import { gatedProgram } from '../../../../support/fleet/gated-programs.js';
import {
  type AgentOptions,
  dispatcherCredentials,
  servingAgent,
} from '../../../../support/fleet/memory-agents.js';
import { deferred } from '../../../../support/network/network.js';

const trust = 'abc123 control\nabc124 other\n';
const busySync = (reqid: string) => ({
  status: 200,
  json: { script: 'slow', exit: -1, error: 'script already running', reqid, stdout: '', stderr: '' },
});
const busyAsync = (reqid: string) => ({
  status: 409,
  json: { script: 'slow', status: 'busy', error: 'script already running', reqid },
});
const modes = [
  ['sync', {}],
  ['stream', { stream: true }],
  ['async', { async: true }],
] as const;

/** An agent with the scripts `slow` and `slow2`, which end when the test says so. */
async function serving(options: AgentOptions = {}) {
  const gate = gatedProgram();
  const agent = await servingAgent({
    scripts: 'slow = /opt/slow\nslow2 = /opt/slow\n',
    programs: { '/opt/slow': gate.program },
    trust,
    ...options,
  });
  const run = (reqid: string | undefined, more: object = {}, who: object = {}) =>
    agent.ask({ body: { script: 'slow', reqid, ...more }, ...who });
  const follow = async (reqid: string) => {
    const { answer } = await agent.hand(await agent.make({ body: { script: 'slow', reqid, stream: true } }));
    const { stream } = answer;
    if (!stream) throw new Error('not streamed');
    const reading = (async () => {
      for await (const _ of stream);
    })();
    return { reading };
  };
  /** Begins a run in a mode, and ends it. */
  const begin = async (mode: string, reqid: string) => {
    const before = gate.runs.length;
    const done =
      mode === 'stream' ? (await follow(reqid)).reading : run(reqid, mode === 'async' ? { async: true } : {});
    const program = await gate.run(before);
    return async () => {
      program.end();
      await done;
    };
  };
  return { ...agent, ...gate, program: gate.run, run, begin };
}

describe('of one script one run goes on', () => {
  it.each(modes.flatMap(([first]) => modes.map(([second, mode]) => ({ first, second, mode }))))(
    'while a $first one does, a $second one is busy, whoever asks; then the same id may be used',
    async ({ first, second, mode }) => {
      const { run, begin, runs, events, program } = await serving();
      const end = await begin(first, 'one');
      const other = await dispatcherCredentials('abc124', { id: 'other' });
      const expected = second === 'async' ? busyAsync('two') : busySync('two');
      expect(await run('two', mode)).toMatchObject(expected);
      expect((await run('two', mode)).json).toEqual(expected.json);
      expect(await run('two', mode, { as: other })).toMatchObject(expected);
      expect(eventsOf(events, 'run-refused')).toHaveLength(3);
      expect(runs).toHaveLength(1);
      await end();
      const again = run('two', mode === modes[1][1] ? {} : mode);
      (await program(1)).end();
      expect([200, 202]).toContain((await again).status);
      expect(runs).toHaveLength(2);
    },
  );

  it('what was refused as busy is as if it had never been asked for', async () => {
    const { run, begin, ask } = await serving();
    const end = await begin('sync', 'one');
    await run('two');
    expect((await ask({ method: 'GET', path: '/result/two' })).status).toBe(404);
    expect((await ask({ path: '/v2/settle', body: { reqid: 'two' } })).json).toMatchObject({
      status: 'void',
    });
    await end();
  });

  it('others go on beside it, and a repetition is none', async () => {
    const { run, begin, ask, program } = await serving();
    const end = await begin('sync', 'one');
    const elsewhere = ask({ body: { script: 'slow2', reqid: 'two' } });
    (await program(1)).end();
    expect((await elsewhere).json).toMatchObject({ exit: 0 });
    expect(await run('one')).toMatchObject({ status: 409, json: { status: 'running', reqid: 'one' } });
    await end();
    expect((await run('one')).json).toMatchObject({ exit: 0, reqid: 'one' });
  });

  it('of many at once one begins, with or without an id', async () => {
    const { run, runs, program, events } = await serving();
    const asked = [...['a', 'b', 'c'].map((id) => run(id)), run(undefined), run('d', { async: true })];
    await vi.waitFor(() => expect(eventsOf(events, 'run-refused')).toHaveLength(4));
    (await program()).end();
    const told = await Promise.all(asked);
    expect(told.filter(({ json }) => json['error'] === 'script already running')).toHaveLength(4);
    expect(runs).toHaveLength(1);
  });

  it('a job that an agent before has left counts, until it ends', async () => {
    const shelf: AgentOptions['shelf'] = new Map();
    const before = await serving({ shelf });
    const end = await before.begin('async', 'one');
    const after = await serving({ shelf });
    expect(await after.run('two')).toMatchObject(busySync('two'));
    await end();
    const again = after.run('two');
    (await after.program()).end();
    expect((await again).json).toMatchObject({ exit: 0 });
  });

  it('a job that has ended does not count, also where the agent has not noticed yet', async () => {
    const noticed = deferred();
    const gate = gatedProgram();
    const jobs = memoryJobs({ runner: memoryProcessRunner({ '/opt/slow': gate.program }) });
    const late: typeof jobs = {
      ...jobs,
      wait: (key) =>
        jobs.find(key).map(async (job) => {
          await noticed.promise;
          return job;
        }),
    };
    const { run, program } = await serving({ ports: { jobs: () => late } });
    expect((await run('one', { async: true })).status).toBe(202);
    expect(await run('two')).toMatchObject(busySync('two'));
    (await gate.run()).end();
    await vi.waitFor(async () => expect(value(await jobs.running())).toEqual([]));
    const again = run('two');
    (await program()).end();
    expect((await again).json).toMatchObject({ exit: 0 });
    noticed.resolve();
  });

  it('an action that cannot be killed counts until it has ended', async () => {
    const release = deferred();
    const agent = await servingAgent({
      actions: {
        stubborn: async () => {
          await release.promise;
        },
      },
    });
    const told = await agent.ask({ body: { script: 'stubborn', reqid: 'one', timeout: 1 } });
    expect(told.json).toMatchObject({ exit: 126 });
    const again = (reqid: string) => agent.ask({ body: { script: 'stubborn', reqid } });
    expect((await again('two')).json).toMatchObject({ exit: -1, error: 'script already running' });
    release.resolve();
    await vi.waitFor(async () => expect((await again('two')).json).toMatchObject({ exit: 0 }));
  });

  it('a run that failed to begin leaves nothing behind', async () => {
    const { ask } = await servingAgent({ scripts: 'gone = /opt/gone\n' });
    for (const reqid of ['one', 'two'])
      expect((await ask({ body: { script: 'gone', reqid } })).json).toMatchObject({ exit: 126 });
  });
});

describe('legacy dispatchers', () => {
  const legacy = (more = '') => ({ configuration: `accept_legacy_dispatchers = yes\n${more}` });
  const unsigned = { unsigned: true };
  const other = async () => ({ as: await dispatcherCredentials('abc124', { id: 'other' }) });

  it('run a script beside each other and beside others, as they are used to', async () => {
    const { run, program, runs } = await serving(legacy());
    const asked = [run('a', {}, unsigned), run('b', {}, unsigned), run('a', {}, unsigned)];
    for (const index of [0, 1, 2]) await program(index);
    expect(await run('c', {}, await other())).toMatchObject(busySync('c'));
    for (const { end } of runs) end();
    for (const { json } of await Promise.all(asked)) expect(json).toMatchObject({ exit: 0 });
    const signed = run('c', {}, await other());
    await program(3);
    const beside = run('d', {}, unsigned);
    (await program(4)).end();
    expect((await beside).json).toMatchObject({ exit: 0 });
    expect((await run('e', { async: true }, unsigned)).status).toBe(202);
    expect(await run('f', { async: true }, unsigned)).toMatchObject(busyAsync('f'));
    for (const { end } of runs) end();
    await signed;
  });

  it('are refused like others with legacy_concurrency off', async () => {
    const { run, program } = await serving(legacy('legacy_concurrency = off\n'));
    const asked = run('a', {}, unsigned);
    const { end } = await program();
    expect(await run('b', {}, unsigned)).toMatchObject(busySync('b'));
    expect(await run('b', { async: true }, unsigned)).toMatchObject(busyAsync('b'));
    end(processOutcome(0));
    expect((await asked).json).toMatchObject({ exit: 0 });
  });
});
