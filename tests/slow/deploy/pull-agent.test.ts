import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  atEnd,
  type CommandOptions,
  run,
  start,
  temporaryDirectory,
} from '../../support/commands/commands.js';
import { type FakeControlPlane, fakeControlPlane } from '../../support/deployment/control-plane.js';
import { startNginx } from '../../support/deployment/nginx.js';
import {
  configured,
  csrJob,
  keyDirectory,
  once,
  reports,
  target,
} from '../../support/deployment/pull-command.js';
import { isInstalled, served } from '../../support/deployment/server.js';
import { openssl } from '../../support/network/openssl.js';

const modeOf = (path: string) => statSync(path).mode & 0o7777;

describe('ctrl-exec-agent pull', () => {
  it('once: a heartbeat and a poll, and no more', async () => {
    const plane = await fakeControlPlane();
    const ended = await once(plane);
    expect([ended.code, plane.faults]).toEqual([0, []]);
    expect(plane.calls.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'POST /api/v1/agents/agent-1/heartbeat',
      'GET /api/v1/agents/agent-1/work',
    ]);
  });

  it('once: exit 1 where the control plane does not answer as it should', async () => {
    const plane = await fakeControlPlane();
    plane.misbehave = (_call, response) => !!response.writeHead(503).end('down');
    const ended = await once(plane);
    expect([ended.code, ended.stderr]).toEqual([1, expect.stringContaining('ACTION=poll-failed')]);
  });

  it('makes a key of its owner alone, and a CSR over it that openssl reads (needs openssl)', async () => {
    const plane = await fakeControlPlane();
    plane.jobs = [csrJob()];
    mkdirSync(keyDirectory(plane), { mode: 0o755 });
    chmodSync(keyDirectory(plane), 0o755);
    const ended = await once(plane);
    expect([ended.code, plane.faults]).toEqual([0, []]);
    expect(ended.stderr).toContain('ACTION=key-directory-closed');
    const key = join(keyDirectory(plane), 'mc-web.key');
    expect([modeOf(keyDirectory(plane)), modeOf(key)]).toEqual([0o700, 0o600]);
    expect(readFileSync(key, 'utf8')).toMatch(/^-----BEGIN EC PRIVATE KEY-----\n/);

    const csr = String(plane.to('/csr')[0]?.body?.['csr_pem']);
    const text = openssl(['req', '-noout', '-text', '-verify', '-nameopt', 'RFC2253'], { input: csr }).stdout;
    expect(text).toContain('Subject: CN=www.example.test');
    expect(text).toContain('ASN1 OID: prime256v1');
    expect(text).toContain(
      'DNS:www.example.test, email:admin@example.test, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1',
    );
    expect(openssl(['req', '-noout', '-pubkey'], { input: csr }).stdout).toBe(
      openssl(['ec', '-in', key, '-pubout']).stdout,
    );
  });

  it('a failed reload is rolled back, and the reason reported', async () => {
    const plane = await fakeControlPlane();
    const { at, job, policy } = target('false');
    plane.policy = policy;
    plane.jobs = [csrJob()];
    await once(plane);
    const old = await plane.issuing.issue();
    writeFileSync(at('cert.pem'), old.certificate);
    writeFileSync(at('key.pem'), old.key);
    plane.jobs = [job];
    expect((await once(plane)).code).toBe(0);
    expect(reports(plane)).toEqual(['Running', expect.stringMatching(/^Failed: deployment: .*reload/s)]);
    expect([readFileSync(at('cert.pem'), 'utf8'), readFileSync(at('key.pem'), 'utf8')]).toEqual([
      old.certificate,
      old.key,
    ]);
  });

  it.each([
    ['an id that leads out of the key directory', { certificate_id: '../../escaped' }],
    ['an absolute id', { certificate_id: '/tmp/escaped' }],
    ['an id with a NUL', { certificate_id: 'a\0b' }],
    ['an id of 129 characters', { certificate_id: 'x'.repeat(129) }],
    ['no common name', { common_name: '' }],
  ])('%s: the job fails, the next one is done, and nothing is written', async (_what, more) => {
    const plane = await fakeControlPlane();
    plane.jobs = [csrJob({ ...more, id: 'job-bad' }), csrJob({ certificate_id: 'mc-good' })];
    expect((await once(plane)).code).toBe(0);
    expect(reports(plane)).toEqual([expect.stringMatching(/^Failed: (certificate id|subject): /)]);
    expect(readdirSync(keyDirectory(plane)).toSorted()).toEqual(['former', 'mc-good.key']);
  });

  it('finds certificates, and reports them', async () => {
    const plane = await fakeControlPlane();
    const directory = temporaryDirectory();
    const { certificate, key } = await plane.issuing.issue({ commonName: 'found', dnsNames: ['found.test'] });
    writeFileSync(join(directory, 'chain.pem'), key + certificate + plane.issuing.pem);
    writeFileSync(
      join(directory, 'broken.crt'),
      '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
    );
    const ended = await once(plane, { CERTCTL_DISCOVERY_DIRS: directory });
    expect([ended.code, plane.faults]).toEqual([0, []]);
    const [report] = plane.to('/discoveries').map(({ body }) => body);
    expect(report).toMatchObject({
      agent_id: 'agent-1',
      directories: [directory],
      certificates: [{ common_name: 'found', sans: ['found.test'], subject_dn: 'CN=found' }, { is_ca: true }],
      errors: [expect.stringContaining('broken.crt')],
    });
    expect(JSON.stringify(report)).not.toContain('PRIVATE KEY');
  });

  it('an empty directory is not reported', async () => {
    const plane = await fakeControlPlane();
    await once(plane, {}, '--discovery-dirs', temporaryDirectory());
    expect(plane.to('/discoveries')).toEqual([]);
  });
});

describe('the end of a pull agent', () => {
  const pulling = async (plane: FakeControlPlane, options: CommandOptions = {}, ...args: string[]) => {
    const agent = start('ctrl-exec-agent', ['pull', ...args], { env: plane.environment, ...options });
    await agent.shows(/Pulling from/);
    return agent;
  };

  it('SIGTERM and SIGINT end it at once in the middle of a wait', async () => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const plane = await fakeControlPlane();
      const agent = await pulling(plane);
      const began = performance.now();
      const ended = await agent.stop(signal);
      expect([ended.code, ended.stderr]).toEqual([0, expect.stringContaining('ACTION=pull-stopped')]);
      expect(performance.now() - began).toBeLessThan(10_000);
    }
  });

  it('SIGTERM in the middle of a call ends it at once', async () => {
    const plane = await fakeControlPlane();
    plane.misbehave = () => true;
    const agent = start('ctrl-exec-agent', ['pull', '--once'], { env: plane.environment });
    await plane.call(({ path }) => path.endsWith('/heartbeat'));
    const ended = await agent.stop();
    expect([ended.code, ended.signal]).toEqual([0, null]);
  });

  it('SIGTERM in the middle of a deployment waits for its end, and the end is reported; twice changes nothing', async () => {
    const plane = await fakeControlPlane();
    const directory = temporaryDirectory();
    const [began, go] = [join(directory, 'began'), join(directory, 'go')];
    const script = join(directory, 'reload');
    writeFileSync(script, `#!/bin/sh\necho "$CERTCTL_API_KEY" > ${began}\nread line < ${go}\n`, {
      mode: 0o755,
    });
    execFileSync('mkfifo', [go]);
    const { at, job, policy } = target(script);
    plane.policy = policy;
    plane.jobs = [csrJob()];
    await once(plane);
    plane.jobs = [job];
    const home = configured(plane);
    const agent = start('ctrl-exec-agent', ['pull', '--once'], { env: plane.environment, home });
    await expect.poll(() => existsSync(began), { timeout: 20_000 }).toBe(true);
    agent.child.kill('SIGTERM');
    agent.child.kill('SIGTERM');
    agent.child.kill('SIGHUP');
    writeFileSync(go, 'go\n');
    const ended = await agent.ended;
    expect([ended.code, ended.signal]).toEqual([0, null]);
    expect(reports(plane)).toEqual(['Running', 'Completed']);
    expect(readFileSync(at('cert.pem'), 'utf8')).toBe(
      plane.certificates.get('mc-web')?.replace(plane.issuing.pem, ''),
    );
    // The commands of a target know nothing of the API key.
    expect(readFileSync(began, 'utf8').trim()).toBe('');
  });

  it.each(['/heartbeat', '/work'])('410 to %s is retirement: exit 0, said once', async (path) => {
    const plane = await fakeControlPlane();
    plane.misbehave = (call, response) =>
      call.path.endsWith(path) && !!response.writeHead(410).end('{"error":"retired"}');
    const ended = await once(plane);
    expect(ended.code).toBe(0);
    expect(ended.stdout).toContain('Retired');
    const lines = ended.stderr.split('\n').filter((line) => line.includes('agent-retired'));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/SOURCE=(heartbeat|work_poll) STATUS=410/);
    expect(lines[0]).toContain('retired');
  });

  it('410 ends an agent that nobody stops, and what is under way is waited for', async () => {
    const plane = await fakeControlPlane();
    plane.misbehave = (_call, response) => !!response.writeHead(410).end();
    const agent = await pulling(plane);
    expect((await agent.ended).code).toBe(0);
    expect(plane.calls.length).toBeGreaterThan(0);
  }, 60_000);

  it('an API key from the environment is in no process list, and one from an option does not stay there', async () => {
    const plane = await fakeControlPlane();
    const shown = (pid: number | undefined) => readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    const fromEnvironment = await pulling(plane);
    expect(shown(fromEnvironment.child.pid)).not.toContain(plane.apiKey);
    const { CERTCTL_API_KEY, ...env } = plane.environment;
    const fromOption = await pulling(plane, { env }, '--api-key', CERTCTL_API_KEY ?? '');
    expect(shown(fromOption.child.pid)).not.toContain(plane.apiKey);
    for (const agent of [fromEnvironment, fromOption]) {
      const ended = await agent.stop();
      expect(ended.stdout + ended.stderr).not.toContain(plane.apiKey);
    }
  });
});

describe('what a pull agent refuses before it calls anybody', () => {
  it.each([
    [['--server', ''], '--server is empty'],
    [['--server', 'localhost:8443'], 'has no scheme'],
    [['--server', 'http://localhost:8443'], 'write https://'],
    [['--server', 'ftp://localhost'], 'ftp://'],
    [['--agent-id', ''], 'Register an agent first via POST /api/v1/agents'],
    [['--api-key', ''], 'CERTCTL_API_KEY'],
    [['--ca-bundle', '/nonexistent'], '/nonexistent cannot be read (ENOENT)'],
    [['--ca-bundle', fileURLToPath(import.meta.url)], 'no PEM certificate'],
    [['--key-dir', '/dev/null'], '/dev/null'],
  ])('%j: %s', async (args, reason) => {
    const plane = await fakeControlPlane();
    const ended = await once(plane, {}, ...args);
    expect([ended.code, ended.stderr]).toEqual([78, expect.stringContaining(reason)]);
    expect(ended.stderr.trim().split('\n')).toHaveLength(1);
    expect(plane.calls).toEqual([]);
  });

  it('a control plane of an unknown CA gets no call; without verification it does, with a warning', async () => {
    const plane = await fakeControlPlane();
    const other = (await fakeControlPlane()).caBundle;
    const refused = await once(plane, { CERTCTL_SERVER_CA_BUNDLE_PATH: other });
    expect([refused.code, plane.calls]).toEqual([1, []]);
    const env = { CERTCTL_SERVER_CA_BUNDLE_PATH: other, CERTCTL_SERVER_TLS_INSECURE_SKIP_VERIFY: 'T' };
    const believed = await once(plane, env);
    expect([believed.code, believed.stderr]).toEqual([0, expect.stringContaining('ACTION=pull-insecure')]);
  });

  it('settings stand in agent.conf, too', async () => {
    const plane = await fakeControlPlane();
    const home = temporaryDirectory();
    const { CERTCTL_SERVER_URL, CERTCTL_AGENT_ID, ...env } = plane.environment;
    writeFileSync(
      join(home, 'agent.conf'),
      `[pull]\nserver = ${CERTCTL_SERVER_URL}\nagent_id = ${CERTCTL_AGENT_ID}\nkeydir = x\n`,
    );
    const ended = await run('ctrl-exec-agent', ['pull', '--once'], { env, home });
    expect([ended.code, plane.calls.length, plane.faults]).toEqual([0, 2, []]);
    expect(ended.stderr).toContain('did you mean');
  });
});

it('serve loads nothing of it', () => {
  const bin = fileURLToPath(new URL('../../../dist/bin', import.meta.url));
  const chunks = readdirSync(join(bin, 'chunks'));
  const main = readFileSync(join(bin, 'ctrl-exec-agent.js'), 'utf8');
  // Other commands have a file of that name, too.
  const entry = (name: string) =>
    chunks
      .filter((file) => file.startsWith(`${name}-`) && main.includes(file))
      .map((file) => `chunks/${file}`);
  const closed = new Set<string>();
  const open = ['ctrl-exec-agent.js', ...entry('serve'), ...entry('composition')];
  expect(open).toHaveLength(3);
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (closed.has(file)) continue;
    closed.add(file);
    const text = readFileSync(join(bin, file), 'utf8');
    expect(text, file).not.toContain('/api/v1/agents/');
    expect(text, file).not.toContain('unsupported target type');
    for (const [, path = ''] of text.matchAll(/(?:from|import)\s*"\.\/([^"]+)"/g))
      open.push(file.startsWith('chunks/') ? `chunks/${path}` : path);
  }
  expect(closed.size).toBeGreaterThan(5);
});

const nginxIs = await isInstalled('nginx');

it.skipIf(!nginxIs)(
  'a real nginx serves what was issued, and the handshake is reported (needs nginx and openssl)',
  async () => {
    const plane = await fakeControlPlane();
    const directory = temporaryDirectory();
    const [cert, key] = ['old.pem', 'old.key'].map((name) => join(directory, name)) as [string, string];
    openssl([
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
      ...['-subj', '/CN=old', '-keyout', key, '-out', cert],
    ]);
    const nginx = await startNginx({
      directory,
      certificate: readFileSync(cert, 'utf8'),
      key: readFileSync(key, 'utf8'),
    });
    atEnd(() => nginx.stop());
    const before = await served(nginx.port);
    plane.jobs = [csrJob()];
    await once(plane);
    const endpoint = `127.0.0.1:${nginx.port}`;
    const verify = { enabled: true, endpoint, timeout: 5_000_000_000 };
    const { job } = target();
    const { validate_command, reload_command } = nginx.config;
    plane.policy = `commands = ${validate_command}, ${reload_command}\npaths = ${directory}`;
    plane.jobs = [{ ...job, target_config: { ...nginx.config, post_deploy_verify: verify } }];
    const ended = await once(plane);
    expect([ended.code, plane.faults, reports(plane)]).toEqual([0, [], ['Running', 'Completed']]);
    const leaf = new X509Certificate(readFileSync(nginx.files.cert));
    const fingerprint = leaf.fingerprint256.replaceAll(':', '').toLowerCase();
    expect(await served(nginx.port)).toBe(fingerprint);
    expect(fingerprint).not.toBe(before);
    expect(plane.to('/verify').map(({ body }) => body)).toEqual([
      {
        target_id: 't-1',
        expected_fingerprint: fingerprint,
        actual_fingerprint: fingerprint,
        verified: true,
        error: '',
      },
    ]);
  },
);
