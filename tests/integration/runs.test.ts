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
        error: expect.stringMatching(/^the host name no-such-host\.invalid does not resolve \(\w+\)$/),
      },
      { host: 'web-02', exit: 0, stdout: 'web-02\n', reqid },
      { ...failed, host: refused, error: `nothing listens on ${refused}` },
      { host: 'db-01', exit: 0, stdout: 'db-01\n', reqid },
    ]);
  });
});
