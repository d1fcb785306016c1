import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  agentOnDisk,
  openPairing,
  requestPairing,
  shared,
  temporaryDirectory,
} from '../../support/commands/commands.js';
import { treeDigest } from '../../support/commands/tree.js';
import { legacyCaCertificate, pooledRsaKey } from '../../support/legacy/ca.js';
import { agentsOf, control, controlHosts, versions } from '../../support/legacy/control-hosts.js';
import { type LegacyControlHost, legacyControlHost } from '../../support/legacy/hosts.js';
import { openssl } from '../../support/network/openssl.js';

interface Report {
  readonly dry_run: boolean;
  readonly imported: readonly { what: string; detail: string }[];
  readonly kept: readonly { what: string; detail: string }[];
  readonly skipped: readonly { what: string; detail: string }[];
  readonly warnings: readonly string[];
  readonly advice: readonly string[];
}
const reportOf = async (home: string, directory: string, ...args: string[]): Promise<Report> => {
  const { stdout, stderr } = await control(home, 'import-state', directory, '--json', ...args);
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout) as Report;
};
const names = (items: readonly { what: string }[]) => items.map(({ what }) => what);

const homeIn = (root: string) => join(root, 'home');

const hosts = shared(controlHosts);

describe.each(versions)('a control host of %s', (version) => {
  it('a dry run says just what the import then says, and writes nothing', async () => {
    const home = homeIn(temporaryDirectory());
    const { directory } = hosts()[version];
    const said = await reportOf(home, directory, '--dry-run');
    expect(existsSync(home)).toBe(false);
    const done = await reportOf(home, directory);
    expect({ ...said, dry_run: false }).toEqual(done);
    expect(names(done.imported)).toEqual(
      expect.arrayContaining([
        'CA',
        'identity',
        'pairing identity',
        'agent db-02',
        'agent web-01.example.com',
      ]),
    );
  });

  it('a second import changes nothing and says so', async () => {
    const home = homeIn(temporaryDirectory());
    const { directory } = hosts()[version];
    await control(home, 'import-state', directory);
    const files = () =>
      treeDigest(home).filter((line) => !/^(state|state\/locks|state\/ctrl-exec\.db\S*)? \d/.test(line));
    const before = files();
    const again = await control(home, 'import-state', directory);
    expect(again).toMatchObject({ code: 0 });
    expect(again.stdout).toMatch(/^Nothing to import: everything is here already$/m);
    expect(again.stdout).not.toMatch(/^imported/m);
    expect(files()).toEqual(before);
    expect(await agentsOf(home)).toHaveLength(2);
  });
});

describe.each([
  [3, 'pkcs8'],
  [3, 'pkcs1'],
  [1, 'pkcs8'],
] as const)('an imported CA of X.509 v%i with its key as %s', (caVersion, caKeyForm) => {
  it('issues certificates and revocation lists that OpenSSL accepts, and agents pair under it', {
    timeout: 60_000,
  }, async () => {
    const root = temporaryDirectory();
    const host = await legacyControlHost(join(root, 'old'), {
      version: '0.9',
      caVersion,
      caKeyForm,
      conf: 'pairing_bind = 127.0.0.1\n',
    });
    const home = homeIn(root);
    expect(await control(home, 'import-state', host.directory)).toMatchObject({ code: 0 });
    const ca = join(home, 'ca.crt');
    expect(
      openssl(['verify', '-CAfile', ca, '-purpose', 'sslserver', join(home, 'pairing.crt')]).stdout,
    ).toMatch(/OK/);
    expect(
      openssl(['verify', '-CAfile', ca, '-purpose', 'sslclient', join(home, 'ctrl-exec.crt')]).stdout,
    ).toMatch(/OK/);

    const agent = await agentOnDisk('new-01');
    const mode = await openPairing(home);
    const request = requestPairing(agent, mode.port, ['--lookup-by', 'ip']);
    const id = await request.shows(/Request ([0-9a-f]{8})/);
    expect(await control(home, 'approve', id)).toMatchObject({ code: 0 });
    request.child.stdin?.end('y\n');
    expect(await request.ended).toMatchObject({ code: 0 });
    await mode.process.stop();
    const daemon = await agent.serve();
    expect(await control(home, 'ping', 'new-01')).toMatchObject({ code: 0 });

    expect(await control(home, 'revoke', 'ff01')).toMatchObject({ code: 0 });
    const list = join(agent.home, 'state/crl.pem');
    expect(openssl(['crl', '-in', list, '-noout', '-CAfile', ca, '-text']).stdout).toMatch(/FF01/);
    await daemon.stop();
  });
});

describe('what cannot be taken over', () => {
  it('records that cannot be used are named with their reason, and the others are taken', async () => {
    const root = temporaryDirectory();
    const host = await legacyControlHost(join(root, 'old'), { version: '0.9' });
    host.register('good');
    host.register('Good');
    host.register('address', { ip: 'nonsense' });
    host.register('-name');
    host.register('stray', { ip: undefined, paired: undefined });
    writeFileSync(join(host.state, 'agents/json.json'), '{"hostname":');
    writeFileSync(join(host.state, 'agents/.registry.lock'), '');
    const ended = await control(homeIn(root), 'import-state', host.directory);
    expect(ended.code).toBe(1);
    expect(ended.stdout).toMatch(
      /^skipped +agent address\.json: \S+\/agents\/address\.json: "ip" is "nonsense"/m,
    );
    expect(ended.stdout).toMatch(/^skipped +agent json\.json: \S+: not valid JSON$/m);
    expect(ended.stdout).toMatch(/^skipped +agent -name\.json: /m);
    expect(ended.stdout).toMatch(
      /^skipped +agent good\.json: .*by \S+\/Good\.json; names do not differ by case/m,
    );
    expect(ended.stdout).toMatch(/^warning +\S+\/stray\.json is left out: it holds no pairing$/m);
    expect((await agentsOf(homeIn(root))).map(({ name }) => name)).toEqual(['good']);
  });

  it.each([
    [
      'no CA',
      (host: LegacyControlHost) => cpSync('/dev/null', join(host.directory, 'ca.crt')),
      /ca\.crt cannot be used/,
    ],
    [
      'a CA whose key is another',
      async (host: LegacyControlHost) =>
        writeFileSync(join(host.directory, 'ca.key'), await pooledRsaKey('other'), { mode: 0o600 }),
      /does not belong to the key/,
    ],
    [
      'a CA that is none',
      (host: LegacyControlHost) =>
        writeFileSync(
          join(host.directory, 'ca.crt'),
          openssl([
            ...['req', '-new', '-x509', '-key', join(host.directory, 'ca.key'), '-subj', '/CN=x'],
            ...['-days', '9', '-addext', 'basicConstraints=critical,CA:FALSE'],
          ]).stdout,
        ),
      /it is not the certificate of a CA/,
    ],
    [
      'an identity of another CA',
      (host: LegacyControlHost) =>
        writeFileSync(join(host.directory, 'dispatcher.crt'), legacyCaCertificate(host.dispatcher.key, 1)),
      /the CA did not issue it/,
    ],
    [
      'a setting that this version cannot read',
      (host: LegacyControlHost) =>
        writeFileSync(join(host.directory, 'ctrl-exec.conf'), 'read_timeout = soon\n'),
      /ctrl-exec\.conf:1: read_timeout is "soon".*nothing was imported: write a corrected copy/,
    ],
  ])('%s: one line, and nothing is written', async (_what, spoil, line) => {
    const root = temporaryDirectory();
    const host = await legacyControlHost(join(root, 'old'), { version: '0.9' });
    await spoil(host);
    const ended = await control(homeIn(root), 'import-state', host.directory);
    expect(ended).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(line) });
    expect(ended.stderr.trim()).not.toContain('\n');
    expect(existsSync(homeIn(root))).toBe(false);
  });

  it('a directory that is not there, or that the own home lies in, is a usage error', async () => {
    const root = temporaryDirectory();
    const host = await legacyControlHost(join(root, 'old'), { version: '0.9' });
    expect(await control(homeIn(root), 'import-state', join(root, 'none'))).toMatchObject({
      code: 64,
      stderr: expect.stringMatching(/none is not a directory/),
    });
    expect(
      await control(homeIn(root), 'import-state', host.directory, '--state', join(root, 'none')),
    ).toMatchObject({ code: 64 });
    const inside = await control(join(host.directory, 'home'), 'import-state', host.directory);
    expect(inside).toMatchObject({ code: 64, stderr: expect.stringMatching(/nothing in \S+ is changed/) });
  });
});

describe('what is here already', () => {
  it('another CA, another identity and another dispatcher_id are errors, and stay as they are', async () => {
    const root = temporaryDirectory();
    const { directory } = hosts()['0.9'];
    const home = homeIn(root);
    await control(home, 'setup-ca');
    const ca = treeDigest(home);
    expect(await control(home, 'import-state', directory)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/another CA here.*nothing was imported/),
    });
    expect(treeDigest(home)).toEqual(ca);

    const second = join(root, 'second');
    await control(second, 'import-state', directory);
    await control(second, 'setup-ctrl-exec', '--yes', '--force');
    const identity = readFileSync(join(second, 'ctrl-exec.crt'), 'utf8');
    expect(await control(second, 'import-state', directory)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/another identity already/),
    });
    expect(readFileSync(join(second, 'ctrl-exec.crt'), 'utf8')).toBe(identity);

    const third = join(root, 'third');
    cpSync(second, third, { recursive: true });
    writeFileSync(join(third, 'ctrl-exec.conf'), 'dispatcher_id = elsewhere\n');
    expect(await control(third, 'import-state', directory)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/dispatcher_id = elsewhere.*as control\.example\.com/),
    });
  });

  it('a configuration and an agent that are here stay, and what differs is said', async () => {
    const root = temporaryDirectory();
    const host = await legacyControlHost(join(root, 'old'), { version: '0.9' });
    host.register('web-01');
    const home = homeIn(root);
    await control(home, 'import-state', host.directory);
    await control(home, 'edit-agent', 'web-01', '--ip', '192.0.2.1');
    writeFileSync(join(home, 'ctrl-exec.conf'), 'dispatcher_id = control.example.com\nread_timeout = 5\n');
    const { kept, imported } = await reportOf(home, host.directory);
    expect(imported).toEqual([]);
    expect(kept.find(({ what }) => what === 'agent web-01')?.detail).toMatch(
      /192\.0\.2\.1.*there: web-01, 127\.0\.0\.1/,
    );
    expect(kept.filter(({ what }) => what === 'setting').map(({ detail }) => detail)).toContainEqual(
      expect.stringMatching(/ctrl-exec\.conf:7: read_timeout is "90", and "5" here/),
    );
    expect(await agentsOf(home)).toMatchObject([{ ip: '192.0.2.1' }]);
  });

  it('an identity that was rotated since the import is kept', { timeout: 60_000 }, async () => {
    const home = homeIn(temporaryDirectory());
    const host = await legacyControlHost(join(temporaryDirectory(), 'old'), { version: '0.9' });
    await control(home, 'import-state', host.directory);
    expect(await control(home, 'rotate-cert')).toMatchObject({ code: 0 });
    const again = await control(home, 'import-state', host.directory);
    expect(again).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^kept +identity: .* has followed it since/m),
    });
  });
});

describe('agents that an older rotation left behind', () => {
  it('are named with what is to be done', async () => {
    const root = temporaryDirectory();
    const host = await legacyControlHost(join(root, 'old'), { version: '0.12' });
    host.register('here');
    host.register('late', { dispatcher_serial: '1f', serial_status: 'pending' });
    host.register('lost', { dispatcher_serial: '1f', serial_status: 'stale' });
    host.register('unsure', { dispatcher_serial: '', serial_status: 'unknown' });
    writeFileSync(
      join(host.state, 'rotation.json'),
      JSON.stringify({ current_serial: '02', previous_serial: '1f' }),
    );
    const { warnings } = await reportOf(homeIn(root), host.directory);
    expect(warnings).toContainEqual(
      expect.stringMatching(
        /certificate 1f, .*: late \(pending\), lost \(stale\)\. .*"02 control\.example\.com".*pair it again/,
      ),
    );
    expect(warnings).toContainEqual(expect.stringMatching(/not known .*: unsure$/));
  });

  it('are reached where the key of before is still there: it becomes the previous identity', async () => {
    const root = temporaryDirectory();
    const host = await legacyControlHost(join(root, 'old'), { version: '0.9' });
    const former = await host.ca.issue('ctrl-exec', { key: await pooledRsaKey('former') });
    writeFileSync(join(host.directory, 'ctrl-exec.key'), former.key, { mode: 0o600 });
    writeFileSync(join(host.directory, 'ctrl-exec.crt'), former.certificate);
    host.register('late', { dispatcher_serial: former.serial, serial_status: 'pending' });
    const home = homeIn(root);
    const { imported, warnings } = await reportOf(home, host.directory);
    expect(names(imported)).toContain('previous identity');
    expect(warnings.join('\n')).not.toMatch(/nobody has the key/);
    expect((await control(home, 'serial-status')).stdout).toMatch(/^late +pending/m);
    expect((await reportOf(home, host.directory)).imported).toEqual([]);
  });
});

describe('an API that other hosts reach without TLS', () => {
  it.each([
    ['api_bind = 0.0.0.0\n', 1],
    ['api_bind = 127.0.0.1\n', 0],
    ['api_bind = 0.0.0.0\napi_plain_http = yes\n', 0],
  ] as const)('%j: what is to be set is said', async (conf, times) => {
    const root = temporaryDirectory();
    const host = await legacyControlHost(join(root, 'old'), { version: '0.12', conf });
    host.register('web-01');
    const home = homeIn(root);
    for (const { advice } of [await reportOf(home, host.directory), await reportOf(home, host.directory)])
      expect(
        advice.filter((line) => /Set api_cert and api_key, or api_plain_http = yes/.test(line)),
      ).toHaveLength(times);
  });
});

describe('an import in place', () => {
  it('adds what is missing and leaves every file that was there', async () => {
    const root = temporaryDirectory();
    const host = await legacyControlHost(root, { version: '0.12', layout: 'together', names: 'here' });
    host.register('web-01');
    writeFileSync(join(root, 'rotation.json'), '{"current_serial":"02"}');
    const before = treeDigest(root).filter((line) => !line.startsWith(' '));
    const dry = await reportOf(root, root, '--dry-run');
    expect(treeDigest(root).filter((line) => !line.startsWith(' '))).toEqual(before);
    const done = await reportOf(root, root);
    expect({ ...dry, dry_run: false }).toEqual(done);
    expect(treeDigest(root)).toEqual(expect.arrayContaining(before));
    expect(names(done.imported)).toEqual(['pairing identity', 'agent web-01']);
    expect(readdirSync(root)).toEqual(expect.arrayContaining(['pairing.crt', 'pairing.key', 'state']));
    expect((await reportOf(root, root)).imported).toEqual([]);
    expect((await control(root, 'serial-status')).stdout).toMatch(/^web-01 +current/m);
  });

  it('writes down the dispatcher_id where it was not said, and nothing else into the configuration', async () => {
    const root = temporaryDirectory();
    await legacyControlHost(root, { version: '0.8', layout: 'together', names: 'here' });
    const before = readFileSync(join(root, 'ctrl-exec.conf'), 'utf8').split('\n');
    expect(await control(root, 'import-state', root)).toMatchObject({ code: 0 });
    const after = readFileSync(join(root, 'ctrl-exec.conf'), 'utf8').split('\n');
    expect(after.filter((line) => !before.includes(line))).toEqual([
      expect.stringMatching(/^dispatcher_id = /),
    ]);
    expect(after).toHaveLength(before.length + 1);
  });

  it.skipIf(process.geteuid?.() !== 0)(
    'takes over what belongs to somebody else, and works then (only root can give files away)',
    async () => {
      const root = temporaryDirectory();
      await legacyControlHost(root, { version: '0.12', layout: 'together', names: 'here' });
      const key = join(root, 'ca.key');
      chownSync(key, 65_534, 0);
      const line = `not trusted: ${key} belongs to uid 65534, expected root: chown root ${key}\n`;
      expect(await control(root, 'list-agents')).toMatchObject({
        code: 1,
        stderr: expect.stringContaining(line),
      });
      const dry = await reportOf(root, root, '--dry-run');
      const done = await reportOf(root, root);
      expect({ ...dry, dry_run: false }).toEqual(done);
      expect(names(done.imported).filter((what) => what === 'owner')).toHaveLength(1);
      expect(names(done.imported)).not.toContain('file_trust');
      expect(statSync(key).uid).toBe(0);
      expect(await control(root, 'list-agents')).toMatchObject({ code: 0 });
    },
  );

  it('a key that others may read is refused with what to do', async () => {
    const root = temporaryDirectory();
    await legacyControlHost(root, { version: '0.9', layout: 'together', names: 'here' });
    chmodSync(join(root, 'ca.key'), 0o640);
    expect(await control(root, 'import-state', root)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/chmod 600/),
    });
  });
});

describe('where things are found', () => {
  it('in the root of a copy, in one directory with everything, or with the state elsewhere', async () => {
    const root = temporaryDirectory();
    const split = hosts()['0.9'];
    const together = await legacyControlHost(join(root, 'all'), { version: '0.9', layout: 'together' });
    together.register('web-01');
    const elsewhere = join(root, 'elsewhere');
    cpSync(split.state, elsewhere, { recursive: true });
    const bare = join(root, 'bare');
    cpSync(split.directory, bare, { recursive: true });
    copyFileSync(join(bare, 'ca.crt'), join(bare, 'unrelated.crt'));
    const found = async (home: string, directory: string, ...args: string[]) =>
      names((await reportOf(join(root, home), directory, '--dry-run', ...args)).imported).filter((what) =>
        what.startsWith('agent '),
      );
    expect(await found('a', join(split.directory, '../..'))).toHaveLength(2);
    expect(await found('b', together.directory)).toEqual(['agent web-01']);
    expect(await found('c', bare, '--state', elsewhere)).toHaveLength(2);
    const without = await reportOf(join(root, 'd'), bare, '--dry-run');
    expect(without.warnings).toContainEqual(expect.stringMatching(/no records of agents .*--state/));
  });
});
