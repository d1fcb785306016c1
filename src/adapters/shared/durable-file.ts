import { closeSync, constants, fsyncSync, mkdirSync, openSync, statSync } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { makeDirectories as make } from '../../domain/core/file-access.js';
import { bestEffort, codeOf } from './system-code.js';

/** Only a file that is not there yet, and no link in its place. */
export const exclusive = constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
export const newFile = exclusive | constants.O_WRONLY;

/** Makes a directory and what is missing above it; returns the topmost that was made. Not synced. */
export const makeDirectories = (path: string, mode: number): string | undefined =>
  make(path, mode, { mkdirSync, statSync });

interface Writing {
  /** Gives the file its owner and mode; until then it is 0600. */
  readonly dress?: (handle: FileHandle) => Promise<void>;
  /** Around the call that opens it. */
  readonly opening?: (call: Promise<FileHandle>) => Promise<FileHandle>;
  /** Default: true. False: it survives the process, not a power cut. */
  readonly durable?: boolean;
  /** Default: `newFile`. */
  readonly flags?: number;
}

/** Writes a file, whole and synced. What fails leaves no new file behind. Durable after `syncDirectory`. */
export async function writeFile(
  path: string,
  content: Uint8Array | string,
  { dress, opening = (call) => call, durable = true, flags = newFile }: Writing = {},
): Promise<void> {
  const handle = await opening(open(path, flags, 0o600));
  try {
    try {
      await handle.writeFile(content);
      await dress?.(handle);
      if (durable) await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (thrown) {
    if ((flags & constants.O_EXCL) !== 0) await bestEffort(unlink(path));
    throw thrown;
  }
}

/** Some network and FUSE file systems cannot sync a directory: nothing more can be had from them. */
const unlessUnable = (thrown: unknown): void => {
  if (!['EINVAL', 'ENOTSUP'].includes(codeOf(thrown))) throw thrown;
};

const directoryOnly = constants.O_RDONLY | constants.O_DIRECTORY;

export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, directoryOnly);
  try {
    await handle.sync().catch(unlessUnable);
  } finally {
    await handle.close();
  }
}

/** Blocks until it is done. */
export function syncDirectoryNow(directory: string): void {
  const descriptor = openSync(directory, directoryOnly);
  try {
    fsyncSync(descriptor);
  } catch (thrown) {
    unlessUnable(thrown);
  } finally {
    closeSync(descriptor);
  }
}
