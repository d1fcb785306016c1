import { constants } from 'node:fs';
import { access, lchown, lstat, open, readdir, realpath, stat } from 'node:fs/promises';
import { ok } from 'neverthrow';
import type { FileFault } from '../../domain/core/file-trust.js';
import type { FileSystem } from '../../ports/file-system.js';
import { codeOf, unless } from '../shared/system-code.js';
import { discard, ensureDirectory, place, replaceFile, stage } from './atomic-write.js';
import { followPath, ownAccounts } from './followed-path.js';
import { readUpTo, requireRegular, systemError, withRegular } from './regular-file.js';
import { attempt } from './system-failure.js';

/** Bytes of a file that is taken over. */
const mostTaken = 16 * 1024 * 1024;

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
  faults: (path, owners = []) => attempt(path, 'inspect', async () => faultsOf(path, owners)),
  takeOwnership,
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

function faultsOf(path: string, owners: readonly number[]): readonly FileFault[] {
  try {
    const { stats, faults, close } = followPath(path, [...ownAccounts(), ...owners]);
    close();
    // A device acts when it is opened: what is judged is opened only afterwards.
    if (!stats.isDirectory()) requireRegular(stats);
    return faults;
  } catch (thrown) {
    const { faults } = thrown as { faults?: readonly FileFault[] };
    if (faults === undefined || !['ENOENT', 'ENOTDIR', 'EACCES'].includes(codeOf(thrown))) throw thrown;
    return faults;
  }
}

/**
 * A file becomes a new one with the same content: whoever had the former one open, or a link to it, has no part in this one. Call
 * it for the directory first.
 */
const takeOwnership: FileSystem['takeOwnership'] = (path) => {
  const own = process.geteuid?.() ?? 0;
  return attempt(path, 'take ownership', async () => {
    const before = await lstat(path);
    // A link that comes in its place meanwhile is not followed.
    if (!before.isDirectory())
      return await withRegular(
        /* defence: link-is-not-taken */ path,
        constants.O_RDONLY,
        async (handle, opened) => ({
          before: opened,
          content: await readUpTo(handle, mostTaken),
        }),
      );
    const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    try {
      await handle.chown(own, before.gid);
      await handle.chmod(before.mode & 0o1755);
    } finally {
      await handle.close();
    }
    return { before, content: undefined };
  }).andThen(({ before, content }) =>
    content === undefined
      ? ok(undefined)
      : stage(path, content, /* defence: taken-file-is-no-setuid */ before.mode & 0o755).andThen((staged) =>
          attempt(path, 'take ownership', () => lchown(staged.temporary, own, before.gid))
            .andThen(() => place(staged))
            .orTee(() => discard([staged])),
        ),
  );
};
