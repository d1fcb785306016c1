import { constants } from 'node:fs';
import { access, open, readdir, realpath, stat } from 'node:fs/promises';
import type { FileSystem } from '../../ports/file-system.js';
import { ensureDirectory, replaceFile } from './atomic-write.js';
import { readUpTo, requireRegular, systemError } from './regular-file.js';
import { attempt, codeOf, unless } from './system-failure.js';

/**
 * The file system of this host. Links are followed, also by `replace`: it replaces what the link points to, keeps its mode
 * and (as root) its owner, and never makes a missing directory. What is neither file nor directory: reason `EINVAL`.
 */
export const nodeFileSystem = (): FileSystem => ({
  read: (path, limit) => attempt(path, 'read', () => readWhole(path, limit)),
  readText: (path, limit) =>
    attempt(path, 'read', async () => {
      const bytes = await unless(['ENOENT'], readWhole(path, limit));
      return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
    }),
  head: (path, length) => attempt(path, 'read', () => readHead(path, length)),
  list: (path) => attempt(path, 'list', async () => (await unless(['ENOENT'], readdir(path)))?.toSorted()),
  realPath: (path) => attempt(path, 'resolve', () => realpath(path)),
  isExecutable: (path) => attempt(path, 'inspect', () => executable(path)),
  isWritableByAll: (path) => attempt(path, 'inspect', async () => ((await stat(path)).mode & 0o002) !== 0),
  replace: (path, text, mode) =>
    attempt(path, 'write', async () => {
      const target = (await unless(['ENOENT'], realpath(path))) ?? path;
      const before = await unless(['ENOENT'], stat(target));
      if (before !== undefined) requireRegular(before);
      return { target, mode: before === undefined ? mode : before.mode & 0o777 };
    }).andThen((found) => replaceFile(found.target, new TextEncoder().encode(text), found.mode)),
  makeDirectory: (path, mode) => ensureDirectory(path, mode).map(() => undefined),
});

/** Opening does not wait for the other end of a pipe. */
async function readWhole(path: string, limit: number): Promise<Uint8Array> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = await handle.stat();
    requireRegular(stats);
    if (stats.size > limit) throw systemError('EFBIG');
    return await readUpTo(handle, limit);
  } finally {
    await handle.close();
  }
}

async function readHead(path: string, length: number): Promise<Uint8Array> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    requireRegular(await handle.stat());
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(length), 0, length, 0);
    return new Uint8Array(buffer.subarray(0, bytesRead));
  } finally {
    await handle.close();
  }
}

async function executable(path: string): Promise<boolean> {
  try {
    if (!(await stat(path)).isFile()) return false;
    await access(path, constants.X_OK);
    return true;
  } catch (thrown) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES', 'EPERM'].includes(codeOf(thrown))) return false;
    throw thrown;
  }
}
