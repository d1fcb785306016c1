import { expect, it } from 'vitest';
import { dispatcherCredentials, pairedHost } from '../../support/fleet/fleet.js';
import { slowStages } from '../../support/slow-clients/clients.js';
import { longOutput, pingedAmong } from '../../support/slow-clients/scene.js';

const host = pairedHost();

it('with fifty slow clients of all kinds at once, every ping is answered', async () => {
  const agent = await host.fresh();
  agent.script('long', longOutput);
  const daemon = await agent.serve();
  // Bodies and answers have 30 s; tests/full waits for their end.
  const quick = slowStages.slice(0, 5);
  const { pings, most } = await pingedAmong(50, agent, daemon, dispatcherCredentials(host.control()), quick);
  expect(pings).toBeGreaterThan(0);
  expect(most).toBeGreaterThan(40);
});
