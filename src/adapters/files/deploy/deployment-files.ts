import { constants } from 'node:fs';
import { type FileHandle, lstat, realpath, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ResultAsync } from 'neverthrow';
import { aclWithMode, modeOfAcl } from '../../../domain/deploy/acl.js';
import type { DeploymentFiles, FoundFile, NewFile, StagedFile } from '../../../ports/deployment-files.js';
import { syncDirectory, writeFile } from '../../shared/durable-file.js';
import { bestEffort, codeOf, unless } from '../../shared/system-code.js';
import { removeAbandoned, temporaryPath } from '../../shared/temporary.js';
import { type FollowedPath, followPath } from '../followed-path.js';
import { readUpTo, requireRegular, systemError, withRegular } from '../regular-file.js';
import { attempt, ExplainedFailure } from '../system-failure.js';
import { requireTrustedWay } from '../trusted-directory.js';
import { accountId } from './accounts.js';
import { readAcl, writeAcl } from './acl.js';
import {
  type Directories,
  heldDirectories,
  missingDirectory,
  openedForEachCall,
} from './held-directories.js';
import { isMountPoint } from './mount-points.js';

const largest = 1024 * 1024;

/**
 * The files of this host. Names of owners and groups are those of /etc/passwd and /etc/group: an account that only a
 * directory service knows has to be given by its number.
 */
export const nodeDeploymentFiles = (): DeploymentFiles => filesIn(openedForEachCall);

const filesIn = (directories: Directories): DeploymentFiles => ({
  hold: () => {
    const held = heldDirectories();
    return { ...filesIn(held), release: held.release };
  },
  identify: (path) =>
    attempt(path, 'resolve', async () => {
      const real = await realPlace(path);
      return directories.of(real, async ({ stats }) => `${stats.dev}:${stats.ino}/${basename(real)}`);
    }),
  look: (path) =>
    attempt(path, 'read', async () => {
      const real = await realPlace(path);
      return directories.of(real, (directory) => look(directory, real));
    }),
  realDirectory: (path) =>
    attempt(path, 'use directory', async () => {
      const real = await unless(['ENOENT'], realpath(path));
      if (real === undefined) throw new ExplainedFailure('ENOENT', missingDirectory);
      if (!(await stat(real)).isDirectory()) throw systemError('ENOTDIR');
      return real;
    }),
  stage: (file) =>
    ResultAsync.combine([
      accountId(file.path, file.owner, '/etc/passwd'),
      accountId(file.path, file.group, '/etc/group'),
    ]).andThen(([owner, group]) =>
      attempt(file.path, 'write', () =>
        directories.of(file.path, (directory) => stage(directory, { ...file, owner, group })),
      ),
    ),
  place: (staged) =>
    attempt(staged.path, 'replace', () =>
      directories.of(staged.path, (directory) => place(directory, staged)),
    ),
  discard: ({ temporary }) => attempt(temporary, 'remove', () => remove(directories, temporary)),
  remove: (path) => attempt(path, 'remove', () => remove(directories, path)),
  sync: (paths) =>
    ResultAsync.combine(
      oneOfEach(paths).map((path) =>
        attempt(dirname(path), 'sync', () =>
          directories.of(path, ({ reference }) => syncDirectory(reference)),
        ),
      ),
    ).map(() => undefined),
  sweep: (paths) =>
    ResultAsync.fromSafePromise(
      Promise.all(
        oneOfEach(paths).map((path) =>
          bestEffort(directories.of(path, ({ reference }) => removeAbandoned(reference))),
        ),
      ).then(() => undefined),
    ),
});

/** A path of each directory. */
const oneOfEach = (paths: readonly string[]): readonly string[] => [
  ...new Map(paths.map((path) => [dirname(path), path])).values(),
];

const within = ({ reference }: FollowedPath, path: string): string => join(reference, basename(path));

/** A path without links. A file that is not there has a directory that is; what is a link to nothing has nothing that could be replaced. */
async function realPlace(path: string): Promise<string> {
  const file = await unless(['ENOENT', 'ENOTDIR'], (async () => followPath(path))());
  if (file !== undefined) {
    file.close();
    requireRegular(file.stats);
    requireTrustedWay(file);
    return file.path;
  }
  return openedForEachCall.of(path, async (directory) => {
    const isThere = await unless(['ENOENT'], lstat(within(directory, path)));
    if (isThere !== undefined)
      throw new ExplainedFailure('ENOENT', 'it is a link to a file that does not exist');
    return join(directory.path, basename(path));
  });
}

async function look(directory: FollowedPath, path: string): Promise<FoundFile> {
  const found = withRegular(within(directory, path), constants.O_RDONLY, async (handle, stats) => {
    const acl = await readAcl(handle);
    const mode = stats.mode & 0o777;
    const isMounted = await isMountPoint(path);
    return {
      content: await readUpTo(handle, largest),
      mode: acl === undefined ? mode : modeOfAcl(acl, mode),
      uid: stats.uid,
      gid: stats.gid,
      ...(acl === undefined ? {} : { acl }),
      ...(isMounted ? { isMounted } : {}),
    };
  });
  return { path, state: await unless(['ENOENT'], found) };
}

type Ready = NewFile & { readonly owner: number | undefined; readonly group: number | undefined };

async function stage(directory: FollowedPath, file: Ready): Promise<StagedFile> {
  const temporary = temporaryPath(file.path);
  if (await isMountPoint(file.path)) {
    if (file.inPlace !== true) throw mounted();
    // Whether it can be written at all; nothing is written yet.
    const writable = withRegular(within(directory, file.path), constants.O_WRONLY, async () => undefined);
    await explained(file.path, writable);
    return { path: file.path, temporary, inPlace: file };
  }
  await writeFile(within(directory, temporary), file.content, {
    opening: (call) => explained(file.path, call),
    dress: (handle) => dress(handle, file),
  });
  return { path: file.path, temporary };
}

/** Owner first, for that may take rights away; then what the others may. A directory's default list gives nothing that was not asked for. */
async function dress(handle: FileHandle, { owner, group, mode, acl }: Ready): Promise<void> {
  const now = await handle.stat();
  const [uid, gid] = [owner ?? now.uid, group ?? now.gid];
  if (uid !== now.uid || gid !== now.gid) await handle.chown(uid, gid);
  if (acl !== undefined) return writeAcl(handle, aclWithMode(acl, mode));
  // defence: default-acl-is-not-inherited
  if ((await readAcl(handle)) !== undefined) await writeAcl(handle, undefined);
  await handle.chmod(mode);
}

async function place(directory: FollowedPath, { path, temporary, inPlace }: StagedFile): Promise<void> {
  const there = within(directory, path);
  if (inPlace !== undefined) return overwrite(there, inPlace as Ready);
  await explained(path, rename(within(directory, temporary), there));
}

/** A crash in the middle leaves a part of it: whoever calls this has what was there before. */
const overwrite = (path: string, file: Ready): Promise<void> =>
  withRegular(path, constants.O_WRONLY, async (handle) => {
    await dress(handle, file);
    await handle.writeFile(file.content);
    await handle.truncate(file.content.length);
    await handle.sync();
  });

const mounted = () =>
  new ExplainedFailure('EBUSY', 'it is a mount point, so no other file can take its place');

/** A call that opens or renames something; what keeps it from doing so is told with what heals it. */
async function explained<T>(path: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (thrown) {
    if (codeOf(thrown) === 'EBUSY') throw mounted();
    if (codeOf(thrown) !== 'EPERM') throw thrown;
    throw new ExplainedFailure('EPERM', `the file or its directory is immutable: \`chattr -i ${path}\``);
  }
}

async function remove(directories: Directories, path: string): Promise<void> {
  await directories.of(path, (directory) => unless(['ENOENT'], unlink(within(directory, path))));
}
