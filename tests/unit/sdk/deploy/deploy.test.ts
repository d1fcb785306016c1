import { err, okAsync, ResultAsync } from 'neverthrow';
import { beforeAll, describe, expect, it } from 'vitest';
import { failure as fail } from '../../../../src/domain/core/errors.js';
import {
  type Deployed,
  type Deployment,
  deploy,
  recoverDeployments,
} from '../../../../src/sdk/deploy/deploy.js';
import { failure, value } from '../../../contract/result.js';
import { deploymentWorld, fingerprintOf, type Trouble } from '../../../support/deployment/world.js';
import { type TestCa, testCa } from '../../../support/network/test-pki.js';

type World = Awaited<ReturnType<typeof deploymentWorld>>;

let ca: TestCa;
beforeAll(async () => {
  ca = await testCa();
});

type Running = Pick<World, 'context'> & { readonly deployment: Deployment };

const deployed = async ({ context, deployment }: Running): Promise<Deployed> =>
  value(await deploy(context, deployment));

const failed = async ({ context, deployment }: World) => {
  const error = failure(await deploy(context, deployment));
  if (error.code !== 'deployment_failed') throw new Error(`unexpected: ${error.message}`);
  return error;
};

/** What was there before is there, and nothing else; nothing is pending. */
async function expectAsBefore({ files, text, old, server, journal }: World): Promise<void> {
  expect([...files.files.keys()].toSorted()).toEqual(['/etc/tls/cert.pem', '/etc/tls/key.pem']);
  expect(text('/etc/tls/cert.pem')).toBe(old.certificate + ca.pem);
  expect(text('/etc/tls/key.pem')).toBe(old.key);
  expect(files.files.get('/etc/tls/key.pem')?.mode).toBe(0o600);
  expect(server.served).toBe(fingerprintOf(old.certificate));
  journal.crash();
  expect(value(await journal.pending())).toEqual([]);
}

describe('a deployment that succeeds', () => {
  it('replaces the files with their modes kept, validates, reloads, and sees what is served', async () => {
    const world = await deploymentWorld(ca);
    const expectedFingerprint = fingerprintOf(world.fresh.certificate);
    expect(await deployed(world)).toEqual({
      changed: true,
      warnings: [],
      verification: {
        endpoint: 'localhost:443',
        expectedFingerprint,
        actualFingerprint: expectedFingerprint,
        verified: true,
      },
    });
    expect(world.text('/etc/tls/cert.pem')).toBe(world.fresh.certificate);
    expect(world.text('/etc/tls/key.pem')).toBe(world.fresh.key);
    expect(world.files.files.get('/etc/tls/key.pem')?.mode).toBe(0o600);
    expect(world.files.files.size).toBe(2);
    expect(world.server.commands).toEqual(['validate -q', 'reload']);
    expect(world.clock.waits).toEqual([2000]);
  });

  it('touches and reloads nothing when the bytes are there already', async () => {
    const world = await deploymentWorld(ca);
    await deployed(world);
    world.server.commands.length = 0;
    expect(await deployed(world)).toEqual({ changed: false, warnings: [] });
    expect(world.server.commands).toEqual([]);
    expect(world.journal.backups()).toHaveLength(1);
  });

  it('keeps three backups, or as many as configured, -1: none', async () => {
    for (const [retention, kept] of [
      [undefined, 3],
      [0, 3],
      [2, 2],
      [-1, 0],
    ] as const) {
      const world = await deploymentWorld(ca);
      const pairs = [world.fresh, world.old, await ca.issue(), await ca.issue(), await ca.issue()];
      for (const { certificate, key } of pairs)
        await deployed({
          ...world,
          deployment: {
            ...world.deployment,
            certificatePem: certificate,
            keyPem: key,
            targetConfig: { ...world.config, backup_retention: retention },
          },
        });
      expect(world.journal.backups()).toHaveLength(kept);
    }
  });

  it('gives a new key 0640, and says so when a key is readable by everybody', async () => {
    const world = await deploymentWorld(ca);
    world.files.files.delete('/etc/tls/key.pem');
    await deployed(world);
    expect(world.files.files.get('/etc/tls/key.pem')?.mode).toBe(0o640);
    const open = await deploymentWorld(ca);
    open.put('/etc/tls/key.pem', open.old.key, 0o644);
    expect((await deployed(open)).warnings).toEqual([
      '/etc/tls/key.pem holds a private key and has mode 0644',
    ]);
  });

  it('is asked for again until it is served, with a backoff that doubles', async () => {
    const world = await deploymentWorld(ca);
    world.server.stuckAt = fingerprintOf(world.old.certificate);
    const targetConfig = {
      ...world.config,
      post_deploy_verify_attempts: 5,
      post_deploy_verify_backoff: 3e9,
      post_deploy_verify_max_backoff: 7e9,
    };
    const original = world.clock.after;
    const clock = {
      ...world.clock,
      after: (delay: number, callback: () => void) => {
        if (world.clock.waits.length === 4) world.server.stuckAt = undefined;
        return original(delay, callback);
      },
    };
    const outcome = await deploy({ ...world.context, clock }, { ...world.deployment, targetConfig });
    expect(value(outcome).verification?.verified).toBe(true);
    expect(world.clock.waits).toEqual([2000, 3000, 6000, 7000, 7000]);
  });
});

describe('a deployment that fails is as if it had not been', () => {
  it('when validation fails: nothing is reloaded', async () => {
    const world = await deploymentWorld(ca);
    world.server.exits.validate = [1];
    const error = await failed(world);
    expect(error).toMatchObject({ target: 'NGINX', step: 'validate_command', rolledBack: true });
    expect(error.message).toBe(
      'NGINX: validate_command failed: "/bin/validate -q" exited with 1; rolled back: the previous files are back',
    );
    expect(world.server.commands).toEqual(['validate -q']);
    await expectAsBefore(world);
  });

  it('when the reload fails: the old files are reloaded', async () => {
    const world = await deploymentWorld(ca);
    world.server.exits.reload = [1];
    const error = await failed(world);
    expect(error).toMatchObject({ step: 'reload_command', rolledBack: true });
    expect(error.message).toContain('localhost:443 serves the previous certificate again');
    expect(world.server.commands).toEqual(['validate -q', 'reload', 'reload']);
    await expectAsBefore(world);
  });

  it('when another certificate is served: it is told which, and the old files are reloaded', async () => {
    const world = await deploymentWorld(ca);
    world.server.stuckAt = 'ab'.repeat(32);
    const error = await failed(world);
    expect(error).toMatchObject({
      step: 'post_deploy_verify',
      rolledBack: true,
      verification: {
        expectedFingerprint: fingerprintOf(world.fresh.certificate),
        actualFingerprint: 'ab'.repeat(32),
        verified: false,
      },
    });
    expect(error.message).toContain('but localhost:443 does not serve the previous certificate');
    expect(world.clock.waits).toEqual([2000, 1000, 2000, 2000, 1000, 2000]);
    await expectAsBefore(world);
  });

  it('when nobody listens', async () => {
    const world = await deploymentWorld(ca);
    world.server.listening = false;
    expect((await failed(world)).verification?.actualFingerprint).toBe('');
    await expectAsBefore(world);
  });

  it('whichever call of a port fails, and wherever the files were new', async () => {
    for (const isNew of [false, true]) {
      let [rolledBack, harmless] = [0, 0];
      for (let failAt = 1; ; failAt += 1) {
        const trouble: Trouble = { calls: 0, failAt };
        const world = await deploymentWorld(ca, { trouble });
        if (isNew) world.files.files.clear();
        const outcome = await deploy(world.context, world.deployment);
        if (trouble.calls < failAt) {
          expect(outcome.isOk()).toBe(true);
          break;
        }
        if (outcome.isOk()) {
          harmless += 1;
          continue;
        }
        const error = failure(outcome);
        expect(error).toMatchObject({ code: 'deployment_failed', rolledBack: true });
        rolledBack += 1;
        if (isNew) expect([...world.files.files.keys()]).toEqual([]);
        else await expectAsBefore(world);
      }
      expect(rolledBack).toBeGreaterThan(8);
      // Which place a file is only tells which other deployments have it.
      expect(harmless).toBe(2);
    }
  });
});

describe('a way back that fails, too', () => {
  it('is what the error begins with, and stays pending', async () => {
    const world = await deploymentWorld(ca);
    world.server.exits.reload = [1, 1];
    const error = await failed(world);
    expect(error).toMatchObject({ step: 'reload_command', rolledBack: false });
    expect(error.message).toMatch(/^ROLLBACK FAILED, NGINX needs attention: "\/bin\/reload" exited with 1/);
    expect(error.message).toContain('deployment-1 in memory');
    expect(world.text('/etc/tls/cert.pem')).toBe(world.old.certificate + ca.pem);
    world.journal.crash();
    expect(value(await recoverDeployments(world.context))).toEqual([
      'rolled back an interrupted deployment to NGINX (/etc/tls/cert.pem, /etc/tls/key.pem), and reloaded the service',
    ]);
    await expectAsBefore(world);
  });

  it('nothing is reloaded while some files are old and some new', async () => {
    const world = await deploymentWorld(ca);
    world.server.exits.reload = [1];
    let places = 0;
    const { place } = world.files;
    const stuck = {
      ...world.files,
      place: (staged: Parameters<typeof place>[0]) => {
        places += 1;
        return places === 3 ? world.files.look('/nowhere/at-all').map(() => undefined) : place(staged);
      },
    };
    const outcome = await deploy({ ...world.context, deploymentFiles: stuck }, world.deployment);
    const error = failure(outcome);
    expect(error.message).toContain('so the service was not told to reload');
    expect(world.server.commands).toEqual(['validate -q', 'reload']);
  });
});

describe('what a crash interrupted', () => {
  /** Dies at the call of this number: nothing after it happens, nothing is cleaned up. */
  async function crashedAt(failAt: number) {
    const trouble: Trouble = { calls: 0, failAt };
    const world = await deploymentWorld(ca);
    const died = new Promise<'died'>((resolve) => {
      const dying = <T extends object>(subject: T): T =>
        new Proxy(subject, {
          get: (target, name) => {
            const member: unknown = Reflect.get(target, name);
            if (name === 'hold' && typeof member === 'function')
              return () => dying(Reflect.apply(member, target, []));
            if (typeof member !== 'function' || name === 'release') return member;
            return (...args: unknown[]) => {
              trouble.calls += 1;
              if (trouble.calls >= failAt) {
                resolve('died');
                return new ResultAsync(new Promise<never>(() => undefined));
              }
              return Reflect.apply(member, target, args);
            };
          },
        });
      const { context } = world;
      const doomed = {
        ...context,
        deploymentFiles: dying(context.deploymentFiles),
        deploymentJournal: dying(context.deploymentJournal),
        runner: dying(context.runner),
      };
      void deploy(doomed, world.deployment).then(() => resolve('died'));
    });
    await died;
    world.journal.crash();
    return { world, over: trouble.calls < failAt };
  }

  it('is undone at every moment, reloaded where new files may have been read, and done once', async () => {
    let moments = 0;
    for (; ; moments += 1) {
      const { world, over } = await crashedAt(moments + 1);
      const lines = value(await recoverDeployments(world.context));
      expect(lines.join()).not.toContain('FAILED');
      const certificate = world.text('/etc/tls/cert.pem');
      const [wanted, key] = certificate?.startsWith(world.old.certificate)
        ? [world.old, world.old.key]
        : [world.fresh, world.fresh.key];
      expect(world.text('/etc/tls/key.pem')).toBe(key);
      expect(world.server.served).toBe(fingerprintOf(wanted.certificate));
      expect(value(await recoverDeployments(world.context))).toEqual([]);
      if (over) break;
    }
    expect(moments).toBeGreaterThan(12);
  });

  it('is left alone where somebody else has changed a file since', async () => {
    const { world } = await crashedAt(12);
    world.put('/etc/tls/cert.pem', 'by hand');
    const lines = value(await recoverDeployments(world.context));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^left an interrupted deployment to NGINX .* alone/);
    expect(world.text('/etc/tls/cert.pem')).toBe('by hand');
    expect(value(await recoverDeployments(world.context))).toEqual([]);
  });
});

describe('what is refused before anything is touched', () => {
  const refusal = async (change: Partial<World['deployment']>) => {
    const world = await deploymentWorld(ca);
    const error = failure(await deploy(world.context, { ...world.deployment, ...change }));
    expect(world.server.commands).toEqual([]);
    await expectAsBefore(world);
    return error;
  };
  const configured = async (change: Readonly<Record<string, unknown>>) => {
    const world = await deploymentWorld(ca);
    return refusal({ targetConfig: { ...world.config, ...change } });
  };

  it('another type of target, with what is supported', async () => {
    expect((await refusal({ targetType: 'F5' })).message).toBe(
      'unsupported target type: F5, supported are NGINX, Apache, HAProxy, Postfix, Dovecot, Traefik, Envoy, Caddy',
    );
  });

  it('what is no certificate, a broken chain, a key of another certificate', async () => {
    const other = await ca.issue();
    const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
    for (const change of [
      { certificatePem: 'nothing' },
      { certificatePem: broken },
      { certificatePem: other.certificate + broken, keyPem: other.key },
      { keyPem: other.key },
      { keyPem: 'nothing' },
    ]) {
      const error = await refusal(change);
      expect(error.code).toBe('certificate_invalid');
      expect(error.message).not.toContain('BEGIN');
    }
  });

  it('hostile configurations', async () => {
    for (const change of [
      { cert_path: 'relative.pem' },
      { cert_path: '/etc/tls/../passwd' },
      { cert_path: '/etc/tls/a\0b' },
      { cert_path: '' },
      { cert_path: ['/etc/tls/cert.pem'] },
      { key_path: '/etc/tls/cert.pem' },
      { reload_command: 'reload; rm -rf /' },
      { reload_command: 'reload $(id)' },
      { reload_command: 'reload\nid' },
      { validate_command: './validate' },
      { validate_command: 'sh -c "id"' },
      { key_file_mode: 1e300 },
      { key_file_mode: 4095 },
      { key_file_mode: '0640' },
      { key_file_owner: 'root; id' },
      { backup_retention: 1e9 },
      { post_deploy_verify_attempts: 1e9 },
      { post_deploy_verify_backoff: 1e18 },
      { post_deploy_verify: { enabled: true, endpoint: 'a b' } },
      { post_deploy_verify: 'yes' },
    ])
      expect(await configured(change)).toMatchObject({ code: 'invalid_argument', field: 'target_config' });
    for (const targetConfig of [null, 'text', [], 7, JSON.parse('{"__proto__":{"cert_path":"/etc/tls/x"}}')])
      expect(await refusal({ targetConfig })).toMatchObject({ code: 'invalid_argument' });
  });

  it('a program that is not there, a directory that is not there, a directory in the place of a file', async () => {
    expect((await configured({ reload_command: 'absent' })).message).toBe(
      'NGINX: reload_command failed: there is no program absent; nothing was changed',
    );
    expect((await configured({ cert_path: '/nowhere/cert.pem' })).message).toContain('ENOENT');
    expect((await configured({ cert_path: '/etc/tls/sub' })).message).toContain('EISDIR');
  });

  it('a deployment that was stopped before it began', async () => {
    const { context, deployment } = await deploymentWorld(ca);
    const outcome = await deploy(context, deployment, { signal: AbortSignal.abort() });
    expect(failure(outcome).code).toBe('aborted');
  });
});

describe('Caddy by its API', () => {
  const target = { targetType: 'Caddy', targetConfig: { mode: 'api' } };

  it('loads the certificate beside what is there, and in the place of that for the same names', async () => {
    const world = await deploymentWorld(ca);
    const deployment = { ...world.deployment, ...target };
    expect(value(await deploy(world.context, deployment))).toMatchObject({ changed: true });
    expect(value(await deploy(world.context, deployment))).toMatchObject({ changed: false });
    const replaced = { ...deployment, certificatePem: world.old.certificate, keyPem: world.old.key };
    value(await deploy(world.context, replaced));
    expect(world.caddy.document()).toEqual({
      apps: {
        tls: { certificates: { load_pem: [{ certificate: world.old.certificate, key: world.old.key }] } },
      },
    });
  });

  it('takes it back when another certificate is served', async () => {
    const world = await deploymentWorld(ca);
    const before = { admin: { listen: 'localhost:2019' }, apps: { http: { servers: {} } } };
    value(await world.caddy.replace({ api: '', owners: [] }, { document: before, revision: undefined }));
    const targetConfig = { post_deploy_verify: { enabled: true, endpoint: 'localhost:443' } };
    const outcome = await deploy(world.context, { ...world.deployment, ...target, targetConfig });
    const error = failure(outcome);
    expect(error).toMatchObject({ code: 'deployment_failed', rolledBack: true });
    expect(error.message).toContain('the previous configuration is back');
    expect(JSON.stringify(world.caddy.document())).not.toContain('PRIVATE KEY');
    expect(world.caddy.document()).toMatchObject(before);
  });

  it('that is not called has changed nothing, and one that gives no answer is told to forget it', async () => {
    const tried = async (reason: string) => {
      const world = await deploymentWorld(ca);
      const replace: typeof world.caddy.replace = (place, configuration) => {
        const isFirst = JSON.stringify(configuration.document).includes('PRIVATE KEY');
        if (!isFirst) return world.caddy.replace(place, configuration);
        const sent = reason === 'owner' ? okAsync(undefined) : world.caddy.replace(place, configuration);
        return sent.andThen(() => err(fail('connection_failed', reason, { host: 'localhost', reason })));
      };
      const context = { ...world.context, caddyAdmin: { ...world.caddy, replace } };
      const error = failure(await deploy(context, { ...world.deployment, ...target }));
      expect(JSON.stringify(world.caddy.document())).not.toContain('PRIVATE KEY');
      return error.message;
    };
    expect(await tried('owner')).toMatch(/nothing was changed$/);
    expect(await tried('ECONNRESET')).toMatch(/rolled back: the previous configuration is back$/);
  });

  it('sends the key to this host only', async () => {
    const world = await deploymentWorld(ca);
    for (const admin_api of [
      'http://10.0.0.1:2019',
      'https://localhost.evil.test',
      'http://localhost@evil',
      'http://localhost:2019/x',
    ]) {
      const outcome = await deploy(world.context, {
        ...world.deployment,
        targetType: 'Caddy',
        targetConfig: { admin_api },
      });
      expect(failure(outcome)).toMatchObject({ code: 'invalid_argument' });
    }
  });
});
