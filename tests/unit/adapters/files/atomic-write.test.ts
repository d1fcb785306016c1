import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { replaceFile, stage } from '../../../../src/adapters/files/atomic-write.js';
import { nodeFileSystem } from '../../../../src/adapters/files/file-system.js';
import { ownerToken } from '../../../../src/adapters/shared/temporary.js';
import { failure, value } from '../../../contract/result.js';
import {
  canMount,
  mountTiny,
  remountReadOnly,
  temporaryDirectory,
  unmount,
} from './identity/key-store-fixture.js';

const mountable = canMount();
const isRoot = process.geteuid?.() === 0;
const bytes = (text: string) => new TextEncoder().encode(text);

describe('atomic write', () => {
  let directory: string;
  let mounted = false;
  const at = (name: string) => join(directory, name);
  beforeEach(() => {
    directory = temporaryDirectory();
  });
  afterEach(() => {
    if (mounted) unmount(directory);
    mounted = false;
    rmSync(directory, { recursive: true });
  });
  const mount = () => {
    mountTiny(directory);
    mounted = true;
  };

  it('the temporary file lies beside its target, is recognisable, and has the wanted mode whatever the umask', async () => {
    for (const mask of [0o000, 0o777, 0o022]) {
      const before = process.umask(mask);
      const staged = await stage(at('agent.key'), bytes('secret'), 0o640);
      process.umask(before);
      const { temporary } = value(staged);
      expect(temporary.startsWith(at('.agent.key.tmp-'))).toBe(true);
      expect(statSync(temporary).mode & 0o7777).toBe(0o640);
    }
  });

  it('a name as long as a name may be can be replaced', async () => {
    const path = at('ü'.repeat(127));
    expect((await replaceFile(path, bytes('x'), 0o600)).isOk()).toBe(true);
    expect(readdirSync(directory)).toEqual(['ü'.repeat(127)]);
  });

  it('another name of the old file keeps the old content', async () => {
    writeFileSync(at('conf'), 'old');
    linkSync(at('conf'), at('other'));
    await replaceFile(at('conf'), bytes('new'), 0o600);
    expect([readFileSync(at('conf'), 'utf8'), readFileSync(at('other'), 'utf8')]).toEqual(['new', 'old']);
  });

  it('leftovers of dead processes go with the next write; of living ones, strangers and look-alikes stay', async () => {
    const child = spawn(process.execPath, ['-e', '']);
    await once(child, 'close');
    const [, started, boot, namespace, random] = ownerToken().split('-');
    const stranger = `.conf.tmp-${child.pid}-${started}-${boot}-1-${random}`;
    const old = `.old.tmp-${child.pid}-${started}-${boot}-1-${random}`;
    const dead = `.other.tmp-${child.pid}-${started}-${boot}-${namespace}-${random}`;
    const lives = `.conf.tmp-${ownerToken()}`;
    for (const name of [stranger, old, dead, lives, '.conf.tmp-1', '.conf.tmp-mine', 'conf.tmp'])
      writeFileSync(at(name), '');
    const lock = `.lock.tmp-${child.pid}-${started}-${boot}-${namespace}-${random}`;
    mkdirSync(at(lock));
    writeFileSync(at(`${lock}/${lock.slice('.lock.tmp-'.length)}`), '');
    utimesSync(at(old), new Date(), new Date(Date.now() - 25 * 3600 * 1000));
    expect((await replaceFile(at('conf'), bytes('x'), 0o600)).isOk()).toBe(true);
    expect(readdirSync(directory).sort()).toEqual(
      [stranger, lives, '.conf.tmp-1', '.conf.tmp-mine', 'conf', 'conf.tmp'].sort(),
    );
  });

  it('a target that is a directory is EISDIR and no temporary file stays', async () => {
    mkdirSync(at('conf'));
    expect(failure(await replaceFile(at('conf'), bytes('x'), 0o600)).reason).toBe('EISDIR');
    expect(readdirSync(directory)).toEqual(['conf']);
  });

  it.skipIf(!mountable)(
    'a full disk is ENOSPC, the old file intact, no temporary file (needs mount)',
    async () => {
      mount();
      writeFileSync(at('conf'), 'old');
      const error = failure(await nodeFileSystem().replace(at('conf'), 'x'.repeat(100_000), 0o600));
      expect(error).toMatchObject({
        code: 'file_failed',
        path: at('conf'),
        operation: 'write',
        reason: 'ENOSPC',
      });
      expect(error.message).toBe(`cannot write ${at('conf')}: no space left on device (ENOSPC)`);
      expect(readdirSync(directory)).toEqual(['conf']);
      expect(readFileSync(at('conf'), 'utf8')).toBe('old');
    },
  );

  it.skipIf(!mountable)('a read-only disk is EROFS (needs mount)', async () => {
    mount();
    writeFileSync(at('conf'), 'old');
    remountReadOnly(directory);
    expect(failure(await nodeFileSystem().replace(at('conf'), 'new', 0o600))).toMatchObject({
      path: at('conf'),
      reason: 'EROFS',
    });
    expect(readFileSync(at('conf'), 'utf8')).toBe('old');
  });

  it('the file system follows links: the file that is meant is replaced, the link stays', async () => {
    mkdirSync(at('real'));
    writeFileSync(at('real/conf'), 'old');
    chmodSync(at('real/conf'), 0o604);
    symlinkSync('real/conf', at('conf'));
    expect((await nodeFileSystem().replace(at('conf'), 'new', 0o600)).isOk()).toBe(true);
    expect(readlinkSync(at('conf'))).toBe('real/conf');
    expect(readFileSync(at('real/conf'), 'utf8')).toBe('new');
    expect(statSync(at('real/conf')).mode & 0o777).toBe(0o604);
    expect(value(await nodeFileSystem().realPath(at('conf')))).toBe(at('real/conf'));
  });

  it('devices and pipes are neither read nor replaced', async () => {
    const files = nodeFileSystem();
    expect(failure(await files.read('/dev/null', 10)).reason).toBe('EINVAL');
    expect(failure(await files.read('/dev/zero', 10)).reason).toBe('EINVAL');
    expect(failure(await files.replace('/dev/null', 'x', 0o600)).reason).toBe('EINVAL');
    expect(lstatSync('/dev/null').isCharacterDevice()).toBe(true);
    expect(value(await files.isExecutable('/dev/null'))).toBe(false);
  });

  it.skipIf(!existsSync('/proc/self/status'))(
    'a file that claims to be empty is read whole, and limited (needs /proc)',
    async () => {
      const text = value(await nodeFileSystem().readText('/proc/self/status', 100_000));
      expect(text).toContain('Name:');
      expect(failure(await nodeFileSystem().read('/proc/self/status', 10)).reason).toBe('EFBIG');
    },
  );

  it('a path with a zero byte is an error, not a throw', async () => {
    const files = nodeFileSystem();
    expect((await files.read('a\0b', 10)).isErr()).toBe(true);
    expect((await files.replace('a\0b', 'x', 0o600)).isErr()).toBe(true);
  });

  it.skipIf(!isRoot)('root leaves a file to its owner (needs root)', async () => {
    writeFileSync(at('conf'), 'old');
    chownSync(at('conf'), 65534, 65533);
    expect((await nodeFileSystem().replace(at('conf'), 'new', 0o600)).isOk()).toBe(true);
    expect(statSync(at('conf'))).toMatchObject({ uid: 65534, gid: 65533 });
    expect(readFileSync(at('conf'), 'utf8')).toBe('new');
  });
});
