import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readFile, realpath, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { err, ok, okAsync, ResultAsync } from 'neverthrow';
import type { DeploymentFiles, FoundFile, NewFile, StagedFile } from '../../../ports/deployment-files.js';
import { syncDirectory } from '../atomic-write.js';
import { attempt, bestEffort, type FileFailure, systemFailure, unless } from '../system-failure.js';
import { removeAbandoned, temporaryPath } from '../temporary.js';

const largest = 1024 * 1024;
const newFile = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

const systemError = (code: string) => Object.assign(new Error(code), { code });

/**
 * The files of this host. Names of owners and groups are those of /etc/passwd and /etc/group: an account that only a
 * directory service knows has to be given by its number.
 */
export const nodeDeploymentFiles = (): DeploymentFiles => ({
  look: (path) => attempt(path, 'read', () => look(path)),
  realDirectory: (path) =>
    attempt(path, 'resolve', async () => {
      const real = await realpath(path);
      if (!(await stat(real)).isDirectory()) throw systemError('ENOTDIR');
      return real;
    }),
  stage: (file) =>
    ResultAsync.combine([
      accountId(file.path, file.owner, '/etc/passwd'),
      accountId(file.path, file.group, '/etc/group'),
    ]).andThen(([uid, gid]) => attempt(file.path, 'write', () => stage(file, uid, gid))),
  place: ({ path, temporary }) => attempt(path, 'replace', () => rename(temporary, path)),
  discard: ({ temporary }) =>
    attempt(temporary, 'remove', async () => {
      await unless(['ENOENT'], unlink(temporary));
    }),
  remove: (path) =>
    attempt(path, 'remove', async () => {
      await unless(['ENOENT'], unlink(path));
    }),
  sync: (paths) =>
    ResultAsync.combine([...new Set(paths.map(dirname))].map(syncDirectory)).map(() => undefined),
  sweep: (paths) =>
    ResultAsync.fromSafePromise(
      Promise.all([...new Set(paths.map(dirname))].map(removeAbandoned)).then(() => undefined),
    ),
});

/** A file that is not there has a directory that is; what is a link to nothing has nothing that could be replaced. */
async function look(path: string): Promise<FoundFile> {
  const directory = await realpath(dirname(path));
  if (!(await stat(directory)).isDirectory()) throw systemError('ENOTDIR');
  const there = await unless(['ENOENT'], lstat(join(directory, basename(path))));
  if (there === undefined) return { path: join(directory, basename(path)), state: undefined };
  const real = await realpath(path);
  const handle = await open(real, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  try {
    const stats = await handle.stat();
    if (stats.isDirectory()) throw systemError('EISDIR');
    if (!stats.isFile()) throw systemError('EINVAL');
    if (stats.size > largest) throw systemError('EFBIG');
    const content = new Uint8Array(await handle.readFile());
    return { path: real, state: { content, mode: stats.mode & 0o777, uid: stats.uid, gid: stats.gid } };
  } finally {
    await handle.close();
  }
}

async function stage(file: NewFile, uid?: number, gid?: number): Promise<StagedFile> {
  const temporary = temporaryPath(file.path);
  const handle = await open(temporary, newFile, 0o600);
  try {
    await fill(handle, file, uid, gid);
  } catch (thrown) {
    await bestEffort(unlink(temporary));
    throw thrown;
  }
  return { path: file.path, temporary };
}

async function fill(handle: FileHandle, file: NewFile, uid?: number, gid?: number): Promise<void> {
  try {
    await handle.writeFile(file.content);
    const now = await handle.stat();
    const [owner, group] = [uid ?? now.uid, gid ?? now.gid];
    if (owner !== now.uid || group !== now.gid) await handle.chown(owner, group);
    await handle.chmod(file.mode);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function accountId(
  path: string,
  account: string | number | undefined,
  database: string,
): ResultAsync<number | undefined, FileFailure> {
  if (account === undefined || typeof account === 'number') return okAsync(account);
  if (/^\d+$/.test(account)) return okAsync(Number(account));
  return attempt(database, 'read', () => readFile(database, 'utf8')).andThen((text) => {
    const lines = text.split('\n').map((line) => line.split(':'));
    const id = lines.find(([name]) => name === account)?.[2];
    return id !== undefined && /^\d+$/.test(id)
      ? ok(Number(id))
      : err(systemFailure(path, 'write', 'EINVAL', `${database} knows no ${account}`));
  });
}
