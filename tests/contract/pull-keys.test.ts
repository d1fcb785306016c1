import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { filePullKeys } from '../../src/adapters/files/deploy/pull-keys.js';
import { asRoot } from '../support/as-root.js';
import { memoryPullKeys } from '../support/memory/pull-keys.js';
import { idOf, pullKeysContract } from './pull-keys.contract.js';
import { failure, value } from './result.js';

pullKeysContract('memory', async () => ({ keys: memoryPullKeys(), dispose: async () => undefined }));

const temporary = async () => {
  const directory = await mkdtemp(join(tmpdir(), 'pull-keys-'));
  return { directory, remove: () => rm(directory, { recursive: true, force: true }) };
};

pullKeysContract('files', async () => {
  const { directory, remove } = await temporary();
  return { keys: filePullKeys({ directory: join(directory, 'deep/keys') }), dispose: remove };
});

describe('keys of a pull agent in files', () => {
  const open = async () => {
    const { directory, remove } = await temporary();
    onTestFinished(remove);
    const place = join(directory, 'keys');
    return { directory, place, keys: filePullKeys({ directory: place }) };
  };
  const modeOf = async (path: string) => (await stat(path)).mode & 0o7777;

  it('a key is a file of its owner alone, in a directory of its owner alone', async () => {
    const { place, keys } = await open();
    for (const pem of ['one', 'two']) value(await keys.put(idOf('mc-1'), pem));
    const modes = ['', 'mc-1.key', 'former', 'former/mc-1.key'].map((name) => modeOf(join(place, name)));
    expect(await Promise.all(modes)).toEqual([0o700, 0o600, 0o700, 0o600]);
    expect((await readdir(place)).toSorted()).toEqual(['former', 'mc-1.key']);
  });

  it('a directory that others may read is closed, and that it was is told', async () => {
    const { place, keys } = await open();
    await mkdir(place);
    await chmod(place, 0o755);
    expect(value(await keys.prepare())).toEqual({ tightenedFrom: 0o755 });
    expect(await modeOf(place)).toBe(0o700);
    await chmod(join(place, 'former'), 0o755);
    value(await keys.prepare());
    expect(await modeOf(join(place, 'former'))).toBe(0o700);
  });

  const refused = async (keys: ReturnType<typeof filePullKeys>) => {
    const { code, message } = failure(await keys.prepare());
    expect(code).toBe('file_failed');
    return message;
  };

  it('a directory that others may write is refused with what heals it, and nothing is put into it', async () => {
    const { place, keys } = await open();
    await mkdir(place);
    for (const mode of [0o777, 0o1777, 0o770]) {
      await chmod(place, mode);
      expect(await refused(keys)).toMatch(/look at it first; then `chmod go-w .*keys`/);
      expect((await keys.put(idOf('mc-1'), 'one')).isErr()).toBe(true);
    }
    expect(await readdir(place)).toEqual([]);
  });

  it('a directory above it that others may write is refused', async () => {
    const { directory, keys } = await open();
    await chmod(directory, 0o777);
    expect(await refused(keys)).toContain(`directory ${directory} is writable by everybody`);
  });

  it('former keys are neither written nor read behind a link', async () => {
    const { directory, place, keys } = await open();
    await mkdir(join(directory, 'elsewhere'));
    await writeFile(join(directory, 'elsewhere/mc-1.key'), 'planted');
    await mkdir(place, { mode: 0o700 });
    await symlink('../elsewhere', join(place, 'former'));
    expect(await refused(keys)).toContain(`rm ${place}/former`);
    await writeFile(join(place, 'mc-1.key'), 'secret', { mode: 0o600 });
    expect(failure(await keys.load(idOf('mc-1'))).reason).toBe('ELOOP');
    expect((await keys.put(idOf('mc-1'), 'one')).isErr()).toBe(true);
    expect(await readdir(join(directory, 'elsewhere'))).toEqual(['mc-1.key']);
  });

  it('what others can write below it is refused, however deep, and so is a link', async () => {
    const { place, keys } = await open();
    value(await keys.prepare());
    await mkdir(join(place, 'deployments/x-1/00000001-1'), { recursive: true, mode: 0o700 });
    const planted = join(place, 'deployments/x-1/00000001-1/pending.json');
    await writeFile(planted, '{}');
    await chmod(planted, 0o666);
    expect(await refused(keys)).toContain(`chmod go-w ${planted}`);
    await rm(planted);
    await symlink('/etc', planted);
    expect(await refused(keys)).toContain(`rm ${planted}`);
    await rm(planted);
    value(await keys.prepare());
  });

  asRoot('what belongs to another user is refused: the directory, a directory in it, and a key', async () => {
    const { place, keys } = await open();
    value(await keys.put(idOf('mc-1'), 'one'));
    value(await keys.prepare());
    for (const name of ['mc-1.key', 'former', '']) {
      await chown(join(place, name), 65534, 65534);
      expect(await refused(keys)).toContain(`belongs to uid 65534, expected root`);
      if (name !== 'former') expect((await keys.load(idOf('mc-1'))).isErr()).toBe(true);
      await chown(join(place, name), 0, 0);
    }
    value(await keys.prepare());
  });

  asRoot('a key is not written over a file of another user, who would go on owning it', async () => {
    const { place, keys } = await open();
    value(await keys.put(idOf('mc-1'), 'one'));
    await writeFile(join(place, 'former/mc-1.key'), 'planted');
    await chown(join(place, 'former/mc-1.key'), 65534, 65534);
    expect(failure(await keys.put(idOf('mc-1'), 'two')).message).toContain('belongs to uid 65534');
    expect(await readFile(join(place, 'former/mc-1.key'), 'utf8')).toBe('planted');
    expect(value(await keys.load(idOf('mc-2')))).toEqual({ present: undefined, former: undefined });
  });

  it('keys of the Go agent are found, and replaced with 0600', async () => {
    const { place, keys } = await open();
    await mkdir(place, { mode: 0o700 });
    await writeFile(join(place, 'mc-1.key'), 'theirs', { mode: 0o644 });
    expect(value(await keys.load(idOf('mc-1'))).present).toBe('theirs');
    value(await keys.put(idOf('mc-1'), 'ours'));
    expect(await modeOf(join(place, 'mc-1.key'))).toBe(0o600);
    expect(await modeOf(join(place, 'former/mc-1.key'))).toBe(0o600);
  });

  it('a link in the place of a key is neither read nor written through', async () => {
    const { directory, place, keys } = await open();
    await mkdir(place, { mode: 0o700 });
    const elsewhere = join(directory, 'elsewhere');
    await writeFile(elsewhere, 'not theirs');
    await symlink(elsewhere, join(place, 'mc-1.key'));
    expect(failure(await keys.load(idOf('mc-1')))).toMatchObject({ reason: 'ELOOP' });
    expect((await keys.put(idOf('mc-1'), 'ours')).isErr()).toBe(true);
    expect(await readdir(join(place, 'former'))).toEqual([]);
  });

  it('what is no file or too large is an error that names it', async () => {
    const { place, keys } = await open();
    await mkdir(join(place, 'mc-1.key'), { recursive: true, mode: 0o700 });
    expect(failure(await keys.load(idOf('mc-1'))).message).toContain('mc-1.key');
    await writeFile(join(place, 'mc-2.key'), 'x'.repeat(70_000));
    expect(failure(await keys.load(idOf('mc-2'))).reason).toBe('EFBIG');
  });

  it('a file in the place of the directory is an error', async () => {
    const { place, keys } = await open();
    await writeFile(place, '');
    expect(failure(await keys.prepare())).toMatchObject({ code: 'file_failed' });
  });
});
