import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fileKeyStore } from '../../../../../src/adapters/files/identity/key-store.js';
import type { KeyStore, KeyStoreItem } from '../../../../../src/ports/key-store.js';
import { failure, value } from '../../../../contract/result.js';
import {
  canMount,
  compileAdapter,
  mountTiny,
  pathsIn,
  remountReadOnly,
  temporaryDirectory,
  unmount,
} from './key-store-fixture.js';

const mountable = canMount();
const isRoot = process.geteuid?.() === 0;
const PAIR = { 'agent-key': 'K1', 'agent-certificate': 'C1', 'trusted-dispatchers': 'T1' };
const NEXT = { 'agent-key': 'K2', 'agent-certificate': 'C2', 'trusted-dispatchers': 'T2' };
const ITEMS = ['agent-key', 'agent-certificate', 'trusted-dispatchers'] as const;

describe('key store on disk', () => {
  let home: string;
  let options: ReturnType<typeof pathsIn>;
  let store: KeyStore;
  const mounted: string[] = [];
  beforeEach(() => {
    home = temporaryDirectory();
    options = pathsIn(home);
    store = fileKeyStore(options);
  });
  afterEach(() => {
    for (const directory of mounted.splice(0).reverse()) unmount(directory);
    rmSync(home, { recursive: true });
  });

  const modeOf = (path: string) => lstatSync(path).mode & 0o7777;
  const key = () => options.paths['agent-key'];
  const read = async () => value(await store.read(ITEMS));
  const names = (directory: string) => readdirSync(join(home, directory)).sort();
  const leaveJournal = (items: Record<string, string | null>) =>
    writeFileSync(options.journal, JSON.stringify({ format: 1, items }), { mode: 0o600 });
  const mount = (directory: string) => {
    mkdirSync(join(home, directory), { recursive: true });
    mountTiny(join(home, directory));
    mounted.push(join(home, directory));
  };

  it('reading makes no directory and no file', async () => {
    expect(await read()).toEqual({
      'agent-key': undefined,
      'agent-certificate': undefined,
      'trusted-dispatchers': undefined,
    });
    expect(readdirSync(home)).toEqual([]);
  });

  it('directories are made for their owner only; keys are 0600, the rest 0644, under any umask', async () => {
    for (const mask of [0o000, 0o077, 0o022]) {
      const before = process.umask(mask);
      try {
        expect((await store.replace(PAIR)).isOk()).toBe(true);
      } finally {
        process.umask(before);
      }
      expect(modeOf(join(home, 'config'))).toBe(0o700);
      expect(modeOf(join(home, 'state'))).toBe(0o700);
      expect(modeOf(key())).toBe(0o600);
      expect(modeOf(options.paths['agent-certificate'])).toBe(0o644);
      expect(modeOf(options.paths['trusted-dispatchers'])).toBe(0o644);
      rmSync(join(home, 'config'), { recursive: true });
    }
  });

  it('only what was written is left: no journal, lock or temporary file', async () => {
    await store.replace(PAIR);
    await store.replace(NEXT);
    expect(names('config')).toEqual(['agent.crt', 'agent.key']);
    expect(names('state')).toEqual(['dispatchers']);
    expect(readFileSync(key(), 'utf8')).toBe('K2');
  });

  it.each([0o640, 0o604, 0o644, 0o610, 0o677])(
    'a key of mode %o is not read, and replacing it makes it 0600',
    async (mode) => {
      await store.replace(PAIR);
      chmodSync(key(), mode);
      const error = failure(await store.read(ITEMS));
      const reason = `key file is accessible by others (mode 0${mode.toString(8)}): chmod 600`;
      expect(error).toMatchObject({ code: 'file_failed', path: key(), operation: 'read', reason });
      expect(error.message).toBe(`cannot read ${key()}: ${reason}`);
      expect((await store.read(['agent-certificate'])).isOk()).toBe(true);
      expect((await store.replace(NEXT)).isOk()).toBe(true);
      expect(modeOf(key())).toBe(0o600);
      expect((await read())['agent-key']).toBe('K2');
    },
  );

  it('a key that is a symbolic link is not read, and replacing it leaves what it points to', async () => {
    await store.replace(PAIR);
    const elsewhere = join(home, 'elsewhere');
    writeFileSync(elsewhere, 'precious', { mode: 0o600 });
    rmSync(key());
    symlinkSync(elsewhere, key());
    expect(failure(await store.read(['agent-key']))).toMatchObject({
      path: key(),
      reason: 'key file is a symbolic link: expected a regular file of mode 0600',
    });
    expect((await store.replace(NEXT)).isOk()).toBe(true);
    expect(readFileSync(elsewhere, 'utf8')).toBe('precious');
    expect(lstatSync(key()).isFile()).toBe(true);
  });

  it('every key is 0600, everything else 0644', async () => {
    const items = Object.keys(options.paths) as KeyStoreItem[];
    await store.replace(Object.fromEntries(items.map((item) => [item, item])));
    const modes = items.map((item) => [item, modeOf(options.paths[item])]);
    expect(modes).toEqual(items.map((item) => [item, item.endsWith('-key') ? 0o600 : 0o644]));
    expect(modes.filter(([, mode]) => mode === 0o600)).toHaveLength(7);
  });

  it('a removal makes no directory, and removes a link, not what it points to', async () => {
    await store.replace({ rotation: '{}' });
    expect((await store.replace({ 'ca-previous-key': null, 'ca-certificate': null })).isOk()).toBe(true);
    expect((await store.replace({ 'ca-previous-key': null, rotation: '{"n":1}' })).isOk()).toBe(true);
    expect(readdirSync(home)).toEqual(['state']);
    await store.replace(PAIR);
    const link = options.paths['pairing-certificate'];
    symlinkSync(key(), link);
    expect((await store.replace({ 'pairing-certificate': null })).isOk()).toBe(true);
    expect(existsSync(link)).toBe(false);
    expect(readFileSync(key(), 'utf8')).toBe('K1');
  });

  it('a directory in the place of what is to be removed fails, and nothing changes', async () => {
    await store.replace(PAIR);
    mkdirSync(options.paths['ca-key']);
    for (const change of [{ 'ca-key': null }, { 'agent-key': 'K2', 'ca-key': null }]) {
      expect(failure(await store.replace(change))).toMatchObject({
        path: options.paths['ca-key'],
        reason: 'EISDIR',
      });
    }
    expect(await read()).toEqual(PAIR);
    expect(names('state')).toEqual(['dispatchers']);
  });

  it('a certificate may be a link', async () => {
    await store.replace(PAIR);
    rmSync(options.paths['agent-certificate']);
    symlinkSync(options.paths['trusted-dispatchers'], options.paths['agent-certificate']);
    expect(value(await store.read(['agent-certificate']))).toEqual({ 'agent-certificate': 'T1' });
  });

  it('a directory or a pipe in the place of an item fails at once, and nothing is written', async () => {
    await store.replace(PAIR);
    rmSync(options.paths['trusted-dispatchers']);
    mkdirSync(options.paths['trusted-dispatchers']);
    expect(failure(await store.read(ITEMS)).reason).toBe('EISDIR');
    expect(failure(await store.replace(NEXT))).toMatchObject({
      path: options.paths['trusted-dispatchers'],
      reason: 'EISDIR',
    });
    expect(failure(await store.checkWritable(['trusted-dispatchers']))).toMatchObject({
      reason: 'EISDIR',
    });
    rmSync(options.paths['trusted-dispatchers'], { recursive: true });
    execFileSync('mkfifo', [options.paths['trusted-dispatchers']]);
    expect(failure(await store.read(ITEMS)).reason).toBe('EINVAL');
    expect(failure(await store.replace(NEXT))).toMatchObject({ reason: 'EINVAL' });
    expect(readFileSync(key(), 'utf8')).toBe('K1');
    expect(names('state')).toEqual(['dispatchers']);
  });

  it('checkWritable leaves nothing behind, not even a directory', async () => {
    expect((await store.checkWritable(ITEMS)).isOk()).toBe(true);
    expect(readdirSync(home)).toEqual([]);
    writeFileSync(join(home, 'config'), 'a file');
    expect(failure(await store.checkWritable(ITEMS))).toMatchObject({
      path: join(home, 'config'),
    });
    expect(readdirSync(home)).toEqual(['config']);
  });

  describe('with the journal of a crashed process', () => {
    beforeEach(async () => {
      await store.replace(PAIR);
      leaveJournal({ 'agent-key': 'K2', 'agent-certificate': 'C2', 'trusted-dispatchers': 'T2' });
    });

    it('reading completes the change', async () => {
      expect(value(await store.read(['trusted-dispatchers']))).toEqual({
        'trusted-dispatchers': 'T2',
      });
      expect(readFileSync(key(), 'utf8')).toBe('K2');
      expect(modeOf(key())).toBe(0o600);
      expect(names('state')).toEqual(['dispatchers']);
    });

    it('replace completes it first', async () => {
      await store.replace({ 'agent-certificate': 'C3' });
      expect(await read()).toEqual({
        'agent-key': 'K2',
        'agent-certificate': 'C3',
        'trusted-dispatchers': 'T2',
      });
    });

    it('what it removes is removed, by reading and by writing', async () => {
      leaveJournal({ 'agent-key': null, 'agent-certificate': 'C2', 'ca-previous-key': null });
      expect(await read()).toEqual({
        'agent-key': undefined,
        'agent-certificate': 'C2',
        'trusted-dispatchers': 'T1',
      });
      expect(names('config')).toEqual(['agent.crt']);
      leaveJournal({ 'agent-certificate': null });
      await store.replace({ 'agent-key': 'K3' });
      expect(names('config')).toEqual(['agent.key']);
      expect(names('state')).toEqual(['dispatchers']);
    });

    it('onlyIfAbsent sees what it will have written', async () => {
      leaveJournal({ 'ca-key': 'CA' });
      const error = failure(await store.replace({ 'ca-key': 'other' }, { onlyIfAbsent: true }));
      expect(error.code).toBe('identity_exists');
      expect(value(await store.read(['ca-key']))).toEqual({ 'ca-key': 'CA' });
    });

    it('a damaged one is an error that names it, and is kept', async () => {
      for (const text of [
        '',
        '{',
        '[]',
        'null',
        '{"format":2,"items":{}}',
        '{"format":1,"items":{"passwd":"x"}}',
        '{"format":1,"items":{"ca-key":1}}',
      ]) {
        writeFileSync(options.journal, text);
        const readError = failure(await store.read(ITEMS));
        expect(readError, text).toMatchObject({ path: options.journal, reason: 'EBADMSG' });
        expect(failure(await store.replace(NEXT)), text).toMatchObject({ reason: 'EBADMSG' });
        expect(readFileSync(options.journal, 'utf8')).toBe(text);
      }
      expect(readFileSync(key(), 'utf8')).toBe('K1');
    });

    it.skipIf(!mountable)(
      'a read-only disk: the committed state is read without writing (needs mount)',
      async () => {
        rmSync(home, { recursive: true });
        mkdirSync(home);
        mount('.');
        await store.replace(PAIR);
        leaveJournal({ 'agent-key': 'K2', 'trusted-dispatchers': null });
        remountReadOnly(home);
        expect(await read()).toEqual({
          'agent-key': 'K2',
          'agent-certificate': 'C1',
          'trusted-dispatchers': undefined,
        });
      },
    );
  });

  it.skipIf(!mountable)('a read-only disk: reading works, writing is EROFS (needs mount)', async () => {
    mount('config');
    await store.replace(PAIR);
    remountReadOnly(join(home, 'config'));
    expect(await read()).toEqual(PAIR);
    for (const result of [
      await store.replace(NEXT),
      await store.replace({ 'agent-key': 'K2' }),
      await store.checkWritable(['agent-key']),
    ]) {
      expect(failure(result)).toMatchObject({
        code: 'file_failed',
        operation: 'write',
        path: key(),
        reason: 'EROFS',
      });
    }
    expect(await read()).toEqual(PAIR);
    expect(names('state')).toEqual(['dispatchers']);
  });

  it.skipIf(!mountable).each(['config', 'state'])(
    'a full disk under %s: ENOSPC, the old state intact, nothing left, and space heals it (needs mount)',
    async (directory) => {
      mount(directory);
      await store.replace(PAIR);
      const ballast = join(home, directory, 'ballast');
      expect(() => writeFileSync(ballast, Buffer.alloc(100_000))).toThrow('ENOSPC');
      const before = [names('config'), names('state')];
      for (const result of [await store.replace(NEXT), await store.checkWritable(ITEMS)]) {
        expect(failure(result)).toMatchObject({ code: 'file_failed', reason: 'ENOSPC' });
      }
      expect(await read()).toEqual(PAIR);
      expect([names('config'), names('state')]).toEqual(before);
      rmSync(ballast);
      expect((await store.replace(NEXT)).isOk()).toBe(true);
      expect(await read()).toEqual(NEXT);
    },
  );

  it.skipIf(!mountable)(
    'an item that cannot be moved into its place takes the whole change back (needs mount)',
    async () => {
      await store.replace(PAIR);
      const pinned = options.paths['trusted-dispatchers'];
      execFileSync('mount', ['--bind', pinned, pinned]);
      mounted.push(pinned);
      expect(failure(await store.replace({ 'ca-key': 'NEW', ...NEXT }))).toMatchObject({
        path: pinned,
        reason: 'EBUSY',
      });
      expect(readFileSync(key(), 'utf8')).toBe('K1');
      expect(existsSync(options.paths['ca-key'])).toBe(false);
      expect(names('config')).toEqual(['agent.crt', 'agent.key']);
      expect(names('state')).toEqual(['dispatchers']);
      expect(await read()).toEqual(PAIR);
      expect(failure(await store.replace({ 'trusted-dispatchers': 'T9' }))).toMatchObject({
        reason: 'EBUSY',
      });
      expect(names('state')).toEqual(['dispatchers']);
    },
  );

  it.skipIf(!isRoot)(
    'a user who may only read: certificates yes, keys EACCES, writing EACCES (needs root to become one)',
    async () => {
      await store.replace(PAIR);
      const { plain } = compileAdapter(join(home, 'built'));
      for (const directory of ['.', 'config', 'state', 'built']) chmodSync(join(home, directory), 0o755);
      const script = `
      const { fileKeyStore } = await import(${JSON.stringify(plain)});
      const store = fileKeyStore(${JSON.stringify(options)});
      const results = [
        await store.read(['agent-certificate', 'trusted-dispatchers']),
        await store.read(['agent-key']),
        await store.replace({ 'agent-certificate': 'X' }),
        await store.checkWritable(['agent-certificate']),
      ];
      console.log(JSON.stringify(results.map((result) => (result.isOk() ? result.value : result.error.reason))));
    `;
      const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
        uid: 65534,
        gid: 65534,
      });
      expect(JSON.parse(String(output))).toEqual([
        { 'agent-certificate': 'C1', 'trusted-dispatchers': 'T1' },
        'EACCES',
        'EACCES',
        'EACCES',
      ]);
      expect(names('state')).toEqual(['dispatchers']);
    },
  );
});
