import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { link, mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import type { JobKey } from '../../../ports/jobs.js';
import { makeDirectories, syncDirectory, writeFile } from '../../shared/durable-file.js';
import { codeOf, unless } from '../../shared/system-code.js';
import { temporaryPath } from '../../shared/temporary.js';

/**
 * A job is a directory, named by a digest of its key:
 *
 * - `job`: who asked for what when; written before anything is started.
 * - `watcher`: who watches over it, or that nobody may. It appears once and whole, so of several who would start the
 *   program, or give it up, one does.
 * - `program`: its pipes and its process, as soon as it has them.
 * - `stdout`, `stderr`: what is kept of its output, see `outputRing`.
 * - `cancel`: somebody wants it to end. `cancel.room` becomes it, so that a full disk keeps nobody from it.
 * - `end`: how it ended. `end.room` holds the place for it on the disk from the beginning.
 */
export const fileNames = {
  job: 'job',
  watcher: 'watcher',
  program: 'program',
  stdout: 'stdout',
  stderr: 'stderr',
  cancel: 'cancel',
  cancelRoom: 'cancel.room',
  end: 'end',
  room: 'end.room',
} as const;

/** Written into each record: a later version that writes another refuses, or is refused, instead of guessing. */
export const format = 1;

export const directoryName = ({ owner, reqid }: JobKey): string =>
  createHash('sha256')
    .update(JSON.stringify([owner, reqid]))
    .digest('hex')
    .slice(0, 40);

export const isDirectoryName = (name: string): boolean => /^[0-9a-f]{40}$/.test(name);

export const fileFailed = (
  path: string,
  operation: string,
  thrown: unknown,
): CtrlExecError<'file_failed'> => {
  const reason = codeOf(thrown);
  return failure('file_failed', `cannot ${operation} ${path}: ${reason}`, { path, operation, reason });
};

/** The value of a call, or undefined when what it is about does not exist. */
export const unlessMissing = <T>(call: Promise<T>): Promise<T | undefined> =>
  unless(['ENOENT', 'ENOTDIR'], call);

/** Gives a whole file its name, unless something has that name: then false. Needs no sync: see who reads it. */
export const writeOnce = async (path: string, content: string): Promise<boolean> => {
  const temporary = temporaryPath(path);
  try {
    await writeFile(temporary, content);
    await link(temporary, path);
    return true;
  } catch (thrown) {
    if (codeOf(thrown) === 'EEXIST') return false;
    throw thrown;
  } finally {
    await rm(temporary, { force: true });
  }
};

/** Takes a directory out of the way at once, then removes it; false: it was not there. */
export const removeWhole = async (directory: string, aside: string): Promise<boolean> => {
  const gone = await unlessMissing(rename(directory, aside).then(() => true));
  if (gone === undefined) return false;
  await rm(aside, { recursive: true, force: true });
  return true;
};

/** Makes a directory with one file in it and gives it its name, durably; false: that name is taken. */
export const publish = async (
  parent: string,
  name: string,
  aside: string,
  file: string,
  content: string,
): Promise<boolean> => {
  const target = join(parent, name);
  try {
    await mkdir(aside, { mode: 0o700 });
    await writeFile(join(aside, file), content);
    await syncDirectory(aside);
    await rename(aside, target);
  } catch (thrown) {
    await rm(aside, { recursive: true, force: true });
    if (['EEXIST', 'ENOTEMPTY', 'ENOTDIR'].includes(codeOf(thrown))) return false;
    throw thrown;
  }
  await syncDirectory(parent);
  return true;
};

/** Makes the directory of all jobs; one that is there already is closed to others. */
export const prepareDirectory = async (directory: string): Promise<void> => {
  const made = makeDirectories(directory, 0o700);
  if (made !== undefined) return;
  const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    if (((await handle.stat()).mode & 0o077) !== 0) await handle.chmod(0o700);
  } finally {
    await handle.close();
  }
};
