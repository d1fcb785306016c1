import { expect, it } from 'vitest';
import { dispatcherCredentials, pairedHost } from '../support/fleet/fleet.js';
import { fuzzAgent, fuzzSeed } from '../support/network/fuzz.js';

const host = pairedHost();

it('a hundred thousand inputs that are nearly right do the agent no harm', async () => {
  const agent = await host.fresh('rate_limit_disable = on\n');
  const daemon = await agent.serve();
  const counts = { http: 15_000, json: 60_000, tls: 24_000, configuration: 1_000 };
  const who = dispatcherCredentials(host.control());
  const tally = await fuzzAgent(agent, daemon, who, counts, fuzzSeed());
  console.log(JSON.stringify(tally));
  expect((await daemon.stop()).code).toBe(0);
}, 3_600_000);
