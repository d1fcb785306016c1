import { mkdir, readdir, readFile, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { okAsync, type ResultAsync } from 'neverthrow';
import { writeFile } from '../../shared/durable-file.js';
import { bestEffort, unless } from '../../shared/system-code.js';
import { removeAbandoned, temporaryPath } from '../../shared/temporary.js';
import { attempt, type FileFailure } from '../system-failure.js';
import { frame, unframe } from './frames.js';

const NAME = /^[0-9a-f]{32}$/;
const AT_ONCE = 32;

/** Results, each in a file of its own, 0600, named by the run's key in hex. */
export interface RunResults {
  /**
   * Keeps a result. Older ones are dropped first, until all fit into the limit; one that is larger than that is not kept.
   * Results with whether it is kept.
   */
  keep(key: string, result: Uint8Array): ResultAsync<boolean, FileFailure>;
  /** Undefined where there is none, or none that is whole. */
  find(key: string): Promise<Uint8Array | undefined>;
  forget(keys: readonly string[]): Promise<void>;
}

/**
 * @param expected the runs that have a result, oldest first, with its length. Files of others are removed.
 * @param dropped is told of every run that loses its result, or has lost it.
 */
export function openRunResults(
  directory: string,
  limit: number,
  expected: ReadonlyMap<string, number>,
  dropped: (key: string) => void,
): ResultAsync<RunResults, FileFailure> {
  const pathOf = (key: string) => join(directory, Buffer.from(key, 'latin1').toString('hex'));
  /** Bytes by key, oldest first. */
  const kept = new Map<string, number>();
  let total = 0;

  const remove = async (key: string) => {
    total -= kept.get(key) ?? 0;
    if (kept.delete(key)) await bestEffort(unlink(pathOf(key)));
  };

  const makeRoom = async () => {
    while (total > limit) {
      const [oldest] = kept.keys();
      if (oldest === undefined) return;
      dropped(oldest);
      await remove(oldest);
    }
  };

  const start = async () => {
    await unless(['EEXIST'], mkdir(directory, { mode: 0o700 }));
    await removeAbandoned(directory);
    const found = new Set((await readdir(directory)).filter((name) => NAME.test(name)));
    for (const [key, bytes] of expected) {
      if (!found.delete(Buffer.from(key, 'latin1').toString('hex'))) dropped(key);
      else {
        kept.set(key, bytes);
        total += bytes;
      }
    }
    for (const name of found) await bestEffort(unlink(join(directory, name)));
    await makeRoom();
  };

  const write = async (key: string, result: Uint8Array) => {
    total += result.byteLength;
    try {
      await makeRoom();
      await writeWhole(pathOf(key), frame(result));
    } catch (thrown) {
      total -= result.byteLength;
      throw thrown;
    }
    kept.set(key, result.byteLength);
    // Several that were written at once may have found nothing to drop.
    await makeRoom();
    return kept.has(key);
  };

  return attempt(directory, 'read', start).map(() => ({
    keep: (key, result) =>
      result.byteLength > limit ? okAsync(false) : attempt(pathOf(key), 'write', () => write(key, result)),

    find: async (key) => {
      if (!kept.has(key)) return undefined;
      const bytes = await readFile(pathOf(key)).catch(() => undefined);
      const found = bytes === undefined ? 'incomplete' : unframe(bytes);
      return typeof found === 'string' ? undefined : new Uint8Array(found.payload);
    },

    forget: async (keys) => {
      for (let at = 0; at < keys.length; at += AT_ONCE) {
        await Promise.all(keys.slice(at, at + AT_ONCE).map(remove));
      }
    },
  }));
}

async function writeWhole(path: string, bytes: Buffer): Promise<void> {
  const temporary = temporaryPath(path);
  try {
    await writeFile(temporary, bytes, { durable: false });
    await rename(temporary, path);
  } catch (thrown) {
    await bestEffort(unlink(temporary));
    throw thrown;
  }
}
