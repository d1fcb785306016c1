import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { nodeDeploymentFiles } from '../../src/adapters/files/deploy/deployment-files.js';
import { asRoot } from '../support/as-root.js';
import { run } from '../support/deployment/server.js';
import { failure, value } from './result.js';

describe('directories of deployments', () => {
  const files = nodeDeploymentFiles();
  let directory: string;
  const at = (name: string) => join(directory, name);
  const file = (path: string, change: object = {}) => ({
    path,
    content: new TextEncoder().encode('new'),
    mode: 0o640,
    owner: undefined,
    group: undefined,
    ...change,
  });
  beforeEach(async () => {
    directory = await realpath(await mkdtemp(join(tmpdir(), 'ctrl-exec-trust-')));
    await mkdir(at('tls'));
    await writeFile(at('tls/key.pem'), 'old');
  });
  /** What has to be undone before the directory can be removed. */
  const undo: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const each of undo.splice(0)) await each();
    await rm(directory, { recursive: true, force: true });
  });
  const refusal = async (path: string) => {
    for (const outcome of [await files.look(path), await files.stage(file(path))])
      expect(failure(outcome).reason).toBe('EPERM');
    return failure(await files.look(path)).message;
  };

  it('a directory moved away and replaced by a link during a deployment changes nothing elsewhere', async () => {
    const held = files.hold();
    onTestFinished(held.release);
    const path = value(await held.look(at('tls/key.pem'))).path;
    const staged = value(await held.stage(file(path)));
    await rename(at('tls'), at('moved'));
    await mkdir(at('victim'));
    for (const name of ['key.pem', staged.temporary.slice(at('tls/').length)])
      await writeFile(at(`victim/${name}`), 'precious');
    await symlink('victim', at('tls'));
    value(await held.place(staged));
    value(await held.sync([path]));
    expect(await readFile(at('moved/key.pem'), 'utf8')).toBe('new');
    value(await held.remove(path));
    expect(await readdir(at('moved'))).toEqual([]);
    expect(await readFile(at('victim/key.pem'), 'utf8')).toBe('precious');
    expect(await readdir(at('victim'))).toHaveLength(2);
  });

  it('a directory that others may write, or above which they may, is refused with what heals it', async () => {
    for (const [name, mode] of [
      ['tls', 0o775],
      ['tls', 0o1777],
      ['.', 0o777],
    ] as const) {
      await chmod(at(name), mode);
      expect(await refusal(at('tls/key.pem'))).toMatch(/directory .* is writable by .*`chmod go-w .*`/);
      await chmod(at(name), 0o755);
    }
    expect(value(await files.look(at('tls/key.pem'))).state).toBeDefined();
    expect(await readdir(at('tls'))).toEqual(['key.pem']);
  });

  asRoot(
    'a directory of another user is refused, also behind a link, but a file of another user is not',
    async () => {
      await chown(at('tls/key.pem'), 65534, 65534);
      expect(value(await files.look(at('tls/key.pem'))).state).toMatchObject({ uid: 65534, gid: 65534 });
      await mkdir(at('theirs'));
      await writeFile(at('theirs/key.pem'), 'old');
      await chown(at('theirs'), 65534, 65534);
      await symlink('../theirs/key.pem', at('tls/linked.pem'));
      for (const path of [at('theirs/key.pem'), at('theirs/none.pem'), at('tls/linked.pem')])
        expect(failure(await files.look(path)).message).toContain(`\`chown root ${at('theirs')}\``);
    },
  );

  asRoot('one place has one name, also where its directory is mounted a second time', async () => {
    await mkdir(at('alias'));
    await run('mount', ['--bind', at('tls'), at('alias')]);
    undo.push(() => run('umount', [at('alias')]));
    const placeOf = async (path: string) => value(await files.identify(at(path)));
    expect(await placeOf('alias/key.pem')).toBe(await placeOf('tls/key.pem'));
    expect(await placeOf('tls/none.pem')).not.toBe(await placeOf('tls/key.pem'));
    expect(await placeOf('tls/none.pem')).toBe(await placeOf('alias/none.pem'));
  });

  it('a file of which the size is not known is read up to 1 MiB', async () => {
    const found = failure(await files.look('/proc/self/pagemap'));
    expect(found.reason).toBe('EFBIG');
  });

  asRoot('a mount point is refused before anything is written', async () => {
    await mountOver(at('tls/key.pem'));
    const error = failure(await files.stage(file(at('tls/key.pem'))));
    expect(error.reason).toBe('EBUSY');
    expect(await readdir(at('tls'))).toEqual(['key.pem']);
  });

  asRoot(
    'a mount point that may be written in place keeps its inode, and loses what was longer',
    async () => {
      await mountOver(at('tls/key.pem'));
      const before = await stat(at('tls/key.pem'));
      expect(value(await files.look(at('tls/key.pem'))).state).toMatchObject({ isMounted: true });
      const staged = value(await files.stage(file(at('tls/key.pem'), { inPlace: true, group: 1 })));
      expect(await readdir(at('tls'))).toEqual(['key.pem']);
      expect(await readFile(at('mounted'), 'utf8')).toBe('a longer old key');
      value(await files.place(staged));
      expect(await readFile(at('mounted'), 'utf8')).toBe('new');
      expect(await stat(at('tls/key.pem'))).toMatchObject({ ino: before.ino, mode: 0o100640, gid: 1 });
      await run('mount', ['-o', 'remount,bind,ro', at('tls/key.pem')]);
      expect(failure(await files.stage(file(at('tls/key.pem'), { inPlace: true }))).reason).toBe('EROFS');
    },
  );

  it('a file that is no mount point is replaced, also if it may be written in place', async () => {
    const before = await stat(at('tls/key.pem'));
    value(await files.place(value(await files.stage(file(at('tls/key.pem'), { inPlace: true })))));
    expect((await stat(at('tls/key.pem'))).ino).not.toBe(before.ino);
  });

  asRoot('an immutable file is told with what heals it', async () => {
    await run('chattr', ['+i', at('tls/key.pem')]);
    undo.push(() => run('chattr', ['-i', at('tls/key.pem')]));
    const staged = value(await files.stage(file(at('tls/key.pem'))));
    const error = failure(await files.place(staged));
    expect(error.message).toContain(`\`chattr -i ${at('tls/key.pem')}\``);
    value(await files.discard(staged));
    expect(await readdir(at('tls'))).toEqual(['key.pem']);
  });

  asRoot('an immutable directory, too', async () => {
    await run('chattr', ['+i', at('tls')]);
    undo.push(() => run('chattr', ['-i', at('tls')]));
    expect(failure(await files.stage(file(at('tls/key.pem')))).message).toContain('chattr -i');
  });

  async function mountOver(path: string): Promise<void> {
    await writeFile(at('mounted'), 'a longer old key');
    await run('mount', ['--bind', at('mounted'), path]);
    undo.push(() => run('umount', [path]));
  }
});
