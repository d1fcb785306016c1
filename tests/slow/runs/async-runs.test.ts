import { describe, expect, it } from 'vitest';
import { type AgentOnDisk, shared } from '../../support/commands/commands.js';
import { eventually, gate, pairedFleet } from '../../support/fleet/fleet.js';

const fleet = shared(() => pairedFleet({ one: 'web-01', two: 'web-02' }, 'read_timeout = 2\n'));

const both = ['web-01', 'web-02'];

/** Both agents serve, and run a script that goes on until it is told to end. */
async function serving(script = gate()) {
  const { control, one, two } = fleet();
  for (const agent of [one, two]) agent.script('job', script.script);
  const daemons = [await one.serve(), await two.serve()];
  return { control, one, two, job: script, daemons };
}

const quick = (agent: AgentOnDisk, name: string, text: string) => agent.script(name, `#!/bin/sh\n${text}\n`);

async function submitted(...words: string[]): Promise<string> {
  const ended = await fleet().control.command('run', '--async', '--json', ...words);
  expect([ended.code, ended.stderr]).toEqual([0, '']);
  const { ok, async, reqid, results } = JSON.parse(ended.stdout);
  expect([ok, async]).toEqual([1, true]);
  for (const result of results)
    expect(result).toMatchObject({ status: 'accepted', reqid, rtt: expect.stringMatching(/^\d+ms$/) });
  return reqid;
}

const json = async (...words: string[]) => {
  const ended = await fleet().control.command(...words, '--json');
  return { code: ended.code, ...JSON.parse(ended.stdout) };
};

describe('a run that the agents do by themselves', () => {
  it('that runs already is locked, and where its lock was released its agent is busy', async () => {
    const { control, job, daemons } = await serving();
    const first = await submitted('web-01', 'job');
    await job.started(1);
    const [, second] = daemons;
    await second?.stop();
    const locked = await control.command('run', '--async', ...both, 'job');
    const stderr = `Locked: already running: web-01:job (run ${first})\n`;
    expect(locked).toMatchObject({ code: 1, stdout: '', stderr });
    expect((await control.command('release-lock', 'web-01', 'job')).code).toBe(0);
    const again = await control.command('run', '--async', ...both, 'job');
    expect(again.code).toBe(1);
    expect(again.stdout).toMatch(/^Submitted: [0-9a-f]{16}\n/);
    expect(again.stdout).toMatch(/^web-01 +busy +\d+ms +script already running$/m);
    expect(again.stdout).toMatch(/^web-02 +error +\d+ms +nothing listens on /m);
    const id = /^Submitted: (.*)$/m.exec(again.stdout)?.[1] ?? '';
    const status = await json('status', id);
    expect(status).toMatchObject({
      complete: true,
      hosts: {
        'web-01': { status: 'busy', state: 'refused' },
        'web-02': { status: 'error', state: 'unreachable' },
      },
    });
    expect((await control.command('wait', id)).code).toBe(1);
    job.open();
    expect(job.starts()).toBe(1);
    expect((await json('status', first)).hosts).toMatchObject({ 'web-01': { state: 'unknown' } });
  });

  it('is stopped from another terminal, on one host and then on all', async () => {
    const { control, job } = await serving();
    const reqid = await submitted(...both, 'job');
    await job.started(2);
    const one = await json('cancel', reqid, 'web-02');
    expect(one).toMatchObject({ code: 0, ok: 1, results: [{ host: 'web-02', status: 'cancelling' }] });
    await eventually(async () =>
      expect((await json('status', reqid)).hosts).toMatchObject({
        'web-01': { status: 'running', state: 'running' },
        'web-02': { status: 'cancelled', state: 'cancelled', exit: -1 },
      }),
    );
    const rest = await json('cancel', reqid);
    expect(rest.results).toMatchObject([{ status: 'cancelling' }, { status: 'done' }]);
    const waited = await control.command('wait', reqid);
    expect(waited.code).toBe(1);
    for (const host of both)
      expect(waited.stdout).toMatch(
        new RegExp(`^==> ${host} {2}\\[FAIL {2}exit:-1 .*\\n {4}ERROR: cancelled$`, 'm'),
      );
    expect((await json('cancel', reqid, 'web-09')).error).toContain('"web-09" is no host of run');
  });

  it('is known although the command was killed while it waited for the agents', async () => {
    const { control, two, job, daemons } = await serving();
    quick(two, 'other', 'exit 0');
    const reqid = await submitted(...both, 'job');
    await job.started(2);
    const waiting = control.start('wait', reqid);
    await eventually(async () => {
      const record = await json('status', reqid);
      expect(record.pending).toEqual(both);
    });
    await waiting.stop('SIGKILL');
    // The agents may be restarted, too: the jobs are not theirs alone.
    for (const daemon of daemons) await daemon.stop('SIGKILL');
    await fleet().one.serve();
    await fleet().two.serve();
    job.open();
    expect((await control.command('wait', reqid)).code).toBe(0);
  });

  it('goes on when waiting for it is interrupted', async () => {
    const { control, job, daemons } = await serving();
    const reqid = await submitted('web-01', 'job');
    await job.started(1);
    const waiting = control.start('wait', reqid);
    await daemons[0]?.shows(/ACTION=settle-answered .*STATUS=running/, 'stderr');
    const interrupted = await waiting.stop('SIGINT');
    expect(interrupted.code).toBe(130);
    expect(interrupted.stderr).toBe(
      `Interrupted: what has begun goes on. "ctrl-exec wait ${reqid}" waits for it, "ctrl-exec cancel ${reqid}" stops it.\n`,
    );
    job.open();
    expect((await control.command('wait', reqid)).code).toBe(0);
  });
});

describe('a run whose end was not waited for', () => {
  it('is fetched by status after a read timeout', async () => {
    const { control, job } = await serving();
    const gaveUp = await control.command('run', 'web-01', 'job');
    expect(gaveUp.code).toBe(1);
    expect(gaveUp.stdout).toMatch(
      /^==> web-01 {2}\[RUNNING {2}exit:-1 .*\n {4}ERROR: read timeout after 2s\n$/,
    );
    const reqid = /req:([0-9a-f]{16})/.exec(gaveUp.stdout)?.[1] ?? '';
    expect(gaveUp.stderr).toContain(`"ctrl-exec status ${reqid}" asks again`);
    const before = await json('status', reqid);
    expect(before).toMatchObject({ mode: 'sync', complete: false, pending: ['web-01'] });
    expect(before.results).toMatchObject([{ state: 'running', exit: -1 }]);
    expect((await json('list-locks')).locks).toMatchObject([{ host: 'web-01', script: 'job', reqid }]);
    job.open();
    const waited = await control.command('wait', reqid);
    expect([waited.code, waited.stdout]).toEqual([0, expect.stringContaining('done\n')]);
    const after = await json('status', reqid);
    expect(after.results).toMatchObject([{ state: 'succeeded', exit: 0, stdout: 'done\n', reqid }]);
    expect(after).toMatchObject({ complete: true, pending: [], completed: expect.any(Number) });
    expect((await json('list-locks')).locks).toEqual([]);
  });

  it('is fetched by status, and can be stopped, after the command was killed', async () => {
    const { control, job } = await serving();
    const running = control.start('run', 'web-01', 'job');
    await job.started(1);
    const held = await json('list-locks');
    const reqid = held.locks[0].reqid;
    const during = await json('status', reqid);
    expect(during).toMatchObject({ mode: 'sync', complete: false, pending: ['web-01'] });
    expect(during.results).toMatchObject([{ state: 'running', exit: -1 }]);
    await running.stop('SIGKILL');
    expect(await json('cancel', reqid)).toMatchObject({ results: [{ status: 'cancelling' }] });
    expect((await control.command('wait', reqid)).code).toBe(1);
    const after = await json('status', reqid);
    expect(after).toMatchObject({ complete: true, pending: [] });
    expect(after.results).toMatchObject([{ host: 'web-01', state: 'cancelled', exit: -1 }]);
  });

  it('ends by the timeout of the script, which its agent keeps', async () => {
    const { control } = await serving();
    const ended = await control.command('run', '--timeout', '1', 'web-01', 'job');
    expect(ended.code).toBe(1);
    expect(ended.stdout).toMatch(/\[FAIL {2}exit:126 /);
    expect((await control.command('run', '--timeout', '0', 'web-01', 'job')).code).toBe(64);
  });
});

it('an id that nobody knows is said to be unknown', async () => {
  const { control } = fleet();
  for (const command of ['status', 'wait', 'cancel']) {
    const ended = await control.command(command, '0123456789abcdef');
    expect([ended.code, ended.stderr]).toEqual([1, 'no result for reqid 0123456789abcdef\n']);
    expect((await control.command(command, '../x')).code).toBe(64);
  }
});
