import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Libsql from 'libsql';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { openAgent } from '../../../src/apps/library/agent.js';
import { openDispatcher } from '../../../src/apps/library/index.js';
import { failure, value } from '../../contract/result.js';

const nobody = 65_534;
const isRoot = process.geteuid?.() === 0;

const temporaryHome = (after: (remove: () => void) => void = onTestFinished): string => {
  const home = mkdtempSync(join(tmpdir(), 'file-trust-'));
  after(() => rmSync(home, { recursive: true, force: true }));
  return home;
};

/** What a dispatcher of this home says when it is asked for its agents. */
const asked = async (home: string) => {
  await using dispatcher = await openDispatcher({ home });
  const agents = await dispatcher.agents();
  const { warnings } = value(await dispatcher.configuration());
  return { agents, warnings };
};

const made = temporaryHome(afterAll);
beforeAll(async () => {
  await using dispatcher = await openDispatcher({ home: made });
  value(await dispatcher.setupCa());
  value(await dispatcher.agents());
});

/** The home of a dispatcher that has a CA. */
const dispatcherHome = (): string => {
  const home = temporaryHome();
  cpSync(made, home, { recursive: true });
  return home;
};

/** As a home whose store has the schema of an earlier version. */
const madeOlder = (home: string) => {
  const store = new Libsql(join(home, 'state/ctrl-exec.db'));
  store.exec('PRAGMA user_version = 1');
  store.close();
};

describe.skipIf(!isRoot)('a dispatcher of root (only root can give files away)', () => {
  it.each(['ca.key', 'state', 'state/ctrl-exec.db', 'state/left.over'])(
    'does nothing while %s belongs to somebody else, and says what heals it',
    async (name) => {
      const home = dispatcherHome();
      const path = join(home, name);
      if (!existsSync(path)) writeFileSync(path, '');
      chownSync(path, nobody, 0);
      const { agents, warnings } = await asked(home);
      expect(failure(agents).message).toMatch(
        new RegExp(`${path} belongs to uid 65534, expected root: chown root ${path}$`),
      );
      expect(warnings).toEqual([]);
      chownSync(path, 0, 0);
      value((await asked(home)).agents);
    },
  );

  it('goes to no key by a link through a directory of somebody else', async () => {
    const home = dispatcherHome();
    const elsewhere = join(temporaryHome(), 'shared');
    mkdirSync(elsewhere);
    renameSync(join(home, 'ca.crt'), join(elsewhere, 'ca.crt'));
    symlinkSync(join(elsewhere, 'ca.crt'), join(home, 'ca.crt'));
    value((await asked(home)).agents);
    chownSync(elsewhere, nobody, 0);
    expect(failure((await asked(home)).agents).message).toBe(
      `${home}/ca.crt is not trusted: directory ${elsewhere} belongs to uid 65534, expected root: chown root ${elsewhere}`,
    );
  });

  it('reads no configuration of somebody else, who may have written into it that it is to be trusted', async () => {
    const home = dispatcherHome();
    const file = join(home, 'ctrl-exec.conf');
    writeFileSync(file, 'file_trust = warn\n');
    chownSync(file, nobody, 0);
    await using dispatcher = await openDispatcher({ home });
    expect(failure(await dispatcher.configuration()).message).toMatch(/^not trusted: .*ctrl-exec\.conf /);
  });

  it('warns where it is told to, but takes nothing that everybody can write', async () => {
    const home = dispatcherHome();
    writeFileSync(join(home, 'ctrl-exec.conf'), 'file_trust = warn\n');
    const key = join(home, 'ca.key');
    chownSync(key, nobody, 0);
    const { agents, warnings } = await asked(home);
    value(agents);
    expect(warnings).toEqual([`${key} belongs to uid 65534, expected root: chown root ${key}`]);
    chmodSync(join(home, 'ca.crt'), 0o666);
    expect(failure((await asked(home)).agents).message).toMatch(/ca\.crt is writable by everybody/);
  });

  it('goes on with warnings in a home that an older version made', async () => {
    const home = dispatcherHome();
    madeOlder(home);
    chownSync(join(home, 'ca.key'), nobody, 0);
    await using dispatcher = await openDispatcher({ home });
    const { settings, warnings } = value(await dispatcher.configuration());
    expect(settings.fileTrust).toBe('warn');
    expect(warnings).toEqual([
      expect.stringContaining('ctrl-exec.conf now has the line file_trust = warn'),
      expect.stringMatching(/ca\.key belongs to uid 65534/),
    ]);
    expect(readFileSync(join(home, 'ctrl-exec.conf'), 'utf8')).toBe('file_trust = warn\n');
  });

  it('writes nothing into an older home that is in order', async () => {
    const home = dispatcherHome();
    madeOlder(home);
    await using dispatcher = await openDispatcher({ home });
    value(await dispatcher.configuration());
    expect(existsSync(join(home, 'ctrl-exec.conf'))).toBe(false);
  });

  it('believes no store to be older that somebody else can have put there', async () => {
    const home = dispatcherHome();
    madeOlder(home);
    chownSync(join(home, 'state'), nobody, 0);
    expect(failure((await asked(home)).agents).message).toMatch(/directory .*\/state belongs to uid 65534/);
    expect(existsSync(join(home, 'ctrl-exec.conf'))).toBe(false);
  });
});

describe.skipIf(!isRoot)('an agent of root (only root can give files away)', () => {
  it.each([
    'agent.key',
    'revoked-serials',
    'state',
    'state/replay/1.journal',
    'state/runs/jobs/1',
    'state/ctrl-exec-dispatchers',
  ])('does nothing while %s belongs to somebody else', async (name) => {
    const home = temporaryHome();
    mkdirSync(join(home, 'state/replay'), { recursive: true });
    mkdirSync(join(home, 'state/runs/jobs'), { recursive: true });
    const path = join(home, name);
    if (!existsSync(path)) writeFileSync(path, '', { mode: 0o600 });
    chownSync(path, nobody, 0);
    await using agent = await openAgent({ home });
    for (const answer of [await agent.pairingStatus(), await agent.trustedSerials()])
      expect(failure(answer).message).toMatch(
        new RegExp(`${path} belongs to uid 65534, expected root: chown root ${path}$`),
      );
  });
});
