import { type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { newFile } from '../../shared/durable-file.js';
import { bestEffort } from '../../shared/system-code.js';
import { temporaryPath } from '../../shared/temporary.js';
import { attempt, type FileFailure, systemFailure } from '../system-failure.js';
import { frame } from './frames.js';

const SLICE_BYTES = 64 * 1024;

/**
 * A file of frames that grows at its end. What `append` has answered survives the process, not a power cut: it is written,
 * not synced. What is appended while a write is under way is written together by the next one. A write that fails is
 * taken back, or where that fails too, before the next one.
 */
export interface Journal {
  readonly path: string;
  /** How many frames are in the file. */
  frames(): number;
  append(payload: Uint8Array): ResultAsync<void, FileFailure>;
  /** Waits until what was appended so far is written, or has failed. */
  settled(): Promise<void>;
  /**
   * Puts a new file in the place of this one: these payloads, read in slices as they are by then, then what is appended meanwhile. So
   * applying a payload a second time must change nothing. On an Err the old file goes on.
   */
  rewrite(payloads: Iterable<Uint8Array>): ResultAsync<void, FileFailure>;
  /** After what was appended. Then appending fails with reason `EBADF`. */
  close(): Promise<void>;
}

/** An open file whose end is known. */
interface Written {
  readonly handle: FileHandle;
  size: number;
  frames: number;
}

type Pending =
  | { readonly bytes: Buffer; readonly resolve: (result: Result<void, FileFailure>) => void }
  | { readonly alone: () => Promise<void> };

/** Makes a journal, 0600, that begins with these payloads; it takes the place of a file that is there. */
export function createJournal(
  path: string,
  payloads: Iterable<Uint8Array>,
): ResultAsync<Journal, FileFailure> {
  return attempt(path, 'write', async () => {
    const temporary = temporaryPath(path);
    const written = await begin(temporary);
    try {
      await writeSlices(written, payloads);
      await rename(temporary, path);
    } catch (thrown) {
      await discard(written, temporary);
      throw thrown;
    }
    return appending(path, written);
  });
}

async function begin(path: string): Promise<Written> {
  return { handle: await open(path, newFile, 0o600), size: 0, frames: 0 };
}

async function discard({ handle }: Written, path: string): Promise<void> {
  await bestEffort(handle.close());
  await bestEffort(unlink(path));
}

async function writeSlices(to: Written, payloads: Iterable<Uint8Array>): Promise<void> {
  let slice: Buffer[] = [];
  let bytes = 0;
  for (const payload of payloads) {
    const next = frame(payload);
    slice.push(next);
    bytes += next.length;
    if (bytes < SLICE_BYTES) continue;
    await writeFrames(to, slice);
    slice = [];
    bytes = 0;
  }
  await writeFrames(to, slice);
}

/** The end of the file is known to be behind these frames only when all of them are written. */
async function writeFrames(to: Written, frames: readonly Buffer[]): Promise<void> {
  const [first] = frames;
  if (first === undefined) return;
  const bytes = frames.length === 1 ? first : Buffer.concat(frames);
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await to.handle.write(bytes, done, bytes.length - done, to.size + done);
    done += bytesWritten;
  }
  to.size += bytes.length;
  to.frames += frames.length;
}

function appending(path: string, start: Written): Journal {
  let file = start;
  let closed = false;
  let working = false;
  let rewriting = false;
  /** Whether there may be something behind the known end. */
  let ragged = false;
  let queue: Pending[] = [];
  /** What was written while a new file is being made. */
  let meanwhile: Buffer[] | undefined;

  const cut = async () => {
    await file.handle.truncate(file.size);
    ragged = false;
  };

  const write = (frames: readonly Buffer[]): ResultAsync<void, FileFailure> =>
    attempt(path, 'write', async () => {
      if (ragged) await cut();
      ragged = true;
      await writeFrames(file, frames);
      ragged = false;
      meanwhile?.push(...frames);
    }).orTee(() => bestEffort(cut()));

  const work = async () => {
    for (let batch = queue; batch.length > 0; batch = queue) {
      queue = [];
      while (batch.length > 0) {
        const at = batch.findIndex((each) => 'alone' in each);
        const together = batch.splice(0, at === -1 ? batch.length : at).filter((each) => 'bytes' in each);
        if (together.length > 0) {
          const result = await write(together.map(({ bytes }) => bytes));
          for (const { resolve } of together) resolve(result);
        }
        const next = batch.shift();
        if (next !== undefined && 'alone' in next) await next.alone();
      }
    }
    working = false;
  };

  const enqueue = (pending: Pending) => {
    queue.push(pending);
    if (working) return;
    working = true;
    void work();
  };

  /** Runs while nothing is being written, after all that was appended before. */
  const alone = <T>(body: () => Promise<T>): Promise<T> =>
    new Promise((resolve, reject) =>
      enqueue({
        alone: async () => {
          await body().then(resolve, reject);
        },
      }),
    );

  const replaceBy = async (next: Written, temporary: string) => {
    if (closed) throw Object.assign(new Error('closed'), { code: 'EBADF' });
    await writeFrames(next, meanwhile ?? []);
    await rename(temporary, path);
    const old = file;
    file = next;
    ragged = false;
    await bestEffort(old.handle.close());
  };

  const rewrite = async (payloads: Iterable<Uint8Array>) => {
    const temporary = temporaryPath(path);
    const next = await begin(temporary);
    try {
      meanwhile = [];
      await writeSlices(next, payloads);
      await alone(() => replaceBy(next, temporary));
    } catch (thrown) {
      await discard(next, temporary);
      throw thrown;
    } finally {
      meanwhile = undefined;
    }
  };

  const closedFailure = () => err(systemFailure(path, 'write', 'EBADF', 'it was closed'));

  return {
    path,
    frames: () => file.frames,
    append: (payload) =>
      new ResultAsync(
        new Promise((resolve) => {
          if (closed) resolve(closedFailure());
          else enqueue({ bytes: frame(payload), resolve });
        }),
      ),
    settled: () => alone(async () => undefined),
    rewrite: (payloads) => {
      if (closed) return new ResultAsync(Promise.resolve(closedFailure()));
      if (rewriting) return new ResultAsync(Promise.resolve(ok(undefined)));
      rewriting = true;
      return attempt(path, 'write', () =>
        rewrite(payloads).finally(() => {
          rewriting = false;
        }),
      );
    },
    close: async () => {
      if (closed) return;
      closed = true;
      await alone(() => bestEffort(file.handle.close()));
    },
  };
}
