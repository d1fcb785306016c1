import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { DeployContext } from '../../../src/sdk/deploy/context.js';
import { deploy } from '../../../src/sdk/deploy/deploy.js';
import { failure, value } from '../../contract/result.js';
import { type TestCa, testCa } from '../network/test-pki.js';
import { allowing, realContext } from './context.js';
import { run, type ServerPlace, script, served, type TestServer, until } from './server.js';
import { stayingClient } from './staying.js';
import { fingerprintOf } from './world.js';

interface Pair {
  readonly certificate: string;
  readonly key: string;
}

/** As an old CA would issue it: signed with SHA-1, which OpenSSL does not serve any more. */
async function weaklySigned(directory: string, ca: TestCa): Promise<Pair> {
  const at = (name: string) => join(directory, name);
  await writeFile(at('weak-ca.pem'), ca.pem);
  await writeFile(at('weak-ca.key'), ca.keys.pem, { mode: 0o600 });
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await run('openssl', [
    'req',
    '-new',
    ...curve,
    '-keyout',
    at('weak.key'),
    '-subj',
    '/CN=www.test',
    '-out',
    at('weak.csr'),
  ]);
  const issuer = ['-CA', at('weak-ca.pem'), '-CAkey', at('weak-ca.key'), '-set_serial', '7'];
  await run('openssl', [
    'x509',
    '-req',
    '-sha1',
    '-days',
    '1',
    '-in',
    at('weak.csr'),
    ...issuer,
    '-out',
    at('weak.pem'),
  ]);
  return { certificate: await readFile(at('weak.pem'), 'utf8'), key: await readFile(at('weak.key'), 'utf8') };
}

/** Clients that come and go all the time; every one of them must get one of the two certificates. */
function comingAndGoing(port: number) {
  const seen: string[] = [];
  let going = true;
  const visits = (async () => {
    while (going) seen.push(await served(port, 0).catch((thrown: Error) => thrown.message));
  })();
  return {
    end: async () => {
      going = false;
      await visits;
      return new Set(seen);
    },
  };
}

interface SuiteOptions {
  readonly servesSha1?: boolean;
  /** It opens a socket of its own for what it has loaded: the kernel resets who still waits at the old one. */
  readonly resetsAtReload?: boolean;
}

/** What holds of every kind of server, each a private instance that `start` starts. */
export function deploymentSuite(
  name: string,
  start: (place: ServerPlace) => Promise<TestServer>,
  options: SuiteOptions = {},
): void {
  describe(`deployments to ${name}`, { timeout: 60_000 }, () => {
    let ca: TestCa;
    let directory: string;
    let server: TestServer;
    let old: Pair;
    let fresh: Pair;
    let context: DeployContext;
    const at = (file: string) => join(directory, file);
    const issue = () => ca.issue({ commonName: 'www.test', dnsNames: ['www.test'], usages: ['serverAuth'] });

    beforeAll(async () => {
      ca = await testCa();
    });
    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), `ctrl-exec-${name.toLowerCase()}-`));
      [old, fresh] = [await issue(), await issue()];
      server = await start({ directory, certificate: old.certificate + ca.pem, key: old.key });
      context = realContext(directory);
      expect(await served(server.port)).toBe(fingerprintOf(old.certificate));
    });
    afterEach(async () => {
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    });

    const install = (pair: Pair, change: Readonly<Record<string, unknown>> = {}) => {
      const verification = {
        post_deploy_verify: { enabled: true, endpoint: `127.0.0.1:${server.port}`, timeout: 5e9 },
        post_deploy_verify_attempts: 4,
      };
      const targetConfig = { ...server.config, ...verification, ...change };
      const policy = allowing(context.policy, targetConfig);
      return deploy(
        { ...context, policy },
        {
          targetType: server.targetType,
          targetConfig,
          certificatePem: pair.certificate + ca.pem,
          keyPem: pair.key,
        },
      );
    };

    /** Certificate and key are those of `pair`, nothing else lies beside them, and the server serves them. */
    async function expectServed(pair: Pair): Promise<void> {
      const certificate = await readFile(server.files.cert, 'utf8');
      const key = await readFile(server.files.key, 'utf8');
      expect(certificate).toContain(pair.certificate);
      expect(key).toContain(pair.key);
      const names = await readdir(dirname(server.files.cert));
      expect(names.filter((entry) => entry.startsWith('.'))).toEqual([]);
      const expected = fingerprintOf(pair.certificate);
      await until('it is served', async () => (await served(server.port)) === expected);
    }

    const failed = async (outcome: ReturnType<typeof deploy>) => {
      const error = failure(await outcome);
      if (error.code !== 'deployment_failed') throw new Error(error.message);
      return error;
    };

    it('a new certificate is served while clients stay connected and others come and go', async () => {
      const staying = server.talk && (await stayingClient(server.port, server.talk));
      const clients = comingAndGoing(server.port);
      const deployed = value(await install(fresh));
      const seen = await clients.end();
      expect(deployed).toMatchObject({ changed: true, verification: { verified: true } });
      const both = [old, fresh].map(({ certificate }) => fingerprintOf(certificate));
      const excused = (each: string) => options.resetsAtReload === true && each.includes('ECONNRESET');
      expect([...seen].filter((each) => !both.includes(each) && !excused(each))).toEqual([]);
      await expectServed(fresh);
      if (staying) expect(await staying.goOn()).toMatch(server.talk?.last ?? '');
      staying?.leave();
      expect(value(await install(fresh))).toEqual({ changed: false, warnings: [] });
    });

    const refusesSha1 = it.skipIf(options.servesSha1 === true);
    refusesSha1('a certificate that it cannot serve is taken back, and it says so', async () => {
      const error = await failed(install(await weaklySigned(directory, ca)));
      expect(error.step).toBe(server.validates ? 'validate_command' : 'post_deploy_verify');
      expect(error).toMatchObject({ rolledBack: true });
      expect(error.message).toContain('rolled back: the previous files are back');
      await expectServed(old);
    });

    it('when validate_command fails, nothing is reloaded', async () => {
      const reload = await script(at('touch'), `touch ${at('reloaded')}`);
      const error = await failed(install(fresh, { validate_command: '/bin/false', reload_command: reload }));
      expect(error).toMatchObject({ step: 'validate_command', rolledBack: true });
      expect(await readdir(directory)).not.toContain('reloaded');
      await expectServed(old);
    });

    it('when the reload fails, the old certificate is loaded and served again, and it says so', async () => {
      const reload = await script(
        at('fails-once'),
        `if ! [ -e ${at('failed')} ]; then touch ${at('failed')}; exit 1; fi`,
        `exec ${server.config.reload_command}`,
      );
      const error = await failed(install(fresh, { reload_command: reload }));
      expect(error).toMatchObject({ step: 'reload_command', rolledBack: true });
      expect(error.message).toContain('serves the previous certificate again');
      await expectServed(old);
    });

    it('when no reload ever succeeds, the error begins with that, and the old certificate is still served', async () => {
      const error = await failed(install(fresh, { reload_command: '/bin/false' }));
      expect(error).toMatchObject({ step: 'reload_command', rolledBack: false });
      expect(error.message).toMatch(/^ROLLBACK FAILED/);
      await expectServed(old);
    });

    it('when another certificate is served afterwards, the old one is loaded and served again, and it says so', async () => {
      const third = await issue();
      const { cert, key } = server.files;
      await writeFile(at('third.pem'), third.certificate + (cert === key ? third.key : ''));
      await writeFile(at('third.key'), cert === key ? third.certificate + third.key : third.key);
      const reload = await script(
        at('takes-another'),
        `if ! [ -e ${at('taken')} ]; then touch ${at('taken')}; cp ${at('third.key')} ${key}; cp ${at('third.pem')} ${cert}; fi`,
        `exec ${server.config.reload_command}`,
      );
      const error = await failed(install(fresh, { reload_command: reload }));
      expect(error).toMatchObject({
        step: 'post_deploy_verify',
        rolledBack: true,
        verification: { verified: false, actualFingerprint: fingerprintOf(third.certificate) },
      });
      expect(error.message).toContain('serves the previous certificate again');
      await expectServed(old);
    });
  });
}
