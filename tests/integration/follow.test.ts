import { describe, expect, it } from 'vitest';
import { shared } from '../support/commands/commands.js';
import { gate, pairedFleet } from '../support/fleet/fleet.js';

const fleet = shared(() => pairedFleet({ one: 'web-01', two: 'web-02' }));

describe('a run that is followed', () => {
  it('shows the lines of several hosts as they come, each with its host, and then how each ended', async () => {
    const { control, one, two } = fleet();
    const jobs = [gate(), gate()] as const;
    for (const [at, agent] of [one, two].entries()) {
      // Prints, then waits for its gate, then prints `done`.
      agent.script(
        'job',
        jobs[at === 0 ? 0 : 1].script.replace('printf x', 'echo one; echo two >&2\nprintf x'),
      );
      await agent.serve();
    }
    const following = control.start('run', '--follow', 'web-01', 'web-02', 'job');
    const reqid = await following.shows(/^Following run ([0-9a-f]{16})$/m, 'stderr');
    for (const host of ['web-01', 'web-02']) {
      await following.shows(new RegExp(`^${host}: one$`, 'm'));
      await following.shows(new RegExp(`^${host} STDERR: two$`, 'm'));
    }
    jobs[1].open();
    await following.shows(/^web-02: done$/m);
    await following.shows(new RegExp(`^==> web-02 {2}\\[OK {2}exit:0 {2}\\d+ms {2}req:${reqid}\\]$`, 'm'));
    expect(following.output()).not.toContain('==> web-01');
    jobs[0].open();
    const { code, stdout } = await following.ended;
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(8);
    expect(lines.filter((line) => line.startsWith('web-01'))).toEqual(
      expect.arrayContaining(['web-01: one', 'web-01 STDERR: two', 'web-01: done']),
    );
    const status = await control.command('status', reqid, '--json');
    expect(JSON.parse(status.stdout).results).toMatchObject([
      { host: 'web-01', exit: 0, stdout: 'one\ndone\n', stderr: 'two\n' },
      { host: 'web-02', exit: 0, stdout: 'one\ndone\n', stderr: 'two\n' },
    ]);
  });
});
