import { readFileSync } from 'node:fs';
import { errAsync, okAsync } from 'neverthrow';
import { describe, expect, it, vi } from 'vitest';
import { processOutcome } from '../../../../../src/adapters/memory/process-runner.js';
import { memoryRunJournal } from '../../../../../src/adapters/memory/run-journal.js';
import { failure } from '../../../../../src/domain/core/errors.js';
import type { RunJournal } from '../../../../../src/ports/run-journal.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import { gatedProgram } from '../../../../support/fleet/gated-programs.js';
import {
  type AgentOptions,
  dispatcherCredentials,
  servingAgent,
} from '../../../../support/fleet/memory-agents.js';
import { deferred } from '../../../../support/network/network.js';

const reqid = 'a3f9b2c100010002';
const twoDispatchers = { trust: 'abc123 control\nabc124 other\n' };
const day = 86_400_000;

/** An agent with the script `slow`, which ends when the test says so. */
async function serving(options: AgentOptions = {}) {
  const gate = gatedProgram();
  const agent = await servingAgent({
    scripts: 'slow = /opt/slow\n',
    programs: { '/opt/slow': gate.program },
    ...options,
  });
  const settle = (id: unknown = reqid, more: object = {}) =>
    agent.ask({ path: '/v2/settle', body: { reqid: id }, ...more });
  const run = (more: object = {}) => agent.ask({ body: { script: 'slow', reqid, ...more } });
  const cancel = (id = reqid) => agent.ask({ path: '/v2/cancel', body: { reqid: id } });
  return { ...agent, ...gate, program: gate.run, settle, run, cancel };
}

/** A store whose claims of runs are answered late: it has decided by then. */
function slowly(store: RunJournal) {
  const gate = deferred();
  const slow: RunJournal = {
    ...store,
    claim: (claim, now) =>
      store.claim(claim, now).map(async (kind) => {
        if (claim.run) await gate.promise;
        return kind;
      }),
  };
  return { slow, go: gate.resolve };
}

describe('settling', () => {
  it('an id that nobody began makes it void, now and when it is asked again', async () => {
    const { settle, clock, events } = await serving();
    const since = clock.now();
    const told = await settle();
    expect([told.status, told.json]).toEqual([200, { status: 'void', complete_since: since, reqid }]);
    await clock.advance(5000);
    expect((await settle()).json).toEqual({ status: 'void', complete_since: since, reqid });
    expect(eventsOf(events, 'settle-answered')[0]?.fields).toEqual({
      reqid,
      dispatcher: 'control',
      ip: '192.0.2.1',
      status: 'void',
    });
  });

  it.each([{}, { stream: true }, { async: true }])('a void is never run: %j', async (mode) => {
    const { settle, run, runs, ask, cancel, events } = await serving();
    await settle();
    const late = await run(mode);
    expect([late.status, late.json]).toEqual([401, { error: 'replayed' }]);
    expect(eventsOf(events, 'run-repeated')[0]?.fields).toMatchObject({
      reqid,
      script: 'slow',
      state: 'void',
    });
    expect((await ask({ method: 'GET', path: `/result/${reqid}` })).status).toBe(404);
    expect(await cancel()).toMatchObject({ status: 404, json: { status: 'unknown' } });
    expect((await settle()).json).toMatchObject({ status: 'void' });
    expect(runs).toEqual([]);
  });

  it.each([{}, { async: true }])('a run says how it stands, as its result does: %j', async (mode) => {
    const { settle, run, program, ask } = await serving();
    const asked = run(mode);
    const { end } = await program();
    const record = async () => {
      const { status, json } = await ask({ method: 'GET', path: `/result/${reqid}` });
      const settled = await settle();
      expect([settled.status, settled.json]).toEqual([status, json]);
      return json;
    };
    expect(await record()).toMatchObject({ status: 'running', script: 'slow', owner: 'control' });
    end(processOutcome(3, 'out', 'err'));
    await asked;
    await vi.waitFor(async () =>
      expect(await record()).toMatchObject({ status: 'done', exit: 3, stdout: 'out', stderr: 'err' }),
    );
  });

  it('a run that was cancelled says so', async () => {
    const { settle, run, program, cancel } = await serving();
    const asked = run();
    await program();
    await cancel();
    await asked;
    expect((await settle()).json).toMatchObject({ status: 'cancelled', exit: 126 });
  });

  it('an async run whose record is gone is unknown, and not void', async () => {
    const { settle, run, program, events, clock, runs } = await serving({
      configuration: 'async_ttl = 60\n',
    });
    await run({ async: true });
    (await program()).end();
    await vi.waitFor(() => expect(eventsOf(events, 'job-end')).toHaveLength(1));
    await clock.advance(61_000);
    expect(await settle()).toMatchObject({ status: 200, json: { status: 'unknown', reqid } });
    expect((await run({ async: true })).status).toBe(202);
    expect(runs).toHaveLength(1);
  });

  it('is for the dispatcher of the run: to another its id is unused, and stays usable', async () => {
    const { settle, run, program, ask } = await serving(twoDispatchers);
    const asked = run();
    const { end } = await program();
    const as = { as: await dispatcherCredentials('abc124', { id: 'other' }) };
    expect((await settle(reqid, as)).json).toMatchObject({ status: 'void' });
    end();
    expect((await asked).json).toMatchObject({ exit: 0 });
    expect((await settle()).json).toMatchObject({ status: 'done' });
    expect((await ask({ body: { script: 'slow', reqid }, ...as })).status).toBe(401);
  });

  it.each([undefined, '', 5, 'a b', 'x'.repeat(65)])('%j is no id', async (id) => {
    const { ask } = await serving();
    expect((await ask({ path: '/v2/settle', body: { reqid: id } })).status).toBe(400);
  });

  it('needs a signature, and each request counts once', async () => {
    const { settle, make, send } = await serving({ configuration: 'accept_legacy_dispatchers = yes\n' });
    expect(await settle(reqid, { unsigned: true })).toMatchObject({
      status: 401,
      json: { error: 'signature required' },
    });
    const sent = await make({ path: '/v2/settle', body: { reqid } });
    expect((await send(sent)).status).toBe(200);
    expect(await send(sent)).toMatchObject({ status: 401, json: { error: 'replayed' } });
  });

  it('says that it cannot where nothing can be recorded', async () => {
    const full = failure('file_failed', 'disk full', { path: 'x', operation: 'write', reason: 'ENOSPC' });
    const store = { ...memoryRunJournal(), settle: () => errAsync(full) };
    const { settle, cancel } = await serving({ ports: { journal: () => store } });
    expect((await settle()).status).toBe(503);
    expect((await cancel()).status).toBe(503);
  });
});

describe('a settle and a run at the same time', () => {
  it('the run that is asking its hook is refused once its id is void', async () => {
    const asked = deferred();
    const answer = deferred();
    const hook = {
      ask: () =>
        okAsync(undefined).map(async () => {
          asked.resolve();
          await answer.promise;
          return { kind: 'none' as const };
        }),
    };
    const { settle, run, runs } = await serving({ ports: { hook: () => hook } });
    const late = run();
    await asked.promise;
    expect((await settle()).json).toMatchObject({ status: 'void' });
    answer.resolve();
    expect(await late).toMatchObject({ status: 401, json: { error: 'replayed' } });
    expect(runs).toEqual([]);
  });

  it.each([{}, { async: true }])('the run whose claim is being written is running: %j', async (mode) => {
    const { slow, go } = slowly(memoryRunJournal());
    const { settle, run, program } = await serving({ ports: { journal: () => slow } });
    const asked = run(mode);
    await vi.waitFor(async () => expect((await slow.find({ owner: 'control', reqid })).isOk()).toBe(true));
    await vi.waitFor(async () => expect((await settle('probe')).json).toMatchObject({ status: 'void' }));
    expect((await settle()).json).toMatchObject({ status: 'running' });
    go();
    (await program()).end();
    expect([200, 202]).toContain((await asked).status);
  });

  it('never are both void and run, whichever comes first', async () => {
    const { settle, ask, runs } = await serving({ programs: { '/opt/slow': () => processOutcome(0) } });
    for (let round = 0; round < 60; round += 1) {
      const id = `r${round}`;
      const order = [() => ask({ body: { script: 'slow', reqid: id } }), () => settle(id)];
      if (round % 2 === 1) order.reverse();
      const told = await Promise.all(order.map((each) => each()));
      const [ran, settled] = round % 2 === 1 ? told.reverse() : told;
      if (settled?.json['status'] === 'void') expect(ran).toMatchObject({ status: 401 });
      else expect(ran?.json).toMatchObject({ exit: 0 });
    }
    expect(runs).toEqual([]);
  });
});

it('answers as the vectors say, byte for byte', async () => {
  const vectors = JSON.parse(
    readFileSync(new URL('../../../../vectors/settle.json', import.meta.url), 'utf8'),
  );
  const told = (name: string, { status, answer }: Awaited<ReturnType<typeof first.ask>>) =>
    expect([status, new TextDecoder().decode(answer.body)], name).toEqual([
      vectors[name].status,
      vectors[name].body,
    ]);
  const first = await serving();
  const settle = { path: '/v2/settle', body: vectors.request };
  told('void', await first.ask(settle));
  told('run_of_void', await first.run());

  const second = await serving();
  const asked = second.run();
  const { end } = await second.program();
  told('running', await second.ask(settle));
  told('busy', await second.run({ reqid: 'b3f9b2c100010002' }));
  told('busy_async', await second.run({ reqid: 'b3f9b2c100010002', async: true }));
  end();
  await asked;

  const full = await serving({ ports: { journal: () => memoryRunJournal({ voids: 0 }) } });
  told('unknown', await full.ask(settle));
});

describe('complete_since', () => {
  it('is a day ago at most', async () => {
    const { settle, clock } = await serving();
    await clock.advance(3 * day);
    expect((await settle()).json['complete_since']).toBe(clock.now() - day);
  });

  it('moves on when runs are forgotten before their day is over', async () => {
    const { settle, run, clock, program, context } = await serving();
    await clock.advance(10_000);
    const asked = run();
    (await program()).end();
    await asked;
    const begun = clock.now();
    await clock.advance(10_000);
    await context.journal({} as never).purge(clock.now());
    expect((await settle('other')).json['complete_since']).toBe(begun);
  });

  it('is real time, whatever the clock does meanwhile', async () => {
    let ahead = 0;
    const parts = await serving();
    const jumped = { ...parts.clock, now: () => parts.clock.now() + ahead };
    const store = memoryRunJournal({ monotonic: parts.clock.monotonic });
    const agent = await serving({ ports: { clock: jumped, journal: () => store } });
    await parts.clock.advance(1000);
    const signedAt = () => ({ signedAt: jumped.now() });
    for (const jump of [7 * day, -1_800_000, 0]) {
      ahead = jump;
      const told = await agent.settle('probe', signedAt());
      expect(told.json['complete_since']).toBe(jumped.now() - 1000);
    }
  });
});

describe('limits', () => {
  const small = { ports: { journal: () => memoryRunJournal({ capacity: 4, voids: 1 }) } };

  it('beyond them settling enters nothing, and says that it does not know', async () => {
    const { settle, cancel, run, program } = await serving(small);
    expect((await settle('v1')).json).toMatchObject({ status: 'void' });
    expect(await settle()).toMatchObject({ status: 200, json: { status: 'unknown', reqid } });
    expect((await cancel()).status).toBe(404);
    const asked = run();
    (await program()).end();
    expect((await asked).json).toMatchObject({ exit: 0 });
  });

  it('half of the table is for others: beyond it a run is refused as if there were no place', async () => {
    const store = memoryRunJournal({ capacity: 4, voids: 4 });
    const { settle, ask } = await serving({
      ...twoDispatchers,
      ports: { journal: () => store },
      programs: { '/opt/slow': () => processOutcome(0) },
    });
    for (const id of ['v1', 'v2']) await settle(id);
    expect(await ask({ body: { script: 'slow', reqid } })).toMatchObject({
      status: 503,
      json: { error: 'busy: too many runs within a day' },
    });
    const as = await dispatcherCredentials('abc124', { id: 'other' });
    expect((await ask({ body: { script: 'slow', reqid }, as })).json).toMatchObject({ exit: 0 });
  });
});

describe('cancelling', () => {
  it('an unknown id makes it void', async () => {
    const { cancel, run, settle, runs } = await serving();
    expect(await cancel()).toMatchObject({ status: 404, json: { status: 'unknown' } });
    expect(await run()).toMatchObject({ status: 401, json: { error: 'replayed' } });
    expect((await settle()).json).toMatchObject({ status: 'void' });
    expect(runs).toEqual([]);
  });
});
