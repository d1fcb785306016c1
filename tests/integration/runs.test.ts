import { describe, expect, it } from 'vitest';
import { freePort, shared } from '../support/commands/commands.js';
import { pairedFleet } from '../support/fleet/fleet.js';

const serving = (name: string) => ({ name, scripts: { name: `#!/bin/sh\necho ${name}\n` }, serves: true });

/** Three agents that serve, and one that is paired and down. */
const fleet = shared(() =>
  pairedFleet({ one: serving('web-01'), two: serving('web-02'), three: serving('db-01'), down: 'down-01' }),
);

describe('hosts that fail', () => {
  it('are reported inline with what to do, and the others complete', async () => {
    const { control, down } = fleet();
    const refused = `127.0.0.1:${await freePort()}`;
    const hosts = ['web-01', 'down-01', 'no-such-host.invalid', 'web-02', refused, 'db-01'];
    const { code, stdout, stderr } = await control.command('run', '--json', ...hosts, 'name');
    const { ok, reqid, results } = JSON.parse(stdout);
    expect({ code, stderr, ok }).toEqual({ code: 1, stderr: '', ok: 1 });
    const failed = { script: 'name', exit: -1, rtt: expect.stringMatching(/^\d+ms$/), reqid };
    expect(results).toMatchObject([
      { host: 'web-01', exit: 0, stdout: 'web-01\n', reqid },
      { ...failed, host: 'down-01', error: `nothing listens on 127.0.0.1:${down.port}` },
      {
        ...failed,
        host: 'no-such-host.invalid',
        error: expect.stringMatching(
          /^no-such-host\.invalid is not registered here; the host name no-such-host\.invalid does not resolve \(\w+\)$/,
        ),
      },
      { host: 'web-02', exit: 0, stdout: 'web-02\n', reqid },
      { ...failed, host: refused, error: `nothing listens on ${refused}` },
      { host: 'db-01', exit: 0, stdout: 'db-01\n', reqid },
    ]);
  });
});

describe('a host that there is not', () => {
  // Longer than a label may be: every resolver knows that nobody has this name.
  const slow = 'slow'.repeat(16);

  it.each([
    ['run', ['web-01', slow, 'name']],
    ['run', ['--async', 'web-01', slow, 'name']],
    ['run', ['--follow', 'web-01', slow, 'name']],
    ['ping', ['web-01', slow]],
    ['discovery', ['web-01', slow]],
  ])('ends %s %j with 64 before anything is sent', async (command, args) => {
    const { control } = fleet();
    const { code, stdout, stderr } = await control.command(command, ...args);
    expect([code, stdout]).toEqual([64, '']);
    const [said, hint] = stderr.split('\n');
    expect(said).toBe(
      `unknown host ${slow}, which is not registered here and does not resolve; nothing was sent`,
    );
    expect(hint).toMatch(
      command === 'run' ? /stands behind "--": ctrl-exec run HOST… SCRIPT -- ARG…$/ : /^$/,
    );
  });

  it('is told with --json, too', async () => {
    const { code, stdout } = await fleet().control.command('ping', '--json', slow);
    expect([code, JSON.parse(stdout)]).toEqual([
      64,
      { ok: 0, error: `unknown host ${slow}, which is not registered here and does not resolve` },
    ]);
  });

  it('is reported inline with --script, as of old', async () => {
    const { code, stdout } = await fleet().control.command('run', '--script', 'name', 'web-01', slow);
    expect(code).toBe(1);
    expect(stdout).toContain('web-01\n');
    expect(stdout).toContain(`ERROR: ${slow} is not registered here; the host name ${slow} does not resolve`);
  });

  it('and a script that was not named is a usage error', async () => {
    const { code, stderr } = await fleet().control.command('run', 'web-01', '--', 'x');
    expect([code, stderr]).toEqual([
      64,
      'web-01 alone can be a host or a script: both are needed\nusage: ctrl-exec run HOST… SCRIPT [-- ARG…]\n',
    ]);
  });
});
