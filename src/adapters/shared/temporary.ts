import { randomBytes } from 'node:crypto';
import { lstat, readdir, rmdir, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isThere, ownIdentity } from './process-identity.js';
import { bestEffort } from './system-code.js';

/**
 * File names that tell which process made them: `<pid>-<start time>-<boot id>-<pid namespace>-<random>`. A name whose
 * process is gone is provably a leftover. What the system does not tell of a process is 0.
 */
const TOKEN = /^(\d+)-(\d+)-([0-9a-f]+)-(\d+)-[0-9a-f]{16}$/;

/** A new name for something that this process owns. */
export function ownerToken(): string {
  const { pid, started, boot, namespace } = ownIdentity();
  return `${pid}-${started}-${boot.replaceAll('-', '')}-${namespace}-${randomBytes(8).toString('hex')}`;
}

/** Whether the process behind a token is still there; `unknown` also when it is no token. */
export function ownerIsThere(token: string): 'yes' | 'no' | 'unknown' {
  const [, pid, started = '', boot = '', namespace = ''] = TOKEN.exec(token) ?? [];
  return pid === undefined ? 'unknown' : isThere({ pid: Number(pid), started, boot, namespace });
}

/** Whether `path`, named by `token`, has no owner any more; where that cannot be known, its age decides. */
export async function isAbandoned(path: string, token: string, maxAgeMilliseconds: number): Promise<boolean> {
  const there = ownerIsThere(token);
  if (there !== 'unknown') return there === 'no';
  try {
    return Date.now() - (await lstat(path)).mtimeMs > maxAgeMilliseconds;
  } catch {
    return false;
  }
}

const TEMPORARY = /^\..+\.tmp-(\d+-\d+-[0-9a-f]+-\d+-[0-9a-f]{16})$/s;
const UNKNOWN_OWNER_MILLISECONDS = 24 * 3600 * 1000;

/** A path beside `path`, `.<name>.tmp-<token>`: the token says which process it belongs to. */
export function temporaryPath(path: string, token = ownerToken()): string {
  // A long name is cut: with the token it must stay within the 255 bytes that a file name may have.
  return join(dirname(path), `.${basename(path).slice(0, 40)}.tmp-${token}`);
}

/**
 * Removes what crashed writers left in a directory: temporary names whose process is gone (see `ownerToken`), or, when
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
