import { expect, it } from 'vitest';
import { shared } from '../../support/commands/commands.js';
import { eventually, pairedFleet } from '../../support/fleet/fleet.js';
import { holdingProxy } from '../../support/network/holding-proxy.js';

const fleet = shared(() => pairedFleet({ agent: 'web-01' }, 'read_timeout = 2\n'));

it.each([
  ['run', ['run']],
  ['run --async', ['run', '--async']],
])(
  'a request of %s that is held up on its way is never begun once its agent was asked',
  async (_name, words) => {
    const { control, agent } = fleet();
    agent.script('job', '#!/bin/sh\necho began\n');
    const daemon = await agent.serve();
    const proxy = await holdingProxy(agent.port);
    const moved = await control.command('edit-agent', 'web-01', '--agent-port', String(proxy.port));
    expect([moved.code, moved.stderr]).toEqual([0, '']);
    expect((await control.command('ping', 'web-01')).code).toBe(0);
    proxy.hold();
    const given = JSON.parse((await control.command(...words, '--json', 'web-01', 'job')).stdout);
    // A record of ids that is as young as this agent's proves nothing of the minute before.
    expect(given.results).toMatchObject([
      { host: 'web-01', state: 'unknown', error: 'read timeout after 2s' },
    ]);
    expect((await control.command('list-locks')).stdout).not.toContain('web-01');
    proxy.release();
    await eventually(() => expect(daemon.output('stderr')).toMatch(/ACTION=run-repeated .*STATE=void/));
    expect(daemon.output('stderr')).not.toContain('ACTION=run-start');
    expect(daemon.output('stderr')).not.toContain('ACTION=run-accepted');
    const again = await control.command('run', 'web-01', 'job');
    expect([again.code, again.stdout]).toEqual([0, expect.stringContaining('began')]);
    await daemon.stop();
  },
);
