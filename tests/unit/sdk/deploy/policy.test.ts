import { okAsync } from 'neverthrow';
import { beforeAll, describe, expect, it } from 'vitest';
import { hex, utf8 } from '../../../../src/domain/core/bytes.js';
import type { PullPolicy } from '../../../../src/domain/deploy/policy.js';
import { deploy } from '../../../../src/sdk/deploy/deploy.js';
import { failure, value } from '../../../contract/result.js';
import { deploymentWorld, worldPolicy } from '../../../support/deployment/world.js';
import { memoryTlsProbe } from '../../../support/memory/tls-probe.js';
import { type TestCa, testCa } from '../../../support/network/test-pki.js';

type World = Awaited<ReturnType<typeof deploymentWorld>>;

let ca: TestCa;
beforeAll(async () => {
  ca = await testCa();
});

/** A deployment with this change of its configuration, on a host that allows this besides. */
const attempt = async (
  world: World,
  change: Readonly<Record<string, unknown>>,
  allowed: Partial<PullPolicy> = {},
) =>
  deploy(
    { ...world.context, policy: { ...worldPolicy, ...allowed } },
    { ...world.deployment, targetConfig: { ...world.config, ...change } },
  );

/** What is refused leaves everything as it was. */
async function refusal(
  change: Readonly<Record<string, unknown>>,
  prepare = (_world: World): void => undefined,
) {
  const world = await deploymentWorld(ca);
  prepare(world);
  const before = new Map(world.files.files);
  const error = failure(await attempt(world, change));
  expect(world.files.files).toEqual(before);
  expect(world.server.commands).toEqual([]);
  return error.message;
}

describe('the commands of a job', () => {
  it('run only if the target needs them or the host names them, and the refusal has the whole line', async () => {
    const line = 'commands = validate -q, /bin/reload, absent, tar cf /tmp/x /etc/shadow';
    expect(await refusal({ reload_command: 'tar cf /tmp/x /etc/shadow' })).toBe(
      `NGINX: reload_command failed: "tar cf /tmp/x /etc/shadow" is not allowed here: add it to commands in [pull] of /home/agent.conf: ${line}; nothing was changed`,
    );
    for (const command of [
      'validate',
      'validate -q -q',
      '/tmp/validate -q',
      'reload',
      'nginx -t -g x',
      '/tmp/nginx -t',
    ])
      expect(await refusal({ validate_command: command })).toContain('is not allowed here');
  });
});

describe('the program of a command', () => {
  const fault = {
    path: '/bin/reload',
    severity: 'strict',
    reason: '/bin/reload is writable by its group',
    heal: 'chmod go-w /bin/reload',
  } as const;
  const withFault = async (allowed: Partial<PullPolicy>) => {
    const world = await deploymentWorld(ca);
    const faults = (path: string) => okAsync(path === fault.path ? [fault] : []);
    const context = { ...world.context, files: { ...world.context.files, faults } };
    return { world, done: await attempt({ ...world, context }, { post_deploy_verify: undefined }, allowed) };
  };

  it('is not started if somebody else can change it', async () => {
    const { world, done } = await withFault({});
    expect(failure(done).message).toContain(
      'not trusted: /bin/reload is writable by its group: chmod go-w /bin/reload; nothing was changed',
    );
    expect(world.server.commands).toEqual([]);
  });

  it('is started all the same where files are only warned of', async () => {
    const { world, done } = await withFault({ fileTrust: 'warn' });
    expect(value(done)).toMatchObject({
      changed: true,
      warnings: ['/bin/reload is writable by its group: chmod go-w /bin/reload'],
    });
    expect(world.server.commands.length).toBeGreaterThan(0);
  });
});

describe('the files of a job', () => {
  it('lie where the target or the host has them, whole segments compared', async () => {
    for (const [cert_path, directory] of [
      ['/etc/passwd', '/etc'],
      ['/etc/tlsx/cert.pem', '/etc/tlsx'],
      ['/root/.ssh/authorized_keys', '/root/.ssh'],
    ] as const)
      expect(await refusal({ cert_path })).toContain(
        `${cert_path} is not allowed here: add it to paths in [pull] of /home/agent.conf: paths = /etc/tls, /etc/other, /nowhere, ${directory}`,
      );
    const world = await deploymentWorld(ca);
    value(await attempt(world, { cert_path: '//etc/nginx//www.pem/', post_deploy_verify: undefined }));
    expect(world.text('/etc/nginx/www.pem')).toBe(world.fresh.certificate);
  });

  it('are judged by where their links lead, and outside nothing is told about what is there', async () => {
    const world = await deploymentWorld(ca);
    const { look } = world.files;
    const linked = {
      ...world.files,
      look: (path: string) =>
        look(path).map((found) => (path === '/etc/tls/cert.pem' ? { ...found, path: '/etc/shadow' } : found)),
    };
    const outcome = await deploy({ ...world.context, deploymentFiles: linked }, world.deployment);
    expect(failure(outcome).message).toContain('/etc/shadow is not allowed here');
    const there = await refusal({ cert_path: '/etc/tls2/x' });
    const missing = await refusal({ cert_path: '/absent/x' });
    expect(missing).toBe(there.replaceAll('/etc/tls2', '/absent'));
  });

  it('get owners that are root, those of the file, or named', async () => {
    expect(await refusal({ key_file_owner: 'daemon' })).toContain(
      'the owner or group daemon is not allowed here: add it to owners in [pull] of /home/agent.conf: owners = daemon',
    );
    expect(await refusal({ cert_file_group: '50' })).toContain('owners = 50');
    expect(await refusal({ cert_file_owner: 'nobody' })).toContain('knows no nobody');
    const world = await deploymentWorld(ca);
    value(await attempt(world, { key_file_owner: 'root', cert_file_owner: 'daemon' }, { owners: ['1'] }));
    expect(world.files.files.get('/etc/tls/cert.pem')?.uid).toBe(1);
    expect(world.files.files.get('/etc/tls/key.pem')?.uid).toBe(0);
  });

  it('get no mode beyond max_file_mode, and a key none that others could read', async () => {
    expect(await refusal({ key_file_mode: 511 })).toContain(
      'mode 0777 is not allowed for /etc/tls/key.pem, which holds a private key: at most 0640',
    );
    expect(await refusal({ cert_file_mode: 0o664 })).toContain('max_file_mode = 0664');
    const world = await deploymentWorld(ca);
    expect(failure(await attempt(world, { key_file_mode: 0o644 }, { maxFileMode: 0o666 })).message).toContain(
      'at most 0640',
    );
    value(await attempt(world, { cert_file_mode: 0o664 }, { maxFileMode: 0o664 }));
    expect(world.files.files.get('/etc/tls/cert.pem')?.mode).toBe(0o664);
  });

  it('are written in place where the host says so', async () => {
    const world = await deploymentWorld(ca);
    const staged: (boolean | undefined)[] = [];
    const { stage } = world.files;
    const deploymentFiles = {
      ...world.files,
      stage: (file: Parameters<typeof stage>[0]) => {
        if (file.path === '/etc/tls/cert.pem') staged.push(file.inPlace);
        return stage(file);
      },
    };
    const policy = { ...worldPolicy, inPlace: ['/etc/tls/cert.pem'] };
    value(await deploy({ ...world.context, deploymentFiles, policy }, world.deployment));
    expect(staged[0]).toBe(true);
  });
});

describe('what is there is replaced by its own kind only', () => {
  const over = (path: 'cert' | 'key' | 'chain', content: string) =>
    refusal({ [`${path}_path`]: '/etc/tls/there' }, ({ put }) => put('/etc/tls/there', content));

  it('text, a list of CAs and a key are no certificate of a server', async () => {
    const other = await ca.issue();
    for (const content of [
      'server { listen 80; }',
      ca.pem,
      ca.pem.repeat(3),
      other.key,
      other.certificate + other.key,
    ])
      expect(await over('cert', content)).toContain(
        '/etc/tls/there holds something else than the certificate',
      );
    expect(await over('key', other.certificate)).toContain('holds something else than private keys');
    expect(await over('key', 'secret')).toContain('holds something else than private keys');
  });

  it('a root that a service trusts is no chain', async () => {
    const issuing = await testCa({ commonName: 'issuing', issuer: { commonName: 'test CA', keys: ca.keys } });
    const leaf = await issuing.issue();
    const chained = async (there: string, wrote?: string) => {
      const world = await deploymentWorld(ca);
      const after = hex(world.context.crypto.sha256(utf8(wrote ?? '')));
      const file = { path: '/etc/tls/chain.pem', before: undefined, after };
      const id = value(await world.journal.begin({ targetType: 'NGINX', reload: undefined, files: [file] }));
      value(await world.journal.end(id, 1));
      world.put('/etc/tls/chain.pem', there);
      const outcome = await deploy(world.context, {
        ...world.deployment,
        certificatePem: leaf.certificate + issuing.pem,
        keyPem: leaf.key,
        targetConfig: { ...world.config, chain_path: '/etc/tls/chain.pem', post_deploy_verify: undefined },
      });
      return { outcome, text: world.text('/etc/tls/chain.pem') };
    };
    const older = await testCa({ commonName: 'older', issuer: { commonName: 'test CA', keys: ca.keys } });
    expect((await chained(older.pem)).text).toBe(issuing.pem);
    expect((await chained('\n')).text).toBe(issuing.pem);
    for (const there of [ca.pem, older.pem + ca.pem, older.pem.repeat(11), leaf.certificate]) {
      const { outcome, text } = await chained(there);
      expect(failure(outcome).message).toContain('holds something else than a chain');
      expect(text).toBe(there);
    }
    // Unless a deployment has put it there, as those of version 0.1 did.
    expect((await chained(older.pem + ca.pem, older.pem + ca.pem)).text).toBe(issuing.pem);
    expect(failure((await chained(older.pem + ca.pem, ca.pem)).outcome).message).toContain('something else');
  });

  it('a list of trusted certificates is none of a server, whatever else is in it', async () => {
    const { certificate, key } = await ca.issue();
    const other = await ca.issue();
    const elsewhere = await testCa({ commonName: 'elsewhere' });
    for (const more of [other.certificate, elsewhere.pem])
      expect(await over('cert', certificate + more)).toContain('holds something else than the certificate');
    // With its key beside it, too.
    const beside = refusal({}, ({ put }) => {
      put('/etc/tls/cert.pem', elsewhere.pem + certificate);
      put('/etc/tls/key.pem', key);
    });
    expect(await beside).toContain('holds something else than the certificate');
  });

  it('a certificate of a server is replaced in whatever order its chain stands there, and how often', async () => {
    const world = await deploymentWorld(ca);
    world.put('/etc/tls/cert.pem', ca.pem + world.old.certificate.repeat(2));
    value(await attempt(world, {}));
    expect(world.text('/etc/tls/cert.pem')).toBe(world.fresh.certificate);
  });

  it('a self-signed certificate that calls itself a CA is one of a server if its key is there', async () => {
    const world = await deploymentWorld(ca);
    world.put('/etc/tls/cert.pem', ca.pem);
    world.put('/etc/tls/key.pem', ca.keys.pem);
    value(await attempt(world, {}));
    expect(world.text('/etc/tls/cert.pem')).toBe(world.fresh.certificate);
  });
});

describe('handshakes of a job', () => {
  const endpoint = (text: string) => ({ post_deploy_verify: { enabled: true, endpoint: text } });

  it('go to this host only, unless it names another; the refusal is the same whatever there is', async () => {
    for (const host of ['169.254.169.254:80', '10.0.0.1:22', 'nowhere.test:443', '[2001:db8::1]:443'])
      expect(await refusal(endpoint(host))).toContain(
        `post_deploy_verify failed: a handshake with ${host}, which does not resolve to an address of this host, is not allowed here: add it to verify_hosts in [pull] of /home/agent.conf: verify_hosts = ${host}; nothing was changed`,
      );
  });

  it('go to the address that was judged', async () => {
    const world = await deploymentWorld(ca);
    const called: string[] = [];
    const names = {
      'www.test': [
        { address: '192.0.2.1', isLocal: false },
        { address: '192.0.2.7', isLocal: true },
      ],
    };
    const tlsProbe = memoryTlsProbe(({ address }) => {
      called.push(address);
      return world.server.served;
    }, names);
    const run = (policy: Partial<PullPolicy>) =>
      attempt({ ...world, context: { ...world.context, tlsProbe } }, endpoint('www.test'), policy);
    value(await run({}));
    expect(called).toEqual(['192.0.2.7']);
    world.files.files.delete('/etc/tls/key.pem');
    value(await run({ verifyHosts: ['www.test:443'] }));
    expect(called).toEqual(['192.0.2.7', '192.0.2.1']);
  });

  it('that fail are told in one word', async () => {
    const world = await deploymentWorld(ca);
    world.server.listening = false;
    const error = failure(await attempt(world, {}));
    expect(error.message).toContain('post_deploy_verify failed: refused; ');
    expect(error).toMatchObject({
      verification: { error: 'refused', detail: expect.stringContaining('127.0.0.1:443') },
    });
    expect(error.message).not.toMatch(/127\.0\.0\.1|ECONN/);
  });

  it('end after five minutes, whatever the job says', async () => {
    const world = await deploymentWorld(ca);
    world.server.listening = false;
    const change = {
      post_deploy_verify_attempts: 100,
      post_deploy_verify_backoff: 60e9,
      post_deploy_verify_max_backoff: 3600e9,
    };
    failure(await attempt(world, change));
    expect(world.clock.monotonic()).toBeLessThanOrEqual(600_000);
  });

  it('end with a stop, which takes back nothing', async () => {
    const world = await deploymentWorld(ca);
    world.server.stuckAt = 'ab'.repeat(32);
    const stop = new AbortController();
    let waits = 0;
    const clock = {
      ...world.clock,
      after: (delay: number, callback: () => void) => {
        waits += 1;
        if (waits < 3) return world.clock.after(delay, callback);
        queueMicrotask(() => stop.abort());
        return () => undefined;
      },
    };
    const outcome = await deploy({ ...world.context, clock }, world.deployment, { signal: stop.signal });
    expect(value(outcome)).toEqual({
      changed: true,
      warnings: ['the agent was stopped before it was seen what is served'],
    });
    expect(world.text('/etc/tls/cert.pem')).toBe(world.fresh.certificate);
  });
});

describe('what is served, where a job asks for no verification but names a host', () => {
  const observed = (change: object) => ({ post_deploy_verify: undefined, ...change });

  it('is looked at once, and a mismatch fails nothing', async () => {
    const world = await deploymentWorld(ca);
    world.server.stuckAt = 'ab'.repeat(32);
    const outcome = value(await attempt(world, observed({ host: '', hostname: 'localhost', port: 8443 })));
    expect(outcome).toMatchObject({
      changed: true,
      verification: { endpoint: 'localhost:8443', verified: false, error: 'mismatch' },
    });
    expect(world.clock.waits).toEqual([2000]);
  });

  it('is not looked at on another host, and a warning says so', async () => {
    const world = await deploymentWorld(ca);
    const outcome = value(await attempt(world, observed({ address: '10.0.0.1' })));
    expect(outcome.verification).toBeUndefined();
    expect(outcome.warnings).toEqual([
      expect.stringMatching(/not looked at.*verify_hosts = 10\.0\.0\.1:443/),
    ]);
  });
});

describe('what comes as a certificate', () => {
  it('is put in order by issuer, without repeats and without the root', async () => {
    const issuing = await testCa({ commonName: 'issuing', issuer: { commonName: 'test CA', keys: ca.keys } });
    const leaf = await issuing.issue();
    for (const pems of [
      [ca.pem, issuing.pem, leaf.certificate, leaf.certificate],
      [issuing.pem, leaf.certificate],
      [leaf.certificate, issuing.pem, issuing.pem, ca.pem],
    ]) {
      const world = await deploymentWorld(ca);
      const order = { ...world.deployment, certificatePem: pems.join(''), keyPem: leaf.key };
      value(await deploy(world.context, order));
      expect(world.text('/etc/tls/cert.pem')).toBe(leaf.certificate + issuing.pem);
    }
  });

  it('is refused with a certificate that does not belong to it', async () => {
    const world = await deploymentWorld(ca);
    const stray = await testCa({ commonName: 'stray' });
    for (const more of [stray.pem, (await ca.issue({ commonName: 'stray' })).certificate]) {
      const certificatePem = world.fresh.certificate + ca.pem + more;
      const error = failure(await deploy(world.context, { ...world.deployment, certificatePem }));
      expect(error).toMatchObject({
        code: 'certificate_invalid',
        field: 'chain',
        reason: expect.stringContaining('"stray"'),
      });
    }
  });
});

describe('deployments to one file', () => {
  it('are done one after the other, each whole', async () => {
    const world = await deploymentWorld(ca);
    const second = await ca.issue({ commonName: 'www.test', dnsNames: ['www.test'] });
    const during: (string | undefined)[] = [];
    const run = world.context.runner.run;
    const runner = {
      run: (request: Parameters<typeof run>[0]) =>
        okAsync(undefined).andThen(() => {
          during.push(`${request.path} ${world.text('/etc/tls/cert.pem') === second.certificate ? 2 : 1}`);
          return run(request);
        }),
    };
    const context = { ...world.context, runner };
    const outcomes = await Promise.all([
      deploy(context, world.deployment),
      deploy(context, { ...world.deployment, certificatePem: second.certificate, keyPem: second.key }),
    ]);
    for (const outcome of outcomes)
      expect(value(outcome)).toMatchObject({ verification: { verified: true } });
    expect(during).toEqual(['/bin/validate 1', '/bin/reload 1', '/bin/validate 2', '/bin/reload 2']);
    expect(world.text('/etc/tls/key.pem')).toBe(second.key);
  });
});
