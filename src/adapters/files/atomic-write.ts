import { type FileHandle, lstat, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ResultAsync } from 'neverthrow';
import { makeDirectories, syncDirectory as sync, writeFile } from '../shared/durable-file.js';
import { bestEffort, codeOf } from '../shared/system-code.js';
import { removeAbandoned, temporaryPath } from '../shared/temporary.js';
import { attempt, ExplainedFailure, type FileFailure } from './system-failure.js';

/** A complete, synced temporary file beside `path`: one rename away from taking its place. */
export interface StagedFile {
  readonly path: string;
  readonly temporary: string;
}

/** Writes the temporary file. On an Err nothing is left behind. */
export function stage(path: string, content: Uint8Array, mode: number): ResultAsync<StagedFile, FileFailure> {
  return attempt(path, 'write', async () => {
    const temporary = temporaryPath(path);
    await writeFile(temporary, content, {
      dress: async (handle) => {
        await keepOwner(handle, path);
        await handle.chmod(mode);
      },
    });
    return { path, temporary };
  });
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

export const syncDirectory = (directory: string): ResultAsync<void, FileFailure> =>
  attempt(directory, 'sync', () => sync(directory));

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
    return makeDirectories(directory, mode);
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
