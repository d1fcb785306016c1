import { describe, expect, it } from 'vitest';
import { listLocks, releaseLock } from '../../../../src/apps/cli/commands/agents.js';
import { listRuns, type RunsOptions } from '../../../../src/apps/cli/commands/runs.js';
import type { RunStart } from '../../../../src/ports/run-store.js';
import { value } from '../../../contract/result.js';
import { eventsOf } from '../../../support/fleet/events.js';
import { enrol } from '../../../support/fleet/memory-agents.js';
import { identifiedFleet } from '../../../support/fleet/memory-fleet.js';
import { printed } from './printed.js';

async function dispatcherWithRuns() {
  const { fleet, control } = await identifiedFleet();
  const agent = fleet.agent('web-01');
  await enrol(control, agent, 'web-01');
  value(await agent.agent.serve());
  const { dispatcher, context } = control;
  const { clock, runStore } = context;
  const ran = async (script: string, hosts: readonly string[]) =>
    value(await dispatcher.run({ hosts, script, args: [] })).reqid;
  return {
    control,
    good: await ran('greet', ['web-01']),
    bad: await ran('fail', ['web-01', 'nobody']),
    /** A run of another process that does not end. */
    hold: async (reqid: string, script: string, ...hosts: string[]) => {
      const start: RunStart = {
        ...{ reqid, script, hosts: hosts.map((host) => ({ host })), args: [], mode: 'sync' },
        ...{ principal: 'os:root', username: 'ann', sourceIp: '', startedAt: clock.now() },
      };
      expect(value(await runStore.begin(start, clock.now()))).toEqual({ kind: 'begun' });
    },
    runs: (options: RunsOptions = {}) => printed(() => listRuns(dispatcher, options)),
    locks: (options: { json?: boolean } = {}) => printed(() => listLocks(dispatcher, options)),
    release: (host: string, script: string) => printed(() => releaseLock(dispatcher, host, script, {})),
    since: new Date(clock.now()),
  };
}

describe('runs', () => {
  it('shows how many hosts of each run are in which state', async () => {
    const { runs, good, bad } = await dispatcherWithRuns();
    const { value: code, stdout } = await runs();
    expect(code).toBe(0);
    const lineOf = (reqid: string) => stdout.split('\n').find((line) => line.startsWith(reqid));
    expect(lineOf(good)).toMatch(/ greet +sync +- +succeeded +1 succeeded +-$/);
    expect(lineOf(bad)).toMatch(/ fail +sync +- +failed +1 failed, 1 unreachable +web-01,nobody$/);
  });

  it('--outcome shows those of which a host is in this state', async () => {
    const { runs, good, bad, hold } = await dispatcherWithRuns();
    await hold('0'.repeat(16), 'greet', 'web-01');
    const listed = async (outcome: RunsOptions['outcome']) => {
      const { stdout } = await runs({ json: true, ...(outcome && { outcome }) });
      return JSON.parse(stdout).runs.map(({ reqid }: { reqid: string }) => reqid);
    };
    expect(await listed('succeeded')).toEqual([good]);
    expect(await listed('failed')).toEqual([bad]);
    expect(await listed('unreachable')).toEqual([bad]);
    expect(await listed('running')).toEqual(['0'.repeat(16)]);
    expect(await listed('lost')).toEqual([]);
  });

  it('--json has the counts of states', async () => {
    const { runs, bad } = await dispatcherWithRuns();
    const { stdout } = await runs({ json: true, script: 'fail' });
    expect(JSON.parse(stdout)).toMatchObject({
      ok: 1,
      runs: [
        {
          ...{ reqid: bad, outcome: 'failed', counts: { failed: 1, unreachable: 1 } },
          ...{ hosts: ['web-01', 'nobody'], failed: ['web-01', 'nobody'], started: expect.any(String) },
        },
      ],
    });
  });
});

describe('list-locks', () => {
  it('shows of which run a lock is and since when', async () => {
    const { locks, hold, since } = await dispatcherWithRuns();
    expect(JSON.parse((await locks({ json: true })).stdout)).toEqual({ ok: 1, locks: [] });
    const reqid = '0'.repeat(16);
    await hold(reqid, 'greet', 'web-02', 'web-01');
    expect(JSON.parse((await locks({ json: true })).stdout)).toEqual({
      ok: 1,
      locks: ['web-01', 'web-02'].map((host) => ({
        ...{ host, script: 'greet', reqid, since: since.toISOString() },
      })),
    });
    const [header, , first] = (await locks()).stdout.split('\n');
    expect(header).toMatch(/^HOST +SCRIPT +REQID +SINCE$/);
    expect(first).toMatch(/^web-01 +greet +0{16} +\d{4}-\d\d-\d\d \d\d:\d\dZ$/);
  });
});

describe('release-lock', () => {
  it('gives up the lock of a host and a script, says of which run it was, and logs it', async () => {
    const { release, locks, hold, control } = await dispatcherWithRuns();
    const reqid = '0'.repeat(16);
    await hold(reqid, 'greet', 'web-01', 'web-02');
    const { value: code, stdout } = await release('WEB-01', 'greet');
    expect([code, stdout]).toEqual([
      0,
      `Released web-01:greet, held by run ${reqid}: see on the host whether it still runs\n`,
    ]);
    expect(JSON.parse((await locks({ json: true })).stdout).locks).toMatchObject([{ host: 'web-02' }]);
    expect(eventsOf(control.events, 'lock-released')).toHaveLength(1);
    const { dispatcher } = control;
    expect(value(await dispatcher.run({ hosts: ['web-01'], script: 'greet' })).results).toMatchObject([
      { state: 'succeeded' },
    ]);
  });

  it('of a lock that nobody holds ends with 64', async () => {
    const { release } = await dispatcherWithRuns();
    const { value: code, stdout, stderr } = await release('web-01', 'greet');
    expect([code, stdout]).toEqual([64, '']);
    expect(stderr).toContain('no run holds a lock of greet on web-01');
  });
});
