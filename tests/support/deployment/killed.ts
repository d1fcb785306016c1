import { spawn } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import { recoverDeployments } from '../../../src/sdk/deploy/deploy.js';
import { value } from '../../contract/result.js';
import { bundle } from '../commands/bundle.js';
import { testCa } from '../network/test-pki.js';
import { allowing, realContext } from './context.js';
import { startNginx } from './nginx.js';
import { served, until } from './server.js';
import { fingerprintOf } from './world.js';

/** A process that deploys is killed at random moments; after the recovery there is a whole pair, and NGINX serves it. */
export async function killedWhileDeploying(rounds: number): Promise<{ recovered: number; lines: string[] }> {
  const directory = await mkdtemp(join(tmpdir(), 'ctrl-exec-deploy-killed-'));
  const ca = await testCa();
  const issue = () => ca.issue({ commonName: 'www.test', dnsNames: ['www.test'], usages: ['serverAuth'] });
  const pairs = await Promise.all([issue(), issue()]);
  const [{ certificate = '', key = '' } = {}] = pairs;
  const server = await startNginx({ directory, certificate: certificate + ca.pem, key });
  const lines: string[] = [];
  try {
    const child = join(directory, 'child.mjs');
    bundle('tests/support/deployment/deploy-child.ts', child);
    const verification = {
      post_deploy_verify: { enabled: true, endpoint: `127.0.0.1:${server.port}` },
      post_deploy_verify_attempts: 50,
    };
    const orders = pairs.toReversed().map((pair) => ({
      targetType: 'NGINX',
      targetConfig: { ...server.config, ...verification },
      certificatePem: pair.certificate + ca.pem,
      keyPem: pair.key,
    }));
    await writeFile(join(directory, 'orders.json'), JSON.stringify(orders));

    for (let round = 0; round < rounds; round += 1) {
      const doomed = spawn(process.execPath, [child, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
      const [first] = (await once(doomed.stdout, 'data')) as [Buffer];
      expect(first.toString()).not.toContain('failed');
      const ended = once(doomed, 'exit');
      await delay(Math.random() * 250);
      doomed.kill('SIGKILL');
      await ended;

      const real = realContext(directory);
      const context = { ...real, policy: allowing(real.policy, server.config) };
      const told = value(await recoverDeployments(context));
      lines.push(...told);
      expect(told.join()).not.toMatch(/FAILED|alone/);
      const now = new X509Certificate(await readFile(server.files.cert, 'utf8'));
      const keyNow = createPrivateKey(await readFile(server.files.key, 'utf8'));
      expect(now.checkPrivateKey(keyNow)).toBe(true);
      expect((await readdir(dirname(server.files.cert))).toSorted()).toEqual(['cert.pem', 'key.pem']);
      const expected = fingerprintOf(now.toString());
      await until('NGINX serves the pair', async () => (await served(server.port)) === expected);
      expect(value(await recoverDeployments(context))).toEqual([]);
    }
    return { recovered: lines.length, lines };
  } finally {
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  }
}
