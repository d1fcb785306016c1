import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { followPath } from '../../../../src/adapters/files/followed-path.js';
import { temporaryDirectory } from './identity/key-store-fixture.js';

const isRoot = process.geteuid?.() === 0;
const nobody = 65534;

describe('a followed path', () => {
  let home: string;
  beforeEach(() => {
    home = temporaryDirectory();
    mkdirSync(join(home, 'etc'));
    writeFileSync(join(home, 'etc/file'), 'content');
  });
  afterEach(() => rm(home, { recursive: true }));

  const faultsOf = (path: string) => {
    const followed = followPath(path);
    followed.close();
    return followed.faults.map(({ path: at }) => at.replace(home, ''));
  };

  it('opens what is there, by links relative and absolute, and by ".."', () => {
    symlinkSync('etc', join(home, 'relative'));
    symlinkSync(join(home, 'relative/../etc/./file'), join(home, 'absolute'));
    const followed = followPath(join(home, 'absolute'));
    try {
      expect(followed.path).toBe(join(home, 'etc/file'));
      expect(followed.stats.isFile()).toBe(true);
      expect(readFileSync(followed.reference, 'utf8')).toBe('content');
      expect(followed.faults).toEqual([]);
    } finally {
      followed.close();
    }
  });

  it('holds what was judged, also when the name leads elsewhere afterwards', () => {
    const directory = followPath(join(home, 'etc'));
    try {
      renameSync(join(home, 'etc'), join(home, 'away'));
      mkdirSync(join(home, 'etc'));
      writeFileSync(`${directory.reference}/new`, '');
      expect(readdirSync(join(home, 'away')).sort()).toEqual(['file', 'new']);
    } finally {
      directory.close();
    }
  });

  it('fails with the code of the system', () => {
    symlinkSync('loop', join(home, 'loop'));
    const codeOf = (path: string) => {
      try {
        followPath(join(home, path)).close();
        return 'none';
      } catch (thrown) {
        return (thrown as NodeJS.ErrnoException).code;
      }
    };
    expect(codeOf('none')).toBe('ENOENT');
    expect(codeOf('etc/file/x')).toBe('ENOTDIR');
    expect(codeOf('loop')).toBe('ELOOP');
  });

  it('leaves no descriptor open, whether it succeeds or fails', () => {
    const open = () => readdirSync('/proc/self/fd').length;
    symlinkSync('loop', join(home, 'loop'));
    const before = open();
    for (const path of ['etc/file', 'none', 'loop', 'etc/file/x'])
      try {
        followPath(join(home, path)).close();
      } catch {
        // Each has its test above.
      }
    expect(open()).toBe(before);
  });

  it('names the file and each directory that a group or everybody can write', () => {
    chmodSync(join(home, 'etc'), 0o775);
    chmodSync(join(home, 'etc/file'), 0o666);
    expect(faultsOf(join(home, 'etc/file'))).toEqual(['/etc', '/etc/file']);
  });

  it('judges the directories that a link leads through', () => {
    mkdirSync(join(home, 'open'));
    chmodSync(join(home, 'open'), 0o777);
    symlinkSync('../etc/file', join(home, 'open/link'));
    symlinkSync('open/link', join(home, 'link'));
    expect(faultsOf(join(home, 'link'))).toEqual(['/open']);
  });

  it.skipIf(!isRoot)('judges links and files by their owner (needs root)', () => {
    symlinkSync('etc/file', join(home, 'link'));
    lchownSync(join(home, 'link'), nobody, nobody);
    expect(faultsOf(join(home, 'link'))).toEqual(['/link']);
    chownSync(join(home, 'etc/file'), nobody, nobody);
    expect(faultsOf(join(home, 'link'))).toEqual(['/link', '/etc/file']);
  });
});
