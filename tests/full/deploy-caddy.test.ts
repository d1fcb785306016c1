import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { childProcessRunner } from '../../src/adapters/child-process/runner.js';
import { nodeDeploymentFiles } from '../../src/adapters/files/deploy/deployment-files.js';
import { fileDeploymentJournal } from '../../src/adapters/files/deploy/deployment-journal.js';
import { nodeFileSystem } from '../../src/adapters/files/file-system.js';
import { nodeCrypto } from '../../src/adapters/node-crypto/crypto.js';
import { tlsProbe } from '../../src/adapters/node-tls/probe.js';
import { systemClock } from '../../src/adapters/system/clock.js';
import { undiciCaddyAdmin } from '../../src/adapters/undici/caddy-admin.js';
import { strictPolicy } from '../../src/domain/deploy/policy.js';
import { lanes } from '../../src/sdk/core/lanes.js';
import type { DeployContext } from '../../src/sdk/deploy/context.js';
import { deploy } from '../../src/sdk/deploy/deploy.js';
import { failure, value } from '../contract/result.js';
import { startCaddyWithApi, startCaddyWithFiles } from '../support/deployment/caddy.js';
import { isInstalled, served } from '../support/deployment/server.js';
import { deploymentSuite } from '../support/deployment/suite.js';
import { fingerprintOf } from '../support/deployment/world.js';
import { testCa } from '../support/network/test-pki.js';

const installed = await isInstalled('caddy');
if (installed) deploymentSuite('Caddy', startCaddyWithFiles, { servesSha1: true, resetsAtReload: true });

describe.skipIf(!installed)('deployments to Caddy by its administration API', { timeout: 60_000 }, () => {
  let directory: string;
  let running: Awaited<ReturnType<typeof startCaddyWithApi>>;
  let old: { certificate: string; key: string };
  let fresh: typeof old;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ctrl-exec-caddy-api-'));
    const ca = await testCa();
    const issue = () => ca.issue({ commonName: 'www.test', dnsNames: ['www.test'], usages: ['serverAuth'] });
    [old, fresh] = [await issue(), await issue()];
    running = await startCaddyWithApi({ directory, ...old });
    expect(await served(running.port)).toBe(fingerprintOf(old.certificate));
  });
  afterEach(async () => {
    await running.stop();
    await rm(directory, { recursive: true, force: true });
  });

  const owners = [String(process.getuid?.() ?? 0)];
  const place = () => ({ api: running.api, owners });
  const policy = { ...strictPolicy('agent.conf'), owners };
  const context = (): DeployContext => ({
    caddyAdmin: undiciCaddyAdmin(nodeFileSystem()),
    clock: systemClock(),
    crypto: nodeCrypto(),
    deploymentFiles: nodeDeploymentFiles(),
    deploymentJournal: fileDeploymentJournal({ directory: join(directory, 'deployments') }),
    environment: { PATH: process.env['PATH'] ?? '' },
    files: nodeFileSystem(),
    lanes: lanes(),
    policy,
    runner: childProcessRunner(),
    stop: undefined,
    tlsProbe: tlsProbe(),
  });
  const install = (pair: typeof old, endpoint = `127.0.0.1:${running.port}`) =>
    deploy(context(), {
      targetType: 'Caddy',
      targetConfig: {
        mode: 'api',
        admin_api: running.api,
        post_deploy_verify: { enabled: true, endpoint },
        post_deploy_verify_attempts: 1,
      },
      certificatePem: pair.certificate,
      keyPem: pair.key,
    });

  it('a new certificate takes the place of the old one and is served; the same once more changes nothing', async () => {
    expect(value(await install(fresh))).toMatchObject({
      changed: true,
      verification: { verified: true },
    });
    expect(await served(running.port)).toBe(fingerprintOf(fresh.certificate));
    const { document } = value(await undiciCaddyAdmin(nodeFileSystem()).read(place()));
    expect(JSON.stringify(document).match(/BEGIN CERTIFICATE/g)).toHaveLength(1);
    expect(value(await install(fresh))).toEqual({ changed: false, warnings: [] });
  });

  it('when it is not what is served, the configuration is as before', async () => {
    const admin = undiciCaddyAdmin(nodeFileSystem());
    const before = value(await admin.read(place())).document;
    const error = failure(await install(fresh, '127.0.0.1:1'));
    expect(error).toMatchObject({ code: 'deployment_failed', step: 'post_deploy_verify', rolledBack: true });
    expect(error.message).toContain('the previous configuration is back');
    expect(value(await admin.read(place())).document).toEqual(before);
    expect(await served(running.port)).toBe(fingerprintOf(old.certificate));
  });

  it('a change of somebody else in between is not lost', async () => {
    const admin = undiciCaddyAdmin(nodeFileSystem());
    const first = value(await admin.read(place()));
    expect(first.revision).toBeDefined();
    value(await install(fresh));
    const late = await admin.replace(place(), first);
    expect(failure(late)).toMatchObject({ code: 'refused', status: 412 });
    expect(await served(running.port)).toBe(fingerprintOf(fresh.certificate));
  });

  it('a document that it cannot use is refused, and the former one stays', async () => {
    const document = { apps: { tls: { certificates: { load_pem: [{ certificate: 'x', key: 'y' }] } } } };
    const refused = await undiciCaddyAdmin(nodeFileSystem()).replace(place(), {
      document,
      revision: undefined,
    });
    expect(failure(refused).code).toBe('refused');
    expect(await served(running.port)).toBe(fingerprintOf(old.certificate));
  });
});
