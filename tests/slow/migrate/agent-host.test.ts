import { X509Certificate } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { freePort, run, shared, start, temporaryDirectory } from '../../support/commands/commands.js';
import { treeDigest } from '../../support/commands/tree.js';
import {
  type LegacyAgentHostOptions,
  legacyAgentHost,
  legacyControlHost,
} from '../../support/legacy/hosts.js';
import type { LegacyVersion } from '../../support/legacy/versions.js';

const versions = ['0.8', '0.9', '0.12'] as const;

const agent = (home: string, ...args: string[]) => run('ctrl-exec-agent', args, { home });

interface Report {
  readonly dry_run: boolean;
  readonly imported: readonly { what: string; detail: string }[];
  readonly kept: readonly { what: string; detail: string }[];
  readonly warnings: readonly string[];
  readonly advice: readonly string[];
}
const reportOf = async (home: string, directory: string, ...args: string[]): Promise<Report> => {
  const { stdout, stderr } = await agent(home, 'import-state', directory, '--json', ...args);
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout) as Report;
};
const names = (items: readonly { what: string }[]) => items.map(({ what }) => what);

const controls = shared(async () => {
  const root = temporaryDirectory();
  const host = (version: LegacyVersion) => legacyControlHost(join(root, version), { version });
  return { '0.8': await host('0.8'), '0.9': await host('0.9'), '0.12': await host('0.12') };
});

/** A paired agent below a directory of its own, and a home that is not there yet. */
const prepared = async (
  version: (typeof versions)[number],
  options: Partial<LegacyAgentHostOptions> = {},
) => {
  const root = temporaryDirectory();
  const old = await legacyAgentHost(join(root, 'old'), { version, control: controls()[version], ...options });
  return { root, old, home: join(root, 'home') };
};

const trustOf = (home: string) => readFileSync(join(home, 'state/ctrl-exec-dispatchers'), 'utf8');

describe.each(versions)('an agent of %s', (version) => {
  it('is taken over whole, serves under its old certificate, and nothing of it is changed', async () => {
    const port = await freePort();
    const { old, home, root } = await prepared(version, { port, conf: 'bind = 127.0.0.1' });
    old.script('hello', '#!/bin/sh\necho hello\n');
    writeFileSync(join(old.directory, 'revoked-serials'), '0f # stolen\n');
    const before = treeDigest(join(root, 'old'));
    const imported = await agent(home, 'import-state', old.directory);
    expect(imported).toMatchObject({ code: 0, stderr: '' });
    expect(imported.stdout).toMatch(
      /^next +while the dispatcher .*accept_legacy_dispatchers = yes is needed/m,
    );

    expect(readFileSync(join(home, 'agent.key'), 'utf8')).toBe(old.agent.key);
    expect(statSync(join(home, 'agent.key')).mode & 0o777).toBe(0o600);
    expect(trustOf(home)).toBe(version === '0.8' ? '2 legacy\n' : '2 control.example.com\n');
    expect(readFileSync(join(home, 'revoked-serials'), 'utf8')).toBe('0f # stolen\n');
    expect(readFileSync(join(home, 'scripts.conf'), 'utf8')).toMatch(/^hello = /m);
    expect(readFileSync(join(home, 'agent.conf'), 'utf8')).toMatch(/^\[tags\]\nenv = prod$/m);

    const daemon = start('ctrl-exec-agent', ['serve'], { home });
    await daemon.shows(/Serving on/);
    expect(await agent(home, 'self-ping')).toMatchObject({ code: 0 });
    const status = await agent(home, 'pairing-status', '--json');
    expect(JSON.parse(status.stdout)).toMatchObject({ paired: true, name: 'web-01.example.com' });
    await daemon.stop();
    expect(treeDigest(join(root, 'old'))).toEqual(before);
  });

  it('a dry run says just what the import then says, and writes nothing; a second import changes nothing', async () => {
    const { old, home } = await prepared(version);
    const dry = await reportOf(home, old.directory, '--dry-run', '--accept-legacy-dispatchers');
    expect(existsSync(home)).toBe(false);
    const done = await reportOf(home, old.directory, '--accept-legacy-dispatchers');
    expect({ ...dry, dry_run: false }).toEqual(done);
    const files = treeDigest(home);
    const again = await agent(home, 'import-state', old.directory, '--accept-legacy-dispatchers');
    expect(again).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Nothing to import: /m) });
    expect(treeDigest(home).filter((line) => !line.startsWith('state '))).toEqual(
      files.filter((line) => !line.startsWith('state ')),
    );
  });
});

describe('accept_legacy_dispatchers', () => {
  it('is written into the own configuration only, and asked for where it is not', async () => {
    const { old, home, root } = await prepared('0.9');
    const before = treeDigest(join(root, 'old'));
    const { advice } = await reportOf(home, old.directory, '--accept-legacy-dispatchers');
    expect(advice).toEqual([]);
    expect(readFileSync(join(home, 'agent.conf'), 'utf8')).toMatch(
      /^accept_legacy_dispatchers = yes\n\n?\[tags\]/m,
    );
    expect(treeDigest(join(root, 'old'))).toEqual(before);
  });

  it('is added to a configuration that is here already, and nothing else of it changes', async () => {
    const { old, home } = await prepared('0.9');
    mkdirSync(home);
    writeFileSync(join(home, 'agent.conf'), '# mine\nport = 1234\n');
    const { kept } = await reportOf(home, old.directory, '--accept-legacy-dispatchers');
    expect(readFileSync(join(home, 'agent.conf'), 'utf8')).toBe(
      '# mine\nport = 1234\naccept_legacy_dispatchers = yes\n',
    );
    expect(kept.map(({ detail }) => detail)).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/agent\.conf:2: port is "7443", and "1234" here/),
        expect.stringMatching(/tags\.env is "prod", and not set here/),
      ]),
    );
  });
});

describe('what needs attention is said with its line', () => {
  it('keys that mean nothing here, and scripts that would not run', async () => {
    const { old, home } = await prepared('0.12', { conf: 'sandbox = strict\nscript_dirs = /usr/bin' });
    old.script('shell', 'echo no interpreter\n');
    old.script('outside', '#!/bin/sh\n');
    old.allow('gone = /nonexistent/script');
    const plain = old.script('plain', '#!/bin/sh\n');
    chmodSync(plain, 0o644);
    old.allow('limited = /usr/bin/env profile=web');
    old.allow('gone = /nonexistent/other');
    const { warnings } = await reportOf(home, old.directory);
    for (const expected of [
      /agent\.conf:\d+: unknown key "sandbox" is ignored/,
      /agent\.conf:\d+: executor_socket has no effect: scripts run as the user of this agent/,
      /scripts\.conf:2: shell cannot be run: .*does not begin with #!/,
      /scripts\.conf:3: outside cannot be run: .*script_dirs: move it there, or add its directory/,
      /scripts\.conf:4: left out: "gone" is set again in line 7/,
      /scripts\.conf:7: gone cannot be run: .* does not exist/,
      /scripts\.conf:5: plain cannot be run: .*chmod \+x/,
      /scripts\.conf:6: profile=web is not enforced/,
    ])
      expect(warnings).toContainEqual(expect.stringMatching(expected));
  });

  it('a setting that this version cannot read stops the import: it may be a limit', async () => {
    const { old, home } = await prepared('0.9', { conf: 'allowed_ips = everybody' });
    expect(await agent(home, 'import-state', old.directory)).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(
        /agent\.conf:\d+: allowed_ips is "everybody".*nothing was imported: write a corrected copy/,
      ),
    });
    expect(existsSync(home)).toBe(false);
  });

  it('a trusted serial that may mean two certificates; whoever has looked it up decides', async () => {
    const { old, home, root } = await prepared('0.9');
    writeFileSync(old.trustFile, '1a control.example.com\n');
    const { warnings } = await reportOf(home, old.directory);
    expect(warnings).toContainEqual(
      expect.stringMatching(/serial 1a of control\.example\.com may stand for certificate 1a or 26/),
    );
    expect(trustOf(home)).toBe('1a control.example.com\n');
    const other = join(root, 'other');
    expect(
      (await reportOf(other, old.directory, '--dispatcher-serial', '26')).warnings.join('\n'),
    ).not.toMatch(/may stand/);
    expect(trustOf(other)).toBe('26 control.example.com\n');
    expect(await agent(other, 'import-state', old.directory, '--dispatcher-serial', 'x')).toMatchObject({
      code: 64,
    });
  });
});

describe('certificates', () => {
  it('a renewed one that waits for a restart is taken instead of the old one', async () => {
    const { old, home } = await prepared('0.12');
    const renewed = await controls()['0.12'].ca.issue(old.name, { key: old.agent.key, days: 2000 });
    writeFileSync(join(old.state, 'agent.crt.staged'), renewed.certificate);
    await reportOf(home, old.directory);
    expect(new X509Certificate(readFileSync(join(home, 'agent.crt'))).raw).toEqual(
      new X509Certificate(renewed.certificate).raw,
    );
    expect((await reportOf(home, old.directory)).imported).toEqual([]);
  });

  it.each([
    [
      'here',
      1000,
      900,
      /agent\.crt stays as it is: certificate \S+, until \S+Z\. \S+ has another one of the same key: .*Z$/,
    ],
    ['there', 900, 1000, /agent\.crt stays as it is: .*that one is the newer, .*copy it over the other$/],
  ] as const)(
    'another one of the same key is told apart: the newer is %s',
    async (_where, ours, theirs, said) => {
      const { old, home } = await prepared('0.12');
      const { ca } = controls()['0.12'];
      await reportOf(home, old.directory);
      const renewed = await ca.issue(old.name, { key: old.agent.key, days: ours });
      writeFileSync(join(home, 'agent.crt'), renewed.certificate);
      const other = await ca.issue(old.name, { key: old.agent.key, days: theirs });
      writeFileSync(join(old.directory, 'agent.crt'), other.certificate);
      const { kept, imported } = await reportOf(home, old.directory);
      const shown = (pem: string) => new X509Certificate(pem).serialNumber.toLowerCase().replace(/^0+/, '');
      const [identity] = kept.filter(({ what }) => what === 'identity');
      expect(identity?.detail).toMatch(said);
      expect(identity?.detail).toContain(`certificate ${shown(renewed.certificate)}, until`);
      expect(identity?.detail).toContain(`certificate ${shown(other.certificate)}, until`);
      expect(imported).toEqual([]);
      expect(readFileSync(join(home, 'agent.crt'), 'utf8')).toBe(renewed.certificate);
    },
  );

  it('an identity under another CA is an error, another one under the same CA is kept', async () => {
    const { old, home, root } = await prepared('0.9');
    await reportOf(home, old.directory);
    const other = await legacyControlHost(join(root, 'other'), { version: '0.9' });
    const stranger = await legacyAgentHost(join(root, 'stranger'), { version: '0.9', control: other });
    const before = treeDigest(home);
    expect(await agent(home, 'import-state', stranger.directory)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/paired under another CA.*nothing was imported/),
    });
    expect(treeDigest(home)).toEqual(before);

    const control = controls()['0.9'];
    const sibling = await legacyAgentHost(join(root, 'sibling'), { version: '0.9', control, name: 'web-02' });
    const key = await control.ca.issue('web-02', { key: control.dispatcher.key });
    writeFileSync(join(sibling.directory, 'agent.key'), key.key);
    writeFileSync(join(sibling.directory, 'agent.crt'), key.certificate);
    const { kept } = await reportOf(home, sibling.directory);
    expect(kept).toContainEqual({ what: 'identity', detail: expect.stringMatching(/has another key/) });
    expect(readFileSync(join(home, 'agent.key'), 'utf8')).toBe(old.agent.key);
  });

  it('an agent that is not paired has nothing to import', async () => {
    const { old, home } = await prepared('0.9');
    rmSync(join(old.directory, 'agent.key'));
    expect(await agent(home, 'import-state', old.directory)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/no paired agent in \S+: agent\.key missing/),
    });
  });
});

describe('the record of requests', () => {
  it('is begun by the first import, in place too, and by no later one', async () => {
    const { old, home } = await prepared('0.9', { port: await freePort(), conf: 'bind = 127.0.0.1' });
    await reportOf(home, old.directory);
    const record = treeDigest(join(home, 'state/runs'));
    expect(record.length).toBeGreaterThan(0);
    expect((await reportOf(home, old.directory)).imported).toEqual([]);
    expect(treeDigest(join(home, 'state/runs'))).toEqual(record);
    const daemon = start('ctrl-exec-agent', ['serve'], { home });
    await daemon.shows(/Serving on/);
    await daemon.stop();
    const { stderr } = await daemon.ended;
    expect(stderr).toContain('ACTION=serving');
    expect(stderr).not.toContain('ACTION=replay-record-lost');
  });
});

describe('an import in place', () => {
  it.each(versions)(
    'of %s adds what is missing, closes the key to others, and leaves everything else',
    async (version) => {
      const root = temporaryDirectory();
      const old = await legacyAgentHost(root, {
        version,
        layout: 'together',
        names: 'here',
        control: controls()[version],
      });
      const rest = (lines: readonly string[]) => lines.filter((line) => !/^( |agent\.key )/.test(line));
      const before = treeDigest(root);
      const dry = await reportOf(root, root, '--dry-run');
      expect(treeDigest(root)).toEqual(before);
      const done = await reportOf(root, root);
      expect({ ...dry, dry_run: false }).toEqual(done);
      expect(treeDigest(root)).toEqual(expect.arrayContaining(rest(before)));
      expect(names(done.imported)).toEqual(['key', 'trusted dispatchers']);
      expect(statSync(join(root, 'agent.key')).mode & 0o777).toBe(0o600);
      expect(readFileSync(join(root, 'agent.key'), 'utf8')).toBe(old.agent.key);
      expect((await reportOf(root, root)).imported).toEqual([]);
      expect((await agent(root, 'self-check')).stdout).toMatch(/^ok +trusted dispatchers: /m);
    },
  );
});

describe.skipIf(process.geteuid?.() !== 0)(
  'files that somebody else decides about (only root can give files away)',
  () => {
    const nobody = 65_534;

    it('become those of this user in place, and nothing needs to be warned of', async () => {
      const root = temporaryDirectory();
      await legacyAgentHost(root, {
        version: '0.9',
        layout: 'together',
        names: 'here',
        control: controls()['0.9'],
      });
      const names = ['.', ...(readdirSync(root, { recursive: true }) as string[])];
      const faulty = ['.', 'agent.conf', 'agent.key', 'agent.crt'].map((name) => join(root, name));
      for (const name of names) chownSync(join(root, name), nobody, 0);
      const dry = await reportOf(root, root, '--dry-run');
      expect(statSync(root).uid).toBe(nobody);
      const done = await reportOf(root, root);
      expect({ ...dry, dry_run: false }).toEqual(done);
      const taken = done.imported.filter(({ what }) => what === 'owner').map(({ detail }) => detail);
      for (const path of faulty) {
        expect(statSync(path).uid).toBe(0);
        expect(taken).toContain(`this user becomes the owner of ${path}, and nobody else can write it`);
      }
      expect(readFileSync(join(root, 'agent.conf'), 'utf8')).not.toContain('file_trust');
      expect((await agent(root, 'self-check')).stdout).not.toMatch(/file trust/);
    });

    it('are warned of where they are left, and the agent serves', async () => {
      const { old, home } = await prepared('0.9', { port: await freePort(), conf: 'bind = 127.0.0.1' });
      const script = old.script('hello', '#!/bin/sh\necho hello\n');
      chownSync(script, nobody, 0);
      const done = await reportOf(home, old.directory);
      expect(names(done.imported)).toContain('file_trust');
      const line = `${script} belongs to uid 65534, expected root: chown root ${script}`;
      expect(done.warnings).toContain(`not trusted: ${line}`);
      expect(readFileSync(join(home, 'agent.conf'), 'utf8')).toMatch(/^file_trust = warn$/m);
      const daemon = start('ctrl-exec-agent', ['serve'], { home });
      await daemon.shows(/Serving on/);
      await daemon.stop();
      expect((await daemon.ended).stderr).toContain(line);
    });
  },
);
