import { lstat, readdir, rmdir, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isAbandoned, ownerToken } from './owner-token.js';
import { bestEffort } from './system-failure.js';

const TEMPORARY = /^\..+\.tmp-(\d+-\d+-[0-9a-f]+-\d+-[0-9a-f]{16})$/s;
const UNKNOWN_OWNER_MILLISECONDS = 24 * 3600 * 1000;

/** A path beside `path`, `.<name>.tmp-<token>`: the token says which process it belongs to. */
export function temporaryPath(path: string, token = ownerToken()): string {
  // A long name is cut: with the token it must stay within the 255 bytes that a file name may have.
  return join(dirname(path), `.${basename(path).slice(0, 40)}.tmp-${token}`);
}

/**
 * Removes what crashed writers left in a directory: temporary names whose process is gone (see owner-token.ts), or, when
 * that cannot be told because another pid namespace made them, which are older than a day. Failing is no error.
 */
export async function removeAbandoned(directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  for (const name of names) {
    const token = TEMPORARY.exec(name)?.[1];
    const path = join(directory, name);
    if (token !== undefined && (await isAbandoned(path, token, UNKNOWN_OWNER_MILLISECONDS))) {
      await removeTemporary(path, token);
    }
  }
}

/** Removes a temporary file, or a prepared lock: a directory that holds one file named by the token. */
export async function removeTemporary(path: string, token: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isDirectory() === true) {
    await bestEffort(unlink(join(path, token)));
    await bestEffort(rmdir(path));
  } else if (found !== undefined) {
    await bestEffort(unlink(path));
  }
}
