import { describe, expect, it } from 'vitest';
import { shared } from '../support/commands/commands.js';
import { gate, pairedFleet } from '../support/fleet/fleet.js';

const fleet = shared(() => pairedFleet({ one: 'web-01', two: 'web-02' }, 'read_timeout = 2\n'));

const both = ['web-01', 'web-02'];

const json = async (...words: string[]) => {
  const ended = await fleet().control.command(...words, '--json');
  return { code: ended.code, ...JSON.parse(ended.stdout) };
};

describe('a run that the agents do by themselves', () => {
  it('is accepted, looked at, waited for, and asked for no further once it is settled', async () => {
    const { control, one, two } = fleet();
    // Goes on until it is told to end.
    const job = gate();
    for (const agent of [one, two]) agent.script('job', job.script);
    const daemons = [await one.serve(), await two.serve()];
    const { reqid, results } = await json('run', '--async', ...both, 'job');
    expect(results).toMatchObject(both.map((host) => ({ host, status: 'accepted', reqid })));
    await job.started(2);
    const { locks } = await json('list-locks');
    expect(locks).toMatchObject(both.map((host) => ({ host, script: 'job', reqid })));
    expect((await control.command('run', 'web-01', 'job')).stderr).toBe(
      `Locked: already running: web-01:job (run ${reqid})\n`,
    );
    expect((await json('runs', '--outcome', 'running')).runs).toMatchObject([
      { reqid, outcome: 'running', counts: { running: 2 } },
    ]);

    const under = await json('status', reqid);
    expect(under).toMatchObject({ code: 0, ok: 1, mode: 'async', complete: false, pending: both });
    const goesOn = { status: 'running', state: 'running' };
    expect(under.hosts).toEqual({ 'web-01': goesOn, 'web-02': goesOn });
    const timedOut = await control.command('wait', reqid, '--timeout', '0');
    expect(timedOut.code).toBe(2);
    expect(timedOut.stdout).toMatch(
      new RegExp(`^==> web-01  \\[RUNNING  exit:-1  \\d+ms  req:${reqid}\\]$`, 'm'),
    );

    const waiting = control.start('wait', reqid);
    job.open();
    const waited = await waiting.ended;
    expect([waited.code, waited.stderr]).toEqual([0, '']);
    for (const host of both)
      expect(waited.stdout).toMatch(
        new RegExp(`^==> ${host}  \\[OK  exit:0  \\d+ms  req:${reqid}\\]\ndone\n`, 'm'),
      );

    for (const daemon of daemons) await daemon.stop();
    const done = { status: 'done', state: 'succeeded', exit: 0, stdout: 'done\n', stderr: '' };
    expect(await json('status', reqid)).toMatchObject({
      code: 0,
      complete: true,
      pending: [],
      hosts: { 'web-01': done, 'web-02': done },
    });
    expect((await json('list-locks')).locks).toEqual([]);
    expect((await json('runs', '--outcome', 'succeeded')).runs).toMatchObject([{ reqid }]);
    const misspelt = await control.command('runs', '--outcome', 'ok');
    expect([misspelt.code, misspelt.stdout]).toEqual([64, '']);
    const nothing = await control.command('release-lock', 'web-01', 'job');
    expect([nothing.code, nothing.stdout]).toEqual([64, '']);
  });
});
