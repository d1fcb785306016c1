import { expect, it } from 'vitest';
import { killedWhileDeploying } from '../support/deployment/killed.js';
import { isInstalled } from '../support/deployment/server.js';

it.skipIf(!(await isInstalled('nginx')))(
  'a process that is killed 200 times while it deploys leaves what the next start makes whole',
  async () => {
    const { recovered, lines } = await killedWhileDeploying(200);
    console.log(`${recovered} of 200 interrupted deployments to undo`);
    expect(new Set(lines.map((line) => line.replace(/ an interrupted.*\)/, ''))).size).toBeGreaterThan(1);
  },
);
