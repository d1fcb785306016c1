import { errAsync, okAsync } from 'neverthrow';
import { describe, expect, it, vi } from 'vitest';
import { memoryJobs } from '../../../../../src/adapters/memory/jobs.js';
import { memoryProcessRunner, processOutcome } from '../../../../../src/adapters/memory/process-runner.js';
import { memoryRunJournal } from '../../../../../src/adapters/memory/run-journal.js';
import { failure } from '../../../../../src/domain/core/errors.js';
import { maxLegacyAnswer } from '../../../../../src/domain/legacy/answer.js';
import { value } from '../../../../contract/result.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import { gatedProgram } from '../../../../support/fleet/gated-programs.js';
import {
  type AgentOptions,
  dispatcherCredentials,
  servingAgent,
} from '../../../../support/fleet/memory-agents.js';

const reqid = 'a3f9b2c100010002';
const twoDispatchers = { trust: 'abc123 control\nabc124 other\n' };

/** An agent with the scripts `slow` and `slow2`, which end when the test says so, and `greet`. */
async function serving(options: AgentOptions = {}) {
  const gate = gatedProgram();
  const agent = await servingAgent({
    scripts: 'greet = /opt/greet\nslow = /opt/slow\nslow2 = /opt/slow2\n',
    programs: {
      '/opt/greet': () => processOutcome(0, 'hello', ''),
      '/opt/slow': gate.program,
      '/opt/slow2': gate.program,
    },
    ...options,
  });
  const other = await dispatcherCredentials('abc124', { id: 'other' });
  const submit = (id = reqid, script = 'slow', more: object = {}) =>
    agent.ask({ body: { script, reqid: id, async: true, ...more } });
  const result = (id = reqid, more: object = {}) =>
    agent.ask({ method: 'GET', path: `/result/${id}`, ...more });
  const cancel = (id = reqid, more: object = {}) =>
    agent.ask({ path: '/v2/cancel', body: { reqid: id }, ...more });
  const ended = (count = 1) =>
    vi.waitFor(() => expect(eventsOf(agent.events, 'job-end')).toHaveLength(count));
  return { ...agent, ...gate, other, submit, result, cancel, ended };
}

describe('an async run', () => {
  it('is accepted, runs, and its result is fetched', async () => {
    const { submit, result, run, ended } = await serving();
    const told = await submit();
    expect([told.status, told.json]).toEqual([202, { script: 'slow', status: 'accepted', reqid }]);
    const about = { reqid, script: 'slow', owner: 'control', started: '2026-05-06T07:08:09Z' };
    const early = await result();
    expect([early.status, early.json]).toEqual([200, { ...about, status: 'running' }]);
    (await run()).end();
    await ended();
    const late = await result();
    expect([late.status, late.json]).toEqual([
      200,
      { ...about, status: 'done', finished: about.started, exit: 0, stdout: 'out', stderr: 'err' },
    ]);
  });

  it.each([undefined, '', 'a b', '../x', 5, 'x'.repeat(65)])('with the reqid %j is refused', async (id) => {
    const { ask, runs } = await serving();
    const { status, json } = await ask({ body: { script: 'slow', reqid: id, async: true } });
    expect(status).toBe(200);
    expect(json).toMatchObject({ script: 'slow', exit: -1, error: 'async run requires a valid reqid' });
    expect(runs).toEqual([]);
  });

  it('of a script that is not permitted, or has malformed arguments, is refused as any other', async () => {
    const { submit } = await serving();
    expect((await submit(reqid, 'nothing')).json['error']).toBe('script not permitted');
    expect((await submit(reqid, 'slow', { args: [5] })).json['error']).toBe(
      'args must be strings without NUL',
    );
  });

  it('is busy while another async run of the script goes on, whosever it is; then the same id may be used', async () => {
    const { ask, submit, run, runs, ended, other } = await serving(twoDispatchers);
    await submit('one');
    const busy = { script: 'slow', status: 'busy', error: 'script already running' };
    for (const who of [{}, { as: other }]) {
      const told = await ask({ body: { script: 'slow', reqid: 'two', async: true }, ...who });
      expect([told.status, told.json]).toEqual([409, { ...busy, reqid: 'two' }]);
    }
    const elsewhere = await submit('three', 'slow2');
    expect(elsewhere.status).toBe(202);
    (await run()).end();
    await ended();
    expect((await submit('two')).status).toBe(202);
    expect(runs).toHaveLength(3);
  });

  it('of several of one script at once only one begins', async () => {
    const { submit, runs } = await serving();
    const told = await Promise.all(['a', 'b', 'c', 'd'].map((id) => submit(id)));
    expect(told.map(({ status }) => status).sort()).toEqual([202, 409, 409, 409]);
    expect(runs).toHaveLength(1);
  });
});

describe('at most once', () => {
  it('an async run that is asked for again is accepted again, and not run', async () => {
    const { submit, run, runs, ended } = await serving();
    for (const each of await Promise.all([submit(), submit()])) expect([202, 409]).toContain(each.status);
    expect((await submit()).json).toEqual({ script: 'slow', status: 'accepted', reqid });
    (await run()).end();
    await ended();
    expect((await submit()).json).toEqual({ script: 'slow', status: 'accepted', reqid });
    expect(runs).toHaveLength(1);
  });

  it('holds across async, sync and stream, in every order', async () => {
    const { ask, submit, run, runs, ended } = await serving();
    await submit('a');
    const running = { status: 409, json: { status: 'running', reqid: 'a' } };
    expect(await ask({ body: { script: 'slow', reqid: 'a' } })).toMatchObject(running);
    expect(await ask({ body: { script: 'slow', reqid: 'a', stream: true } })).toMatchObject(running);
    (await run()).end();
    await ended();
    const result = { script: 'slow', reqid: 'a', exit: 0, stdout: 'out', stderr: 'err' };
    expect((await ask({ body: { script: 'slow', reqid: 'a' } })).json).toEqual(result);
    expect((await ask({ body: { script: 'slow', reqid: 'a', stream: true } })).json).toEqual(result);

    const sync = ask({ body: { script: 'slow', reqid: 'b' } });
    const second = await run(1);
    expect(await submit('b')).toMatchObject({ status: 409, json: { status: 'running', reqid: 'b' } });
    second.end();
    const answer = await sync;
    expect((await submit('b')).answer.body).toEqual(answer.answer.body);
    expect(runs).toHaveLength(2);
  });

  it('holds where only the jobs remember, and where only the other record does', async () => {
    const shelf = new Map();
    const first = await serving({ shelf });
    await first.submit('a');
    (await first.run()).end();
    await first.ended();
    const onlyJobs = await serving({ shelf, ports: { journal: () => memoryRunJournal() } });
    expect((await onlyJobs.submit('a')).status).toBe(202);
    expect((await onlyJobs.ask({ body: { script: 'slow', reqid: 'a' } })).json).toMatchObject({ exit: 0 });
    expect(onlyJobs.runs).toEqual([]);

    const store = memoryRunJournal();
    const before = await serving({ ports: { journal: () => store } });
    await before.submit('a');
    const onlyStore = await serving({ ports: { journal: () => store } });
    expect((await onlyStore.submit('a')).json).toMatchObject({
      exit: -1,
      error: 'it has run, but its output is not kept any more',
    });
    expect((await onlyStore.result('a')).status).toBe(404);
    expect(onlyStore.runs).toEqual([]);
  });

  it('a run that was claimed when the agent went down before it was submitted is never run', async () => {
    const store = memoryRunJournal();
    const lost = {
      ...store,
      claim: (...[claim, now]: Parameters<typeof store.claim>) =>
        claim.run
          ? okAsync({
              kind: 'known' as const,
              run: { state: 'lost' as const, script: 'slow', startedAt: 0 },
            })
          : store.claim(claim, now),
      find: () =>
        store
          .find({ owner: '', reqid: '' })
          .map(() => ({ state: 'lost' as const, script: 'slow', startedAt: 0 })),
      settle: () =>
        okAsync({
          kind: 'known' as const,
          run: { state: 'lost' as const, script: 'slow', startedAt: 0 },
        }),
    };
    const { submit, result, cancel, runs } = await serving({ ports: { journal: () => lost } });
    expect((await submit()).json).toMatchObject({ exit: -1, error: expect.stringContaining('lost: ') });
    expect((await result()).json).toMatchObject({ status: 'lost', exit: -1 });
    expect(await cancel()).toMatchObject({ status: 409, json: { status: 'done' } });
    expect(runs).toEqual([]);
  });

  it('nothing is begun where the jobs cannot be read, or the run cannot be recorded', async () => {
    const runner = memoryProcessRunner({});
    const full = failure('file_failed', 'disk full', { path: 'x', operation: 'write', reason: 'ENOSPC' });
    const jobs = memoryJobs({ runner });
    const unreadable = await serving({ ports: { jobs: () => ({ ...jobs, find: () => errAsync(full) }) } });
    expect((await unreadable.submit()).json).toMatchObject({
      exit: -1,
      error: 'the agent cannot record the run, so it was not begun',
    });
    expect((await unreadable.ask({ body: { script: 'greet', reqid } })).json).toMatchObject({ exit: -1 });
    expect((await unreadable.result()).status).toBe(503);
    const unwritable = await serving({ ports: { jobs: () => ({ ...jobs, start: () => errAsync(full) }) } });
    expect((await unwritable.submit()).json).toMatchObject({
      exit: -1,
      error: 'it was not begun: disk full',
    });
    expect([unreadable.runs, unwritable.runs]).toEqual([[], []]);
  });
});

describe('a result', () => {
  it('is for its own dispatcher: to others it is as unknown as any other id', async () => {
    const { submit, result, cancel, other, run, ended, ask } = await serving(twoDispatchers);
    await submit();
    for (const isOver of [false, true]) {
      if (isOver) (await run()).end();
      await ended(isOver ? 1 : 0);
      const hidden = await result(reqid, { as: other });
      const unknown = await result(reqid.replace('a', 'b'), { as: other });
      expect([hidden.status, hidden.json]).toEqual([404, { status: 'unknown', reqid }]);
      expect(JSON.stringify(unknown.json).replace('b3f9', 'a3f9')).toBe(JSON.stringify(hidden.json));
      const stopped = await cancel(reqid, { as: other });
      expect([stopped.status, stopped.json]).toEqual([404, { status: 'unknown' }]);
    }
    expect((await ask({ method: 'GET', path: '/result/../x' })).json).toEqual({ error: 'not found' });
  });

  it('of a synchronous run is kept for a dispatcher that gave up', async () => {
    const { ask, result, run } = await serving();
    const sync = ask({ body: { script: 'slow', reqid } });
    const program = await run();
    expect((await result()).json).toMatchObject({ status: 'running', script: 'slow', owner: 'control' });
    program.end(processOutcome(3, 'some', 'thing'));
    await sync;
    expect((await result()).json).toEqual({
      reqid,
      status: 'done',
      script: 'slow',
      owner: 'control',
      started: '2026-05-06T07:08:09Z',
      finished: '2026-05-06T07:08:09Z',
      exit: 3,
      stdout: 'some',
      stderr: 'thing',
    });
  });

  it('is forgotten when async_ttl is over, its id is not', async () => {
    const { submit, result, run, runs, ended, clock, shelf } = await serving({
      configuration: 'async_ttl = 60\n',
    });
    await submit();
    (await run()).end();
    await ended();
    await clock.advance(59_000);
    expect((await result()).status).toBe(200);
    await clock.advance(2_000);
    expect((await result()).status).toBe(404);
    await clock.advance(86_400_000 - 61_000);
    expect(shelf.size).toBe(0);
    expect((await submit()).json).toMatchObject({ exit: -1 });
    expect(runs).toHaveLength(1);
  });

  it('says what was cut', async () => {
    const { submit, result, run, ended } = await serving({ configuration: 'max_output = 4\n' });
    await submit();
    (await run()).end(processOutcome(0, '0123456789', ''));
    await ended();
    expect((await result()).json).toMatchObject({ stdout: '0189', truncated: { stdout: 10 } });
  });

  it('says when the script could not be executed', async () => {
    const { submit, result, ended } = await serving({
      scripts: 'slow = /opt/missing\n',
      files: { '/opt/missing': '' },
    });
    await submit();
    await ended();
    expect((await result()).json).toMatchObject({
      status: 'done',
      exit: 126,
      error: expect.stringContaining('ENOENT'),
    });
  });
});

describe('timeouts', () => {
  it.each([
    ['run_timeout = 30\n', {}, 30_000],
    ['run_timeout = 30\n', { timeout: 5 }, 5_000],
    ['', { timeout: 7 }, 7_000],
    ['', {}, 0],
  ])('with %j and %j an async run has %i ms', async (configuration, more, expected) => {
    const { submit, run } = await serving({ configuration });
    await submit(reqid, 'slow', more);
    expect((await run()).request.timeout).toBe(expected);
  });
});

describe('a legacy dispatcher', () => {
  const legacy = { configuration: 'accept_legacy_dispatchers = yes\n' };
  const unsigned = { unsigned: true };

  it('submits and fetches', async () => {
    const { ask, result, run, ended } = await serving(legacy);
    const told = await ask({ ...unsigned, body: { script: 'slow', reqid, async: true } });
    expect([told.status, told.json]).toEqual([202, { script: 'slow', status: 'accepted', reqid }]);
    expect((await result(reqid, unsigned)).json).toMatchObject({ status: 'running', owner: 'control' });
    (await run()).end();
    await ended();
    expect((await result(reqid, unsigned)).json).toMatchObject({ status: 'done', exit: 0, stdout: 'out' });
  });

  it('is shown what was cancelled as done with exit 126, and why', async () => {
    const old = await serving(legacy);
    await old.ask({ ...unsigned, body: { script: 'slow', reqid, async: true } });
    await old.context.jobs({} as never).cancel({ owner: 'control', reqid });
    await old.ended();
    const shown = (await old.result(reqid, unsigned)).json;
    expect(shown).toMatchObject({ status: 'done', exit: 126, stderr: 'cancelled\n' });
  });

  it('gets no more than it can take', async () => {
    const { ask, result, run, ended } = await serving(legacy);
    await ask({ ...unsigned, body: { script: 'slow', reqid, async: true } });
    (await run()).end(processOutcome(0, '"'.repeat(500_000), '\u0001'.repeat(500_000)));
    await ended();
    const { answer, json } = await result(reqid, unsigned);
    expect(answer.body.length).toBeLessThanOrEqual(maxLegacyAnswer);
    expect(json).toMatchObject({ status: 'done', truncated: { stdout: 500_000, stderr: 500_000 } });
  });

  it('gets no stream', async () => {
    const { ask, runs } = await serving(legacy);
    const { json } = await ask({ ...unsigned, body: { script: 'slow', reqid, stream: true } });
    expect(json).toMatchObject({ exit: -1, error: 'streamed runs need a signed request' });
    expect(runs).toEqual([]);
  });
});

describe('cancelling', () => {
  it('ends an async run: 200, then its result says so, then 409', async () => {
    const { submit, result, cancel, ended, events } = await serving();
    await submit();
    const told = await cancel();
    expect([told.status, told.json]).toEqual([200, { status: 'cancelling' }]);
    await ended();
    expect((await result()).json).toMatchObject({ status: 'cancelled', exit: 126, error: 'cancelled' });
    const again = await cancel();
    expect([again.status, again.json]).toEqual([409, { status: 'done' }]);
    expect(eventsOf(events, 'job-end')[0]?.fields).toMatchObject({ status: 'cancelled', reqid });
  });

  it('ends a synchronous run, whose answer and record say so', async () => {
    const { ask, result, cancel, run } = await serving();
    const sync = ask({ body: { script: 'slow', reqid } });
    await run();
    expect((await cancel()).json).toEqual({ status: 'cancelling' });
    expect((await sync).json).toMatchObject({ script: 'slow', reqid, exit: 126, error: 'cancelled' });
    expect((await result()).json).toMatchObject({ status: 'cancelled', exit: 126, error: 'cancelled' });
    expect(await cancel()).toMatchObject({ status: 409, json: { status: 'done' } });
  });

  it('reaches a run whose beginning is still being written', async () => {
    const store = memoryRunJournal();
    let recorded = () => {};
    const written = new Promise<void>((resolve) => {
      recorded = resolve;
    });
    const slow: typeof store = {
      ...store,
      claim: (claim, now) =>
        store.claim(claim, now).map(async (kind) => {
          if (claim.run) await written;
          return kind;
        }),
    };
    const { ask, cancel, runs } = await serving({ ports: { journal: () => slow } });
    const sync = ask({ body: { script: 'slow', reqid } });
    await vi.waitFor(async () =>
      expect(value(await store.find({ owner: 'control', reqid }))?.state).toBe('running'),
    );
    expect((await cancel()).json).toEqual({ status: 'cancelling' });
    recorded();
    expect((await sync).json).toMatchObject({ exit: 126, error: 'cancelled' });
    expect(runs).toEqual([]);
  });

  it.each([{}, { reqid: '' }, { reqid: 5 }, { reqid: 'a b' }, 'x'])(
    '%j is no request to cancel',
    async (body) => {
      const { ask } = await serving();
      expect((await ask({ path: '/v2/cancel', body })).status).toBe(400);
    },
  );
});

describe('places', () => {
  it('are shared by sync and async runs, and free again when they end', async () => {
    const { submit, ask, run, ended } = await serving({ configuration: 'max_runs = 2\n' });
    await submit('one');
    const sync = ask({ body: { script: 'slow2', reqid: 'two' } });
    await run(1);
    const full = await ask({ body: { script: 'greet', reqid: 'three' } });
    expect([full.status, full.headers]).toEqual([
      503,
      [
        ['content-type', 'application/json'],
        ['retry-after', '5'],
      ],
    ]);
    expect((await submit('four', 'greet')).status).toBe(503);
    expect((await ask({ path: '/ping', body: {} })).status).toBe(200);
    (await run(0)).end();
    await ended();
    expect((await ask({ body: { script: 'greet', reqid: 'three' } })).status).toBe(200);
    (await run(1)).end();
    await sync;
  });

  it('of the last quarter no dispatcher can take where several are trusted', async () => {
    const scripts = ['a', 'b', 'c', 'd'];
    const many = {
      configuration: 'max_runs = 4\n',
      scripts: scripts.map((name) => `${name} = /opt/slow\n`).join(''),
    };
    const both = await serving({ ...many, ...twoDispatchers });
    for (const name of ['a', 'b', 'c']) expect((await both.submit(name, name)).status).toBe(202);
    expect((await both.submit('d', 'd')).status).toBe(503);
    const body = { script: 'd', reqid: 'd', async: true };
    expect((await both.ask({ body, as: both.other })).status).toBe(202);
    const alone = await serving(many);
    for (const name of scripts) expect((await alone.submit(name, name)).status).toBe(202);
  });

  it('are held on by the jobs that an agent before has left', async () => {
    const shelf = new Map();
    const before = await serving({ shelf });
    await before.submit('one');
    const closing = before.serving.close(0);
    await before.clock.advance(10_000);
    await closing;
    const after = await serving({ shelf, configuration: 'max_runs = 1\n' });
    expect((await after.ask({ body: { script: 'greet' } })).status).toBe(503);
    expect((await after.result('one')).json).toMatchObject({ status: 'running' });
    (await before.run()).end();
    await after.ended();
    expect((await after.ask({ body: { script: 'greet' } })).status).toBe(200);
  });
});

it('an agent that stops refuses new runs, lets what runs finish, and leaves its jobs', async () => {
  const { submit, ask, run, serving: agent, events, shelf, clock } = await serving();
  await submit('job');
  const sync = ask({ body: { script: 'slow2', reqid: 'sync' } });
  const running = await run(1);
  const closing = agent.close(60_000);
  expect(await ask({ body: { script: 'greet' } })).toMatchObject({
    status: 503,
    json: { error: 'busy: the agent is being stopped' },
  });
  running.end();
  expect((await sync).json).toMatchObject({ exit: 0 });
  await clock.advance(0);
  await closing;
  expect(eventsOf(events, 'stopped')).toHaveLength(1);
  expect(eventsOf(events, 'job-end')).toEqual([]);
  expect([...shelf.values()].map(({ state }) => state.status)).toEqual(['running']);
});

it('many runs at a time are no warning of Node', async () => {
  const warnings: string[] = [];
  const onWarning = ({ name }: Error) => warnings.push(name);
  process.on('warning', onWarning);
  const names = Array.from({ length: 16 }, (_, index) => `slow${index}`);
  const { ask, submit, run, ended } = await serving({
    scripts: names.map((name) => `${name} = /opt/slow\n`).join(''),
  });
  for (const name of names) await submit(name, name);
  const sync = names.map((name) => ask({ body: { script: name, reqid: `${name}-sync` } }));
  for (let index = 0; index < 2 * names.length; index += 1) (await run(index)).end();
  await Promise.all(sync);
  await ended(names.length);
  process.off('warning', onWarning);
  expect(warnings).toEqual([]);
});
