import { describe, expect, it } from 'vitest';
import { freePort, shared } from '../support/commands/commands.js';
import { pairedFleet } from '../support/fleet/fleet.js';

const serving = (name: string, env: string, role: string) => ({
  name,
  conf: `[tags]\nenv = ${env}\nrole = ${role}\n`,
  scripts: { name: `#!/bin/sh\necho ${name}\n` },
  serves: true,
});

/** Three agents that serve, and one that is paired and down. */
const fleet = shared(async () => {
  const { control, down, ...agents } = await pairedFleet({
    'web-01': serving('web-01', 'prod', 'web'),
    'web-02': serving('web-02', 'test', 'web'),
    'db-01': serving('db-01', 'prod', 'db'),
    down: 'down-01',
  });
  const discovered = await control.command('discovery', 'web-01', 'web-02', 'db-01');
  if (discovered.code !== 0) throw new Error(discovered.stderr + discovered.stdout);
  return { control, down, agent: (name: keyof typeof agents) => agents[name] };
});

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
        error: expect.stringMatching(/^the host name no-such-host\.invalid does not resolve \(\w+\)$/),
      },
      { host: 'web-02', exit: 0, stdout: 'web-02\n', reqid },
      { ...failed, host: refused, error: `nothing listens on ${refused}` },
      { host: 'db-01', exit: 0, stdout: 'db-01\n', reqid },
    ]);
  });
});
