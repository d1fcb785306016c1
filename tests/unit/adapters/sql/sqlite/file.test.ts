import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Libsql from 'libsql';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openSqliteStores } from '../../../../../src/adapters/sql/sqlite/stores.js';
import type { Enrolment } from '../../../../../src/ports/registry.js';
import type { RunStart } from '../../../../../src/ports/run-store.js';
import { failure, value } from '../../../../contract/result.js';
import { openStores, storeOptions, temporaryDirectory } from './temporary-stores.js';

const enrolment = (name: string): Enrolment => ({
  name,
  endpoint: { host: name, ip: '192.0.2.1', port: 7443, lookupBy: 'ip' },
  pin: { spkiSha256: `key of ${name}`, state: 'issued', serial: '1', notAfter: 2, issuedAt: 1 },
  pairing: 'v2',
  replace: false,
  standing: { serials: ['d1'], caSet: undefined, crlNumber: 0, lastContact: undefined, speaks: undefined },
  at: 1,
});

const runOn = (...hosts: readonly string[]): RunStart => ({
  reqid: 'r',
  script: 's',
  hosts: hosts.map((host) => ({ host })),
  args: [],
  mode: 'sync',
  principal: 'os:root',
  username: 'u',
  sourceIp: '',
  startedAt: 0,
});

const modeOf = (path: string): number => lstatSync(path).mode & 0o777;

/** The file as another program sees it, closed after the test. */
const rawConnection = (directory: string): Libsql.Database => {
  const connection = new Libsql(storeOptions(directory).path);
  onTestFinished(() => void connection.close());
  return connection;
};

const refusal = async (directory: string) => failure(await openSqliteStores(storeOptions(directory)));

/** A database with an agent in it, closed. */
const filledDirectory = async (): Promise<string> => {
  const directory = temporaryDirectory();
  const stores = await openStores(directory);
  value(await stores.registry.enrol(enrolment('web-01')));
  await stores.close();
  return directory;
};

describe('the file', () => {
  it('is made for its owner alone, side files and missing directories included', async () => {
    const directory = join(temporaryDirectory(), 'var', 'state');
    const stores = await openStores(directory);
    value(await stores.mutex.acquire('pairing', 0));
    for (const folder of [join(directory, '..'), directory, join(directory, 'locks')]) {
      expect(modeOf(folder)).toBe(0o700);
    }
    const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.includes('.db'),
    );
    expect(files.map((name) => name.replace(/-[0-9a-f-]{36}/, '')).sort()).toEqual([
      'locks/owner.db',
      'state.db',
      'state.db-shm',
      'state.db-wal',
    ]);
    for (const name of files) expect([name, modeOf(join(directory, name))]).toEqual([name, 0o600]);
  });

  it('that others may read is closed to them', async () => {
    const directory = await filledDirectory();
    chmodSync(storeOptions(directory).path, 0o644);
    const stores = await openStores(directory);
    expect(value(await stores.registry.list())).toHaveLength(1);
    for (const name of readdirSync(directory)) expect(modeOf(join(directory, name))).toBe(0o600);
  });

  it('keeps what was written for the next that opens it', async () => {
    const stores = await openStores(await filledDirectory());
    expect(value(await stores.registry.list()).map(({ name }) => name)).toEqual(['web-01']);
  });

  it('of a newer version is refused and left as it was, also by whoever has it open', async () => {
    const directory = await filledDirectory();
    const running = await openStores(directory);
    const raw = rawConnection(directory);
    raw.exec('PRAGMA user_version = 1000');
    const error = await refusal(directory);
    expect(error).toMatchObject({ code: 'store_failed', reason: 'newer_schema' });
    expect(error.message).toMatch(/state\.db: written by a newer ctrl-exec \(schema 1000.*upgrade ctrl-exec/);
    expect(failure(await running.registry.remove('web-01'))).toMatchObject({
      reason: 'newer_schema',
    });
    raw.exec('PRAGMA user_version = 1');
    expect(value(await running.registry.list())).toHaveLength(1);
  });

  it('of another program is refused and left as it was', async () => {
    const directory = temporaryDirectory();
    const raw = rawConnection(directory);
    raw.exec('CREATE TABLE theirs (a); PRAGMA journal_mode = DELETE');
    expect(await refusal(directory)).toMatchObject({ code: 'store_failed', reason: 'foreign_database' });
    expect(raw.prepare('SELECT name FROM sqlite_schema').all([])).toEqual([{ name: 'theirs' }]);
  });

  it('that is no database is refused', async () => {
    const directory = temporaryDirectory();
    writeFileSync(storeOptions(directory).path, 'what is this? '.repeat(1000));
    const error = await refusal(directory);
    expect(error).toMatchObject({ code: 'store_failed', operation: 'open', reason: 'SQLITE_NOTADB' });
    expect(error.message).toMatch(/state\.db: it is not an SQLite database/);
  });

  it('that is damaged is an error, not a crash', async () => {
    const directory = await filledDirectory();
    const raw = rawConnection(directory);
    raw.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    truncateSync(storeOptions(directory).path, 2 * 4096);
    const opened = await openSqliteStores(storeOptions(directory));
    const outcome = await opened.asyncAndThen((stores) => {
      onTestFinished(() => stores.close());
      return stores.registry.list();
    });
    expect(failure(outcome)).toMatchObject({ code: 'store_failed', reason: 'SQLITE_CORRUPT' });
  });

  it('that is a directory, or below a file, is refused', async () => {
    const directory = temporaryDirectory();
    mkdirSync(storeOptions(directory).path);
    expect(await refusal(directory)).toMatchObject({ code: 'store_failed', reason: 'SQLITE_CANTOPEN' });
    writeFileSync(join(directory, 'file'), '');
    for (const path of [join(directory, 'file'), join(directory, 'file', 'sub')]) {
      const below = await refusal(path);
      expect(below.code).toBe('store_failed');
      expect(below.message).toMatch(/state\.db: a part of its path is not a directory$/);
    }
  });

  it.each([
    ['an endpoint that is no JSON', `UPDATE agents SET endpoint = '{"host'`],
    ['an endpoint without a port', `UPDATE agents SET endpoint = '{"host":"h","ip":"i","lookupBy":"ip"}'`],
    ['a tag that is no text', `UPDATE agents SET tags = '{"a":1}'`],
    ['tags that are a list', `UPDATE agents SET tags = '[]'`],
    ['a pairing that does not exist', `UPDATE agents SET pairing = 'v9'`],
    ['a standing that is no JSON', `UPDATE agents SET standing = '{'`],
    ['a standing without serials', `UPDATE agents SET standing = '{"crlNumber":0}'`],
    ['a standing that a pin brings that is no standing', `UPDATE pins SET standing = '[]'`],
    ['an agent without a pin', 'DELETE FROM pins'],
  ])('with a damaged row is an error where the row is read: %s', async (_, statement) => {
    const directory = await filledDirectory();
    rawConnection(directory).exec(statement);
    const { registry } = await openStores(directory);
    for (const outcome of [await registry.list(), await registry.find('web-01')]) {
      expect(failure(outcome)).toMatchObject({ code: 'store_failed', reason: 'damaged_row' });
    }
  });

  it('that lost its count of revocations is an error where the count is read', async () => {
    const directory = await filledDirectory();
    rawConnection(directory).exec('DELETE FROM revocation_revision');
    const { revocations } = await openStores(directory);
    const entry = { serial: '1f', name: undefined, revokedAt: 0 };
    for (const outcome of [
      await revocations.current(),
      await revocations.revision(),
      await revocations.add([entry]),
    ]) {
      expect(failure(outcome)).toMatchObject({ code: 'store_failed', reason: 'damaged_row' });
    }
    expect(value(await revocations.has('1f'))).toBe(false);
  });

  it('that somebody else writes is not waited for to note a contact that says nothing new', async () => {
    const directory = await filledDirectory();
    const { registry } = await openStores(directory);
    const at = 1_700_000_000_000;
    value(await registry.note('web-01', { lastContact: at }));
    const raw = rawConnection(directory);
    raw.exec('BEGIN IMMEDIATE');
    expect((await registry.note('web-01', { lastContact: at + 30_000, trusts: ['d1'] })).isOk()).toBe(true);
    raw.exec('ROLLBACK');
  });

  it('that somebody else writes is waited for without an error', async () => {
    const directory = temporaryDirectory();
    const { registry } = await openStores(directory);
    const raw = rawConnection(directory);
    raw.exec('BEGIN IMMEDIATE');
    const pending = registry.enrol(enrolment('web-01'));
    expect(value(await registry.list())).toEqual([]);
    raw.exec('COMMIT');
    expect((await pending).isOk()).toBe(true);
  });

  it('that was closed answers with an error', async () => {
    const stores = await openStores();
    await stores.close();
    await stores.close();
    expect(failure(await stores.registry.list())).toMatchObject({
      code: 'store_failed',
      reason: 'closed',
    });
    expect(failure(await stores.mutex.acquire('pairing', 0))).toMatchObject({ reason: 'closed' });
    expect(failure(await stores.runStore.begin(runOn('h'), 0))).toMatchObject({ reason: 'closed' });
  });

  it('takes no text that would come back as another', async () => {
    const { registry, mutex, runStore } = await openStores();
    for (const name of ['web\0-01', 'web\ud800']) {
      const error = failure(await registry.enrol(enrolment(name)));
      expect(error).toMatchObject({ code: 'store_failed', reason: 'text_not_storable' });
      expect((await mutex.acquire(name, 0)).isErr()).toBe(true);
      expect((await runStore.begin(runOn('h', name), 0)).isErr()).toBe(true);
    }
    expect(value(await registry.list())).toEqual([]);
    expect(value(await runStore.locks(0))).toEqual([]);
    expect(value(await runStore.find('r'))).toBeUndefined();
  });
});

const system = (program: string, ...args: readonly string[]): void =>
  void execFileSync(program, args, { stdio: 'ignore' });
const mount = (directory: string, ...options: readonly string[]): void =>
  system('mount', ...options, directory);
const unmount = (directory: string): void => system('umount', '-l', directory);

const mayMount = ((): boolean => {
  const directory = mkdtempSync(join(tmpdir(), 'ctrl-exec-mount-'));
  try {
    mount(directory, '-t', 'tmpfs', 'tmpfs');
    unmount(directory);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(directory, { recursive: true });
  }
})();

const reason = mayMount ? '' : ' (skipped: this user may not mount a tmpfs)';

describe('a file system in trouble', () => {
  const mounted = (...options: readonly string[]): string => {
    const directory = temporaryDirectory();
    mount(directory, '-t', 'tmpfs', ...options, 'tmpfs');
    onTestFinished(() => unmount(directory));
    return directory;
  };

  it.skipIf(!mayMount)(`a full disk is said, and what was there stays usable${reason}`, async () => {
    const directory = mounted('-o', 'size=512k');
    const { registry, runStore } = await openStores(directory);
    value(await registry.enrol(enrolment('web-01')));
    value(await runStore.begin(runOn('h'), 0));
    const result = {
      ...{ host: 'h', script: 's', reqid: 'r', state: 'succeeded' as const },
      ...{ exit: 0, stdout: 'x'.repeat(600_000), stderr: '', rtt: 1, settledAt: 1 },
    };
    const error = failure(await runStore.settle('r', [result], 1));
    expect(error).toMatchObject({ code: 'store_failed', operation: 'run.settle', reason: 'SQLITE_FULL' });
    expect(error.message).toMatch(/state\.db: the disk is full; free some space$/);
    expect(value(await registry.list())).toHaveLength(1);
    const found = value(await runStore.find('r'));
    expect(found).toMatchObject({ completedAt: undefined, results: [{ state: 'running' }] });
  });

  it.skipIf(!mayMount)(`a read-only file system is said${reason}`, async () => {
    const directory = await filledDirectory();
    const view = temporaryDirectory();
    mount(view, '--bind', directory);
    onTestFinished(() => unmount(view));
    mount(view, '-o', 'remount,bind,ro');
    // Whether it opens at all depends on the side files that are there.
    const opened = await openSqliteStores(storeOptions(view));
    const outcome = await opened.asyncAndThen((stores) => {
      onTestFinished(() => stores.close());
      return stores.registry.remove('web-01');
    });
    const error = failure(outcome);
    expect(error.code).toBe('store_failed');
    expect(error.message).toMatch(/state\.db: .*expected a writable file|state\.db: .*readable and writable/);
    expect((await refusal(join(view, 'sub'))).message).toMatch(/state\.db: its (directory|file system) /);
  });
});
