import { constants, mkdirSync, statSync } from 'node:fs';
import { type FileHandle, lstat, open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ResultAsync } from 'neverthrow';
import { makeDirectories } from '../../domain/core/file-access.js';
import { attempt, bestEffort, codeOf, ExplainedFailure, type FileFailure, unless } from './system-failure.js';
import { removeAbandoned, temporaryPath } from './temporary.js';

const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** A complete, synced temporary file beside `path`: one rename away from taking its place. */
export interface StagedFile {
  readonly path: string;
  readonly temporary: string;
}

/** Writes the temporary file. On an Err nothing is left behind. */
export function stage(path: string, content: Uint8Array, mode: number): ResultAsync<StagedFile, FileFailure> {
  return attempt(path, 'write', async () => {
    const temporary = temporaryPath(path);
    const handle = await open(temporary, NEW_FILE, 0o600);
    try {
      await fill(handle, path, content, mode);
    } catch (thrown) {
      await bestEffort(unlink(temporary));
      throw thrown;
    }
    return { path, temporary };
  });
}

async function fill(handle: FileHandle, path: string, content: Uint8Array, mode: number): Promise<void> {
  try {
    await handle.writeFile(content);
    await keepOwner(handle, path);
    await handle.chmod(mode);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Root replaces the files of others without taking them away from their owners. */
async function keepOwner(handle: FileHandle, path: string): Promise<void> {
  if (process.geteuid?.() !== 0) return;
  const [before, now] = [await lstat(path).catch(() => undefined), await handle.stat()];
  if (before?.isFile() !== true || (before.uid === now.uid && before.gid === now.gid)) return;
  await bestEffort(handle.chown(before.uid, before.gid));
}

/** Puts a staged file in its place; durable after `syncDirectory`. */
export function place(staged: StagedFile): ResultAsync<void, FileFailure> {
  return attempt(staged.path, 'write', () => rename(staged.temporary, staged.path));
}

export async function discard(staged: readonly StagedFile[]): Promise<void> {
  for (const { temporary } of staged) await bestEffort(unlink(temporary));
}

export function syncDirectory(directory: string): ResultAsync<void, FileFailure> {
  return attempt(directory, 'sync', async () => {
    const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      // Some network and FUSE file systems cannot sync a directory: nothing more can be had from them.
      await unless(['EINVAL', 'ENOTSUP'], handle.sync());
    } finally {
      await handle.close();
    }
  });
}

/**
 * Replaces a file so that, whatever happens, either the old or the new content is there: temporary file in the same
 * directory, readable by its owner only until it has its final mode, fsync, rename, fsync of the directory. Leftovers of
 * earlier crashes in that directory are removed first.
 */
export function replaceFile(path: string, content: Uint8Array, mode: number): ResultAsync<void, FileFailure> {
  const directory = dirname(path);
  return ResultAsync.fromSafePromise(removeAbandoned(directory))
    .andThen(() => stage(path, content, mode))
    .andThen((staged) => place(staged).orTee(() => discard([staged])))
    .andThen(() => syncDirectory(directory));
}

function makeAll(directory: string, mode: number): string | undefined {
  try {
    return makeDirectories(directory, mode, { mkdirSync, statSync });
  } catch (thrown) {
    if (codeOf(thrown) !== 'ENOENT') throw thrown;
    throw new ExplainedFailure('ENOENT', 'its file system takes no new directory there');
  }
}

/** Makes a directory and what is missing above it, durably. Answers with what was made, topmost first. */
export function ensureDirectory(directory: string, mode: number): ResultAsync<string[], FileFailure> {
  return attempt(directory, 'create directory', async () => {
    const topmost = makeAll(directory, mode);
    if (topmost === undefined) return [];
    const made = [directory];
    for (let path = directory; path.length > topmost.length; path = dirname(path))
      made.unshift(dirname(path));
    return made;
  }).andThrough((made) => ResultAsync.combine(made.map((path) => syncDirectory(dirname(path)))));
}
