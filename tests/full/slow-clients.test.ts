import { expect, it } from 'vitest';
import { dispatcherCredentials, pairedHost } from '../support/fleet/fleet.js';
import { slowStages } from '../support/slow-clients/clients.js';
import { longOutput, pingedAmong } from '../support/slow-clients/scene.js';

const host = pairedHost();

it('with a thousand slow clients of all kinds at once, every ping is answered, and each kind is ended', async () => {
  const agent = await host.fresh('max_connections = 2048\n');
  agent.script('long', longOutput);
  const daemon = await agent.serve();
  const who = dispatcherCredentials(host.control());
  const { pings, most } = await pingedAmong(1_000, agent, daemon, who, slowStages);
  expect(pings).toBeGreaterThan(0);
  expect(most).toBeGreaterThan(900);
});
