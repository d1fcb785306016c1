import {
  chmod,
  chown,
  link as hardLink,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  realpath,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { nodeFileSystem } from '../../src/adapters/files/file-system.js';
import { memoryFileSystem } from '../../src/adapters/memory/file-system.js';
import { fileSystemContract } from './file-system.contract.js';
import { failure, value } from './result.js';

fileSystemContract('memory', async (initial) => {
  const files = memoryFileSystem();
  for (const [path, { text, mode }] of Object.entries(initial)) {
    files.files.set(`/etc/example/${path}`, { bytes: new TextEncoder().encode(text), mode });
  }
  return {
    files,
    directory: '/etc/example',
    modeOf: async (path) => files.files.get(path)?.mode ?? -1,
    give: async (path, uid) => {
      const file = files.files.get(path);
      if (file) files.files.set(path, { ...file, uid });
    },
    dispose: async () => undefined,
  };
});

fileSystemContract('files', async (initial) => {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'file-system-')));
  for (const [path, { text, mode }] of Object.entries(initial)) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), text);
    await chmod(join(directory, path), mode);
  }
  return {
    files: nodeFileSystem(),
    directory,
    modeOf: async (path) => (await stat(path)).mode & 0o7777,
    give: (path, uid) => chown(path, uid, uid),
    dispose: async () => {
      const names = await readdir(directory, { recursive: true });
      await rm(directory, { recursive: true });
      expect(names.filter((name) => name.includes('.tmp-'))).toEqual([]);
    },
  };
});

it('a link is nobody to take over, and what was open before has no part in the file that takes its place', async () => {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'file-system-')));
  const [path, link, other] = ['file', 'link', 'other'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  try {
    await writeFile(path, 'content', { mode: 0o644 });
    await chmod(path, 0o4775);
    await symlink(path, link);
    await hardLink(path, other);
    const files = nodeFileSystem();
    expect(failure(await files.takeOwnership(link)).reason).toBe('ELOOP');
    const opened = await open(path, 'r+');
    value(await files.takeOwnership(path));
    await opened.write('changed');
    await opened.close();
    expect([await readFile(path, 'utf8'), await readFile(other, 'utf8')]).toEqual(['content', 'changed']);
    expect((await stat(path)).mode & 0o7777).toBe(0o755);
  } finally {
    await rm(directory, { recursive: true });
  }
});
