import { expect, it } from 'vitest';
import { killedWhileDeploying } from '../../support/deployment/killed.js';
import { isInstalled } from '../../support/deployment/server.js';

it.skipIf(!(await isInstalled('nginx')))(
  'a process that is killed while it deploys leaves what the next start makes whole',
  { timeout: 120_000 },
  async () => {
    const { recovered } = await killedWhileDeploying(10);
    expect(recovered).toBeGreaterThan(0);
  },
);
