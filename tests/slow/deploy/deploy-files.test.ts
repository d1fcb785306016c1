import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { PullPolicy } from '../../../src/domain/deploy/policy.js';
import { deploy } from '../../../src/sdk/deploy/deploy.js';
import { failure, value } from '../../contract/result.js';
import { allowing, realContext } from '../../support/deployment/context.js';
import { run } from '../../support/deployment/server.js';
import { type TestCa, testCa } from '../../support/network/test-pki.js';

describe('deployments to real files', () => {
  let ca: TestCa;
  let directory: string;
  const at = (name: string) => join(directory, name);
  beforeAll(async () => {
    const root = await testCa({ commonName: 'root' });
    ca = await testCa({ issuer: { commonName: 'root', keys: root.keys } });
  });
  beforeEach(async () => {
    directory = await realpath(await mkdtemp(join(tmpdir(), 'ctrl-exec-deploy-files-')));
    await mkdir(at('tls'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const commands = { validate_command: '/bin/true', reload_command: '/bin/true' };
  const install = async (targetType: string, targetConfig: object, allowed: Partial<PullPolicy> = {}) => {
    const { certificate, key } = await ca.issue();
    const context = realContext(directory, 1000);
    const policy = { ...allowing(context.policy, targetConfig), ...allowed };
    const outcome = await deploy(
      { ...context, policy },
      {
        targetType,
        targetConfig,
        certificatePem: certificate + ca.pem,
        keyPem: key,
      },
    );
    return { outcome, certificate, key };
  };

  it('a linked certificate is replaced where it is, and the link stays', async () => {
    await mkdir(at('live'));
    await writeFile(at('live/cert.pem'), '');
    await symlink('../live/cert.pem', at('tls/cert.pem'));
    const config = { ...commands, cert_path: at('tls/cert.pem') };
    const { outcome, certificate } = await install('NGINX', config);
    expect(value(outcome).changed).toBe(true);
    expect(await realpath(at('tls/cert.pem'))).toBe(at('live/cert.pem'));
    expect(await readFile(at('live/cert.pem'), 'utf8')).toBe(certificate + ca.pem);
  });

  it('a link that leads out of a directory of certificates is refused, and nothing is written', async () => {
    await writeFile(at('passwd'), 'precious');
    await symlink(at('passwd'), at('tls/key.pem'));
    for (const [type, config] of [
      ['Traefik', { cert_dir: at('tls') }],
      ['Envoy', { cert_dir: at('tls') }],
      ['Caddy', { mode: 'file', cert_dir: at('tls') }],
    ] as const) {
      const { outcome } = await install(type, config);
      expect(failure(outcome).message).toContain('is a link that leads out of');
    }
    expect(await readFile(at('passwd'), 'utf8')).toBe('precious');
    expect(await readdir(at('tls'))).toEqual(['key.pem']);
  });

  it('two paths that lead to one file are refused', async () => {
    await writeFile(at('tls/both'), 'old');
    await symlink('both', at('tls/cert.pem'));
    const config = { ...commands, cert_path: at('tls/cert.pem'), key_path: at('tls/both') };
    const { outcome } = await install('NGINX', config);
    expect(failure(outcome).message).toContain('is meant by two of the configured paths');
    expect(await readFile(at('tls/both'), 'utf8')).toBe('old');
  });

  it('a new key is 0640, one that is there keeps its mode, one that is configured gets its own', async () => {
    const mode = async () => (await stat(at('tls/site.pem'))).mode & 0o777;
    const config = { pem_path: at('tls/site.pem'), reload_command: '/bin/true' };
    value((await install('HAProxy', config)).outcome);
    expect(await mode()).toBe(0o640);
    await chmod(at('tls/site.pem'), 0o400);
    value((await install('HAProxy', config)).outcome);
    expect(await mode()).toBe(0o400);
    value((await install('HAProxy', { ...config, pem_file_mode: 0o600 })).outcome);
    expect(await mode()).toBe(0o600);
  });

  it('Envoy has its certificate, key, chain and discovery, Traefik its two files', async () => {
    const { outcome, certificate } = await install('Envoy', {
      cert_dir: at('tls'),
      chain_filename: 'chain.pem',
      sds_config: true,
    });
    value(outcome);
    expect((await readdir(at('tls'))).toSorted()).toEqual(['cert.pem', 'chain.pem', 'key.pem', 'sds.json']);
    expect(await readFile(at('tls/cert.pem'), 'utf8')).toBe(certificate);
    expect(await readFile(at('tls/chain.pem'), 'utf8')).toBe(ca.pem);
    value((await install('Traefik', { cert_dir: at('tls') })).outcome);
  });

  it('a hundred deployments to different targets run side by side', async () => {
    const names = Array.from({ length: 100 }, (_, index) => `site-${index}.pem`);
    const outcomes = await Promise.all(
      names.map((name) => install('HAProxy', { pem_path: at(`tls/${name}`), reload_command: '/bin/true' })),
    );
    for (const [index, { outcome, certificate, key }] of outcomes.entries()) {
      expect(value(outcome).changed).toBe(true);
      const installed = await readFile(at(`tls/site-${index}.pem`), 'utf8');
      expect(installed).toBe(certificate + ca.pem + key);
    }
    expect(await readdir(at('tls'))).toHaveLength(100);
  });

  it.skipIf(process.getuid?.() !== 0)(
    'a full disk and a read-only one: nothing is changed, nothing left, and it says so',
    async () => {
      await run('mount', ['-t', 'tmpfs', '-o', 'size=16k,mode=0755', 'tmpfs', at('tls')]);
      try {
        const old = await ca.issue();
        await writeFile(at('tls/site.pem'), old.certificate + old.key, { mode: 0o600 });
        await writeFile(at('tls/ballast'), 'x'.repeat(4000));
        await writeFile(at('tls/more'), 'x'.repeat(4000)).catch(() => undefined);
        const config = { pem_path: at('tls/site.pem'), reload_command: '/bin/true' };
        const full = await install('HAProxy', config);
        expect(failure(full.outcome)).toMatchObject({
          code: 'deployment_failed',
          step: 'writing',
          rolledBack: true,
        });
        expect(failure(full.outcome).message).toMatch(/ENOSPC.*nothing was changed/);
        expect(await readFile(at('tls/site.pem'), 'utf8')).toBe(old.certificate + old.key);
        expect((await readdir(at('tls'))).filter((name) => name.startsWith('.'))).toEqual([]);
        await run('mount', ['-o', 'remount,ro', at('tls')]);
        const { outcome } = await install('HAProxy', config);
        expect(failure(outcome).message).toContain('EROFS');
        expect(await readdir(at('deployments'))).toEqual([]);
      } finally {
        await run('umount', [at('tls')]);
      }
    },
  );
});
