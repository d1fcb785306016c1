import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { keyTypes } from '../../../src/domain/trust/certificate.js';
import { dispatcherOnDisk, run, shared, start, temporaryDirectory } from '../../support/commands/commands.js';
import { noOpenssl, tryOpenssl } from '../../support/network/openssl.js';

const day = 86_400_000;
const configuration = (more = '') => `dispatcher_id = control.example.org\npairing_bind = 127.0.0.1\n${more}`;

/** What `openssl x509 -text` says, taken apart. */
function certificate(path: string) {
  const { text } = tryOpenssl(['x509', '-in', path, '-noout', '-text', '-certopt', 'ext_parse']);
  const lines = text.split('\n').map((line) => line.trim());
  const field = (name: string) =>
    lines
      .find((line) => line.startsWith(name))
      ?.slice(name.length)
      .trim();
  const below = (title: string) => {
    const at = lines.indexOf(title);
    return at < 0 ? undefined : lines[at + 1];
  };
  const date = (option: string) =>
    Date.parse(tryOpenssl(['x509', '-in', path, '-noout', option]).text.trim().split('=')[1] ?? '');
  return {
    version: field('Version:'),
    signature: field('Signature Algorithm:'),
    issuer: field('Issuer:')?.replaceAll(' ', ''),
    subject: field('Subject:')?.replaceAll(' ', ''),
    key: field('Public Key Algorithm:'),
    bits: field('Public-Key:'),
    curve: field('NIST CURVE:'),
    serial: tryOpenssl(['x509', '-in', path, '-noout', '-serial'])
      .text.trim()
      .replace('serial=', '')
      .toLowerCase(),
    notBefore: date('-startdate'),
    notAfter: date('-enddate'),
    below,
  };
}

const verifies = (ca: string, leaf: string, purpose: 'sslclient' | 'sslserver') =>
  tryOpenssl(['verify', '-x509_strict', '-purpose', purpose, '-CAfile', ca, leaf]).ok;

const modes = (home: string) =>
  Object.fromEntries(
    readdirSync(home)
      .filter((name) => /\.(key|crt)$/.test(name))
      .map((name) => [name, (statSync(join(home, name)).mode & 0o777).toString(8)]),
  );

const contents = (home: string) =>
  Object.fromEntries(
    readdirSync(home)
      .filter((name) => /\.(key|crt|conf)$/.test(name))
      .map((name) => [name, readFileSync(join(home, name), 'utf8')]),
  );

/** A home with nothing but a configuration. */
function emptyHome(conf = configuration()) {
  const home = join(temporaryDirectory(), 'dispatcher');
  mkdirSync(home);
  writeFileSync(join(home, 'ctrl-exec.conf'), conf);
  return { home, command: (...args: string[]) => run('ctrl-exec', args, { home }) };
}

describe.skipIf(noOpenssl.missing)(`the certificates of the commands, by openssl${noOpenssl.because}`, () => {
  const made = shared(async () => {
    const began = Date.now();
    const { home, command } = emptyHome(configuration('cert_days = 100\n'));
    const outputs = { ca: await command('setup-ca'), identity: await command('setup-ctrl-exec') };
    const control = await dispatcherOnDisk();
    rmSync(control.home, { recursive: true });
    cpSync(home, control.home, { recursive: true });
    const agent = await control.pairAgent('Web-01.example.org');
    return { began, outputs, control, home: control.home, agent };
  });
  const path = (name: string) => join(made().home, name);
  const agentPath = (name: string) => join(made().agent.home, name);

  /** A copy of the dispatcher that a test may change; with the agent in its registry unless told. */
  function copy(registered = true) {
    const { home, command } = emptyHome();
    cpSync(made().home, home, { recursive: true });
    if (!registered) rmSync(join(home, 'state'), { recursive: true });
    return { home, command };
  }

  it('the CA is P-384, self-signed, for ten years, with pathLen 0 and its usages critical', () => {
    const ca = certificate(path('ca.crt'));
    expect(ca).toMatchObject({
      version: '3 (0x2)',
      signature: 'ecdsa-with-SHA384',
      key: 'id-ecPublicKey',
      curve: 'P-384',
      issuer: expect.stringMatching(/^CN=ctrl-execCA[0-9a-f]{8}$/),
      subject: expect.stringMatching(/^CN=ctrl-execCA[0-9a-f]{8}$/),
    });
    expect(ca.below('X509v3 Basic Constraints: critical')).toBe('CA:TRUE, pathlen:0');
    expect(ca.below('X509v3 Key Usage: critical')).toBe('Certificate Sign, CRL Sign');
    const years = (ca.notAfter - made().began) / (365.25 * day);
    expect(years).toBeGreaterThan(9.99);
    expect(years).toBeLessThan(10.01);
    expect(
      tryOpenssl(['verify', '-x509_strict', '-check_ss_sig', '-CAfile', path('ca.crt'), path('ca.crt')]).ok,
    ).toBe(true);
  });

  it.each([
    {
      who: 'the dispatcher',
      at: () => path('ctrl-exec.crt'),
      commonName: 'control.example.org',
      usage: 'TLS Web Client Authentication',
      names: 'URI:ctrl-exec:dispatcher:control.example.org',
      purpose: 'sslclient',
      not: 'sslserver',
    },
    {
      who: 'the pairing port',
      at: () => path('pairing.crt'),
      commonName: 'control.example.org',
      usage: 'TLS Web Server Authentication',
      names: 'URI:ctrl-exec:pairing:control.example.org',
      purpose: 'sslserver',
      not: 'sslclient',
    },
    {
      who: 'an agent',
      at: () => agentPath('agent.crt'),
      commonName: 'web-01.example.org',
      usage: 'TLS Web Server Authentication',
      names: 'DNS:web-01.example.org, URI:ctrl-exec:agent:web-01.example.org',
      purpose: 'sslserver',
      not: 'sslclient',
    },
  ] as const)('that of $who is for its one purpose, its names and cert_days', (expected) => {
    const leaf = certificate(expected.at());
    expect(leaf).toMatchObject({
      version: '3 (0x2)',
      signature: 'ecdsa-with-SHA384',
      key: 'id-ecPublicKey',
      curve: 'P-256',
      issuer: expect.stringMatching(/^CN=ctrl-execCA[0-9a-f]{8}$/),
      subject: `CN=${expected.commonName}`,
    });
    expect(leaf.below('X509v3 Basic Constraints: critical')).toBe('CA:FALSE');
    expect(leaf.below('X509v3 Key Usage: critical')).toBe('Digital Signature');
    expect(leaf.below('X509v3 Extended Key Usage:')).toBe(expected.usage);
    expect(leaf.below('X509v3 Subject Alternative Name:')).toBe(expected.names);
    expect(leaf.below('X509v3 Authority Key Identifier:')).toBe(
      certificate(path('ca.crt')).below('X509v3 Subject Key Identifier:'),
    );
    const { began } = made();
    expect(leaf.notAfter).toBeGreaterThanOrEqual(began + 100 * day - 1_000);
    expect(leaf.notAfter).toBeLessThanOrEqual(Date.now() + 100 * day);
    expect(leaf.notBefore).toBeLessThanOrEqual(began);
    expect(leaf.notBefore).toBeGreaterThan(began - 3_600_000);
    expect(verifies(path('ca.crt'), expected.at(), expected.purpose)).toBe(true);
    expect(verifies(path('ca.crt'), expected.at(), expected.not)).toBe(false);
  });

  it('serials are 16 random bytes that read the same in every form', () => {
    const paths = [path('ca.crt'), path('ctrl-exec.crt'), path('pairing.crt'), agentPath('agent.crt')];
    const serials = paths.map((each) => certificate(each).serial);
    expect(new Set(serials).size).toBe(4);
    for (const serial of serials) expect(serial).toMatch(/^[1-7](?=.*[a-f])[0-9a-f]{31}$/);
  });

  it('an agent trusts the serial of the dispatcher as openssl prints it', () => {
    const trust = readFileSync(agentPath('state/ctrl-exec-dispatchers'), 'utf8');
    expect(trust).toBe(`${certificate(path('ctrl-exec.crt')).serial} control.example.org\n`);
  });

  it('keys belong to their certificates, are all different, and nobody else may read them', () => {
    const { home, agent } = made();
    expect(modes(home)).toEqual({
      'ca.crt': '644',
      'ca.key': '600',
      'ctrl-exec.crt': '644',
      'ctrl-exec.key': '600',
      'pairing.crt': '644',
      'pairing.key': '600',
    });
    expect(modes(agent.home)).toEqual({ 'agent.crt': '644', 'agent.key': '600', 'ca.crt': '644' });
    const publicKeys = [path('ca'), path('ctrl-exec'), path('pairing'), agentPath('agent')].map((stem) => {
      const ofKey = tryOpenssl(['pkey', '-in', `${stem}.key`, '-pubout']).text;
      expect(ofKey).toContain('BEGIN PUBLIC KEY');
      expect(tryOpenssl(['x509', '-in', `${stem}.crt`, '-noout', '-pubkey']).text).toBe(ofKey);
      return ofKey;
    });
    expect(new Set(publicKeys).size).toBe(4);
    expect(statSync(join(home, 'state')).mode & 0o077).toBe(0);
  });

  it('setup-ca and ca-fingerprint print the fingerprint that openssl calculates', async () => {
    const { outputs, control } = made();
    const calculated = tryOpenssl(['x509', '-in', path('ca.crt'), '-noout', '-fingerprint', '-sha256']).text;
    const fingerprint = calculated.trim().split('=')[1];
    expect(outputs.ca.stdout).toContain(`SHA-256 fingerprint: ${fingerprint}\n`);
    expect((await control.command('ca-fingerprint')).stdout).toBe(`${fingerprint}\n`);
    expect(JSON.parse((await control.command('ca-fingerprint', '--json')).stdout).fingerprint).toBe(
      fingerprint,
    );
  });

  it('setup-ctrl-exec prints the serial and the id that it wrote', () => {
    const { serial } = certificate(path('ctrl-exec.crt'));
    expect(made().outputs.identity).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`Dispatcher control.example.org: certificate ${serial}, `),
    });
  });

  it.each(keyTypes)(
    'key_type %s makes a dispatcher certificate of that key, good for a client',
    async (type) => {
      const { home, command } = copy(false);
      writeFileSync(join(home, 'ctrl-exec.conf'), configuration(`key_type = ${type}\n`));
      expect((await command('setup-ctrl-exec', '--yes')).code).toBe(0);
      const leaf = certificate(join(home, 'ctrl-exec.crt'));
      const looks = {
        p256: { key: 'id-ecPublicKey', curve: 'P-256' },
        p384: { key: 'id-ecPublicKey', curve: 'P-384' },
        ed25519: { key: 'ED25519' },
        rsa2048: { key: 'rsaEncryption', bits: '(2048 bit)' },
        rsa4096: { key: 'rsaEncryption', bits: '(4096 bit)' },
      };
      expect(leaf).toMatchObject(looks[type]);
      expect(certificate(join(home, 'pairing.crt')).curve).toBe('P-256');
      expect(modes(home)).toMatchObject({ 'ctrl-exec.key': '600', 'pairing.key': '600' });
      expect(verifies(join(home, 'ca.crt'), join(home, 'ctrl-exec.crt'), 'sslclient')).toBe(true);
      expect(verifies(join(home, 'ca.crt'), join(home, 'ctrl-exec.crt'), 'sslserver')).toBe(false);
    },
  );

  it('setup-ca again is an error that changes nothing', async () => {
    const { home, command } = copy();
    const before = contents(home);
    const again = await command('setup-ca');
    expect(again).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('not overwritten') });
    expect(again.stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(contents(home)).toEqual(before);
  });

  it.each(['ca.key', 'ca.crt'])('setup-ca does not overwrite %s that stands alone', async (name) => {
    const { home, command } = emptyHome();
    cpSync(path(name), join(home, name));
    const before = contents(home);
    expect((await command('setup-ca')).code).toBe(1);
    expect(contents(home)).toEqual(before);
  });

  it('setup-ca twice at the same moment makes one CA', async () => {
    const { home, command } = emptyHome();
    const both = await Promise.all([command('setup-ca'), command('setup-ca')]);
    expect(both.map(({ code }) => code).sort()).toEqual([0, 1]);
    const winner = both.find(({ code }) => code === 0);
    const { text } = tryOpenssl(['x509', '-in', join(home, 'ca.crt'), '-noout', '-fingerprint', '-sha256']);
    expect(winner?.stdout).toContain(text.trim().split('=')[1]);
    expect((await command('setup-ctrl-exec')).code).toBe(0);
  });

  it('setup-ctrl-exec needs a CA, and says so', async () => {
    const { home, command } = emptyHome();
    expect(await command('setup-ctrl-exec')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^there is no CA: .*: run `ctrl-exec setup-ca` first\n$/),
    });
    expect(modes(home)).toEqual({});
  });

  it('setup-ctrl-exec again needs --yes off a terminal, and replaces the identity then', async () => {
    const { home, command } = copy(false);
    const before = contents(home);
    const again = await command('setup-ctrl-exec');
    expect(again).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('--yes') });
    expect(contents(home)).toEqual(before);
    expect((await command('setup-ctrl-exec', '--yes')).code).toBe(0);
    const { 'ctrl-exec.key': key, 'pairing.key': pairing, ...others } = contents(home);
    expect(key).not.toBe(before['ctrl-exec.key']);
    expect(pairing).not.toBe(before['pairing.key']);
    expect(others).toMatchObject({ 'ca.key': before['ca.key'], 'ca.crt': before['ca.crt'] });
    expect(modes(home)).toMatchObject({ 'ctrl-exec.key': '600', 'pairing.key': '600' });
  });

  it('setup-ctrl-exec with agents registered needs --force as well, and names rotate-cert', async () => {
    const { home, command } = copy();
    const before = contents(home);
    for (const options of [[], ['--yes'], ['--force']]) {
      const refused = await command('setup-ctrl-exec', ...options);
      expect(refused.code, options.join(' ')).toBe(1);
      expect(refused.stderr.trimEnd().split('\n')).toHaveLength(1);
      if (options[0] === '--yes') expect(refused.stderr).toContain('use rotate-cert');
    }
    expect(contents(home)).toEqual(before);
    expect((await command('setup-ctrl-exec', '--yes', '--force')).code).toBe(0);
    expect(contents(home)['ctrl-exec.key']).not.toBe(before['ctrl-exec.key']);
  });

  it('setup-ctrl-exec writes down the id that it took from the host name, once', async () => {
    const { home, command } = emptyHome('# mine\npairing_bind = 127.0.0.1\n');
    cpSync(path('ca.key'), join(home, 'ca.key'));
    cpSync(path('ca.crt'), join(home, 'ca.crt'));
    expect((await command('setup-ctrl-exec')).code).toBe(0);
    const conf = readFileSync(join(home, 'ctrl-exec.conf'), 'utf8');
    const id = /^dispatcher_id = (\S+)$/m.exec(conf)?.[1];
    expect(conf).toContain('# mine\n');
    expect(certificate(join(home, 'ctrl-exec.crt')).below('X509v3 Subject Alternative Name:')).toBe(
      `URI:ctrl-exec:dispatcher:${id}`,
    );
    expect((await command('setup-ctrl-exec', '--yes')).code).toBe(0);
    expect(readFileSync(join(home, 'ctrl-exec.conf'), 'utf8')).toBe(conf);
  });

  it('keys are never readable by others, whatever the umask', async () => {
    const { home } = emptyHome();
    for (const step of ['setup-ca', 'setup-ctrl-exec'])
      expect((await start('ctrl-exec', [step], { home, before: 'umask 000', input: '' }).ended).code).toBe(0);
    expect(modes(home)).toMatchObject({ 'ca.key': '600', 'ctrl-exec.key': '600', 'pairing.key': '600' });
    expect(statSync(join(home, 'state')).mode & 0o777).toBe(0o700);
  });
});
