import { errAsync } from 'neverthrow';
import { beforeEach, describe, expect, it } from 'vitest';
import { failure as errorOf } from '../../../../../src/domain/core/errors.js';
import { jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import { run } from '../../../../../src/sdk/dispatcher/runs/run.js';
import { failure, value } from '../../../../contract/result.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import { type Answering, scriptedAgent, withPorts } from '../../../../support/fleet/memory-agents.js';
import {
  identifiedFleet,
  type MemoryFleet,
  type TestDispatcher,
} from '../../../../support/fleet/memory-fleet.js';
import { deferred } from '../../../../support/network/network.js';

let fleet: MemoryFleet;
let control: TestDispatcher;

beforeEach(async () => {
  ({ fleet, control } = await identifiedFleet());
});

const success: Answering = ({ body }) =>
  jsonAnswer(200, { script: body['script'], exit: 0, stdout: 'done\n', stderr: '', reqid: body['reqid'] });

const held = async () => value(await control.context.locks.list());

const storeDown = errorOf('store_failed', 'disk full', { operation: 'write', reason: 'SQLITE_FULL' });

describe('locks', () => {
  it('of all hosts are held while agents are asked, and free when the run has ended', async () => {
    const during: unknown[] = [];
    const watch: Answering = async (request) => {
      during.push((await held()).map(({ host, script }) => `${host}:${script}`));
      return success(request);
    };
    await scriptedAgent(fleet, control, 'web-01', watch);
    await scriptedAgent(fleet, control, 'web-02', watch);
    const { reqid } = value(await run(control.context, { hosts: ['web-01', 'web-02'], script: 'greet' }));
    expect(during).toEqual([
      ['web-01:greet', 'web-02:greet'],
      ['web-01:greet', 'web-02:greet'],
    ]);
    expect(await held()).toEqual([]);
    const record = value(await control.context.runStore.find(reqid));
    expect(record).toMatchObject({ reqid, script: 'greet', hosts: ['web-01', 'web-02'] });
    expect(record?.completedAt).toBeDefined();
  });

  it('are one for a host that is named twice, in whatever case', async () => {
    const { seen } = await scriptedAgent(fleet, control, 'web-01', success);
    const { results } = value(
      await run(control.context, { hosts: ['web-01', 'Web-01', 'WEB-01'], script: 'greet' }),
    );
    expect(results.map(({ host }) => host)).toEqual(['web-01']);
    expect(seen.length).toBe(1);
  });

  it('are free after a port has thrown, which is a bug and is thrown on', async () => {
    const thrown = new Error('a bug of an adapter');
    const throwing = () => {
      throw thrown;
    };
    await scriptedAgent(fleet, control, 'web-01', success);
    const { transport, runStore } = control.context;
    for (const ports of [
      { transport: { ...transport, request: throwing } },
      { runStore: { ...runStore, complete: throwing } },
      { runStore: { ...runStore, start: throwing } },
    ]) {
      const order = { hosts: ['web-01'], script: 'greet' };
      await expect(run(withPorts(control, ports), order)).rejects.toBe(thrown);
      expect(await held()).toEqual([]);
    }
  });

  it('are free after every host has failed', async () => {
    await scriptedAgent(fleet, control, 'web-01', () => jsonAnswer(500, { error: 'internal error' }));
    const { results } = value(
      await run(control.context, { hosts: ['web-01', 'nowhere.test'], script: 'greet' }),
    );
    expect(results.map(({ exit }) => exit)).toEqual([-1, -1]);
    expect(await held()).toEqual([]);
  });

  it.each(['purge', 'start'] as const)(
    'are free after the store failed at the %s, and no host was asked',
    async (step) => {
      const { seen } = await scriptedAgent(fleet, control, 'web-01', success);
      const { runStore } = control.context;
      const context = withPorts(control, { runStore: { ...runStore, [step]: () => errAsync(storeDown) } });
      const outcome = await run(context, { hosts: ['web-01'], script: 'greet' });
      expect(failure(outcome)).toEqual(storeDown);
      expect(seen).toEqual([]);
      expect(await held()).toEqual([]);
    },
  );

  it('are free after the store failed at the end, and the results are there', async () => {
    await scriptedAgent(fleet, control, 'web-01', success);
    const { runStore } = control.context;
    const context = withPorts(control, { runStore: { ...runStore, complete: () => errAsync(storeDown) } });
    const { results } = value(await run(context, { hosts: ['web-01'], script: 'greet' }));
    expect(results).toMatchObject([{ exit: 0, stdout: 'done\n' }]);
    expect(await held()).toEqual([]);
  });

  it('that cannot be freed take no result away, and the log says so', async () => {
    await scriptedAgent(fleet, control, 'web-01', success);
    const { locks } = control.context;
    const context = withPorts(control, { locks: { ...locks, release: () => errAsync(storeDown) } });
    const { reqid, results } = value(await run(context, { hosts: ['web-01'], script: 'greet' }));
    expect(results).toMatchObject([{ exit: 0, stdout: 'done\n' }]);
    const record = value(await control.context.runStore.find(reqid));
    expect(record?.results).toMatchObject([{ exit: 0 }]);
    expect(eventsOf(control.events, 'record-failed')).toEqual([
      { action: 'record-failed', level: 'error', fields: { reqid, reason: 'disk full' } },
    ]);
  });

  it('are free, and no host is still under way, after a listener that throws', async () => {
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
    const bug = new Error('the listener failed');
    const outcome = run(control.context, {
      hosts: ['web-01', 'web-02'],
      script: 'greet',
      onResult: ({ host }) => {
        told.push(host);
        if (host !== 'web-01') return;
        setTimeout(slow.resolve, 0);
        throw bug;
      },
    });
    let underWayAtTheEnd = -1;
    const thrown = await Promise.resolve(outcome).catch((error: unknown) => {
      underWayAtTheEnd = underWay;
      return error;
    });
    expect(thrown).toBe(bug);
    expect(await held()).toEqual([]);
    expect(underWayAtTheEnd).toBe(0);
    expect(told).toEqual(['web-01', 'web-02']);
    const [started] = eventsOf(control.events, 'run');
    const record = value(await control.context.runStore.find(started?.fields.reqid ?? ''));
    expect(record?.results?.map(({ exit }) => exit)).toEqual([0, 0]);
  });

  it('are free after an abort, which ends every host that is under way', async () => {
    const stop = new AbortController();
    const forever: Answering = () => {
      stop.abort();
      return new Promise(() => undefined);
    };
    await scriptedAgent(fleet, control, 'web-01', forever);
    await scriptedAgent(fleet, control, 'web-02', forever);
    const { results } = value(
      await run(control.context, { hosts: ['web-01', 'web-02'], script: 'greet', signal: stop.signal }),
    );
    expect(results).toMatchObject([
      { host: 'web-01', exit: -1, error: expect.stringMatching(/abort|stopped/) },
      { host: 'web-02', exit: -1, error: expect.stringMatching(/abort|stopped/) },
    ]);
    expect(await held()).toEqual([]);
  });

  it('are not taken from the run that holds them by one that was refused', async () => {
    const { locks } = control.context;
    value(await locks.acquire([{ host: 'web-01', script: 'greet' }], 'first', 0));
    await scriptedAgent(fleet, control, 'web-01', success);
    for (const _ of [1, 2])
      expect((await run(control.context, { hosts: ['web-01'], script: 'greet' })).isErr()).toBe(true);
    expect(await held()).toMatchObject([{ reqid: 'first' }]);
  });
});
