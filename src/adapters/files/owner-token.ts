import { randomBytes } from 'node:crypto';
import { lstat } from 'node:fs/promises';
import { isThere, ownIdentity } from '../shared/process-identity.js';

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
