import { utimes } from 'node:fs';
import { mkdir, open, readdir, rename, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { backoff, jittered } from '../../domain/core/backoff.js';
import { bestEffort, codeOf, unless } from '../shared/system-code.js';
import { isAbandoned, ownerToken, removeTemporary, temporaryPath } from '../shared/temporary.js';
import { attempt, type FileFailure, systemFailure } from './system-failure.js';

const PATIENCE_MILLISECONDS = 5000;
const WAITS = { first: 1, last: 25, growth: 2 };
const RELEASE_ATTEMPTS = 5;
/** A holder that cannot be seen from here is believed for so long after its last sign of life. */
const UNKNOWN_OWNER_MILLISECONDS = 60_000;
const SIGN_OF_LIFE_MILLISECONDS = 20_000;

/**
 * Runs `body` while no other process and no other caller in this process is inside the lock at `path`. A lock whose holder
 * died is taken over at once; that of one in another container after a minute without a sign of life. Waits 5 s at most: then `file_failed` with reason `ELOCKED`.
 *
 * The lock is a directory with one file that is named by its holder's token. Taking it renames a directory prepared
 * aside onto `path`, which the system refuses as long as a directory with something in it is there. Letting go, and
 * clearing away a dead holder, is the removal of that one name. So somebody who judged a holder dead and is late
 * removes nothing of whoever came after it.
 */
export function withLock<T, E>(
  path: string,
  body: () => ResultAsync<T, E>,
  patienceMilliseconds = PATIENCE_MILLISECONDS,
): ResultAsync<T, E | FileFailure> {
  return new ResultAsync(holding(path, body, patienceMilliseconds));
}

async function holding<T, E>(
  path: string,
  body: () => ResultAsync<T, E>,
  patience: number,
): Promise<Result<T, E | FileFailure>> {
  const token = ownerToken();
  const prepared = temporaryPath(path, token);
  const taken = await prepare(path, prepared, token).andThen(
    () => new ResultAsync(enter(path, prepared, performance.now() + patience)),
  );
  if (taken.isErr()) {
    await removeTemporary(prepared, token);
    return err(taken.error);
  }
  const life = setInterval(() => {
    const now = new Date();
    utimes(join(path, token), now, now, () => undefined);
  }, SIGN_OF_LIFE_MILLISECONDS).unref();
  try {
    return await body();
  } finally {
    clearInterval(life);
    await release(path, token);
  }
}

/** Tries more than once: a lock that a living process leaves behind is in everybody's way. */
async function release(path: string, token: string): Promise<void> {
  for (let attempts = 0; attempts < RELEASE_ATTEMPTS; attempts += 1) {
    const removed = await attempt(path, 'unlock', () => unless(['ENOENT'], unlink(join(path, token))));
    if (removed.isOk()) break;
    await delay(attempts);
  }
  await bestEffort(rmdir(path));
}

function prepare(path: string, prepared: string, token: string): ResultAsync<void, FileFailure> {
  return attempt(path, 'lock', async () => {
    await mkdir(prepared, { mode: 0o700 });
    await (await open(join(prepared, token), 'wx', 0o600)).close();
  });
}

async function enter(path: string, prepared: string, deadline: number): Promise<Result<void, FileFailure>> {
  for (let attempts = 0; ; attempts += 1) {
    const entered = await attempt(path, 'lock', () => exclusiveRename(prepared, path));
    if (entered.isErr()) return err(entered.error);
    if (entered.value) return ok(undefined);
    const evicted = await attempt(path, 'lock', () => evictDeadHolder(path));
    if (evicted.isErr()) return err(evicted.error);
    if (evicted.value) continue;
    if (performance.now() > deadline) {
      return err(systemFailure(path, 'lock', 'ELOCKED', 'another process has held it for too long'));
    }
    await delay(jittered(backoff(attempts, WAITS), 0.5, Math.random()));
  }
}

/** False when a directory with something in it is in the way. */
async function exclusiveRename(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (thrown) {
    if (['ENOTEMPTY', 'EEXIST'].includes(codeOf(thrown))) return false;
    throw thrown;
  }
}

/** Whether trying again at once makes sense. */
async function evictDeadHolder(path: string): Promise<boolean> {
  const holders = (await unless(['ENOENT'], readdir(path))) ?? [];
  for (const token of holders) {
    if (!(await isAbandoned(join(path, token), token, UNKNOWN_OWNER_MILLISECONDS))) return false;
    await unless(['ENOENT'], unlink(join(path, token)));
  }
  return true;
}
