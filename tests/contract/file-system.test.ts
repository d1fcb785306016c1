import { chmod, mkdir, mkdtemp, readdir, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'vitest';
import { nodeFileSystem } from '../../src/adapters/files/file-system.js';
import { memoryFileSystem } from '../../src/adapters/memory/file-system.js';
import { fileSystemContract } from './file-system.contract.js';

fileSystemContract('memory', async (initial) => {
  const files = memoryFileSystem();
  for (const [path, { text, mode }] of Object.entries(initial)) {
    files.files.set(`/etc/example/${path}`, { bytes: new TextEncoder().encode(text), mode });
  }
  return {
    files,
    directory: '/etc/example',
    modeOf: async (path) => files.files.get(path)?.mode ?? -1,
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
    dispose: async () => {
      const names = await readdir(directory, { recursive: true });
      await rm(directory, { recursive: true });
      expect(names.filter((name) => name.includes('.tmp-'))).toEqual([]);
    },
  };
});
