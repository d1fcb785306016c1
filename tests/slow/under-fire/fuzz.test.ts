import { existsSync } from 'node:fs';
import { expect, it } from 'vitest';
import { dispatcherCredentials, pairedHost } from '../../support/fleet/fleet.js';
import { fuzzAgent, fuzzSeed } from '../../support/network/fuzz.js';

const host = pairedHost();

it.skipIf(!existsSync('/proc/self/fd'))(
  'three thousand inputs that are nearly right do the agent no harm (needs /proc)',
  async () => {
    const agent = await host.fresh('rate_limit_disable = on\n');
    const daemon = await agent.serve();
    const counts = { http: 500, json: 2_000, tls: 450, configuration: 50 };
    const who = dispatcherCredentials(host.control());
    const tally = await fuzzAgent(agent, daemon, who, counts, fuzzSeed());
    console.log(JSON.stringify(tally));
    expect((await daemon.stop()).code).toBe(0);
  },
  120_000,
);
