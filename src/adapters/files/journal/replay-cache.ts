import { join } from 'node:path';
import { errAsync, okAsync, ResultAsync } from 'neverthrow';
import { replayWindow, type SeenDigest, secondOf } from '../../../domain/protocol/replay-window.js';
import { type ReplayCache, replayCapacity } from '../../../ports/replay-cache.js';
import { ensureDirectory } from '../atomic-write.js';
import { digestOf } from '../digest.js';
import { holdLock, type Release } from '../held-lock.js';
import { attempt, type FileFailure, systemFailure } from '../system-failure.js';
import { removeAbandoned } from '../temporary.js';
import { systemBootId } from './boot.js';
import { createJournal, type Journal } from './journal.js';
import {
  encodeEntry,
  encodeHeader,
  type Generation,
  type GenerationHeader,
  generationPath,
  loadGenerations,
  ownerOf,
  removeGenerations,
  sequencesIn,
} from './replay-generations.js';

/** Milliseconds from the acceptance of a request until nobody would accept it any more (wire-protocol 2.3). */
const LONGEST_LIFE = (30 + 300 + 30) * 1000;
const GENERATION_MILLISECONDS = 60_000;

export interface FileReplayCacheOptions {
  /** Made, 0700, when it is missing. */
  readonly directory: string;
  /** What changes when the machine is started anew; undefined: cannot be known. Default: Linux' boot id. */
  readonly bootId?: () => string | undefined;
  readonly capacity?: number;
  /** Epoch milliseconds, for `complete`. */
  readonly now?: () => number;
}

/**
 * Keeps the entries in memory and in files `replay-<n>.journal` of a minute each, 0600. A file is removed when all that it
 * holds has ended; nothing is ever rewritten. `fresh` is answered when the entry has been written, not synced: it survives
 * the process, and of a power cut the boot id tells. Opened by the first call, then held by the lock `replay.lock` until
 * `close` or the end of the process; a second process waits 5 s and fails with reason `ELOCKED`.
 *
 * `complete` after a loss. No request accepted before may be accepted after it. What was lost was accepted before the
 * record was found to be incomplete, at `lossAt`, by a clock that may be 30 s behind the sender's; so it was made at
 * `lossAt` + 30 s at the latest, and nobody accepts it after `lossAt` + 30 s + 300 s + 30 s. The caller refuses what was made before
 * its own start + 30 s. That is enough for the process that finds the loss, and for the next one, as its start is
 * later. So `lossAt` stays in the record and `complete` stays false, over any number of restarts, until 360 s after it; then
 * there is nothing left of what was lost.
 *
 * A clock that is wrong. What was forgotten leaves its time behind, in the record too (see replay-window.ts): setting the clock
 * back makes nothing acceptable again, and a clock that was ahead keeps nobody out for more than six minutes after it was
 * corrected, except at the very times that requests used while it was. When a process begins before `lossAt`, the
 * clock was set back; the six minutes from `lossAt` on are then spent, and the loss counts from now on.
 *
 * `begin` on a cache that is not open changes nothing while another process holds the record: that process knows all that it
 * accepted, and its record goes on to say so.
 */
export const fileReplayCache = (options: FileReplayCacheOptions): ReplayCache => {
  const { directory, bootId = systemBootId, capacity = replayCapacity, now = Date.now } = options;
  const lock = join(directory, 'replay.lock');
  let opened: ResultAsync<OpenRecord, FileFailure> | undefined;
  let closed = false;

  const place = () => ensureDirectory(directory, 0o700);
  const open = (): ResultAsync<OpenRecord, FileFailure> => {
    if (closed) return errAsync(systemFailure(directory, 'write', 'EBADF', 'it was closed'));
    opened ??= place()
      .andThen(() => holdLock(lock))
      .andThen((release) =>
        openRecord({ directory, boot: bootId(), capacity, now: now(), release }).orTee(release),
      )
      .orTee(() => {
        opened = undefined;
      });
    return opened;
  };

  const beginAside = () =>
    place()
      .andThen(() => holdLock(lock, 0))
      .andThen((release) =>
        beginRecord(directory, bootId())
          .andThen((journal) => ResultAsync.fromSafePromise(journal.close()))
          .andTee(release)
          .orTee(release),
      )
      .orElse((error) => (error.reason === 'ELOCKED' ? okAsync(undefined) : errAsync(error)));

  return {
    complete: () => open().map((record) => record.complete(now())),
    enter: ({ keyid, nonce, until }, at) =>
      open().andThen((record) =>
        record.enter({ digest: digestOf(keyid, nonce), owner: ownerOf(keyid) }, until, at),
      ),
    begin: () =>
      opened === undefined && !closed ? beginAside() : open().andThen((record) => record.begin()),
    close: async () => {
      closed = true;
      const record = await opened;
      if (record?.isOk()) await record.value.close();
    },
  };
};

interface OpenRecord {
  complete(now: number): boolean;
  enter(
    entry: SeenDigest,
    until: number,
    now: number,
  ): ResultAsync<'fresh' | 'replayed' | 'full', FileFailure>;
  begin(): ResultAsync<void, FileFailure>;
  close(): Promise<void>;
}

/** A new, complete record in place of all that is there. */
function beginRecord(directory: string, boot: string | undefined): ResultAsync<Journal, FileFailure> {
  return attempt(directory, 'read', () => sequencesIn(directory)).andThen((sequences) =>
    createJournal(generationPath(directory, (sequences.at(-1) ?? 0) + 1), [
      encodeHeader({ boot, older: [], spent: [], lossAt: undefined }),
    ]).andTee(() => removeGenerations(directory, sequences)),
  );
}

interface Opening {
  readonly directory: string;
  readonly boot: string | undefined;
  readonly capacity: number;
  readonly now: number;
  readonly release: Release;
}

function openRecord(opening: Opening): ResultAsync<OpenRecord, FileFailure> {
  const { directory, boot, capacity, now } = opening;
  const seen = replayWindow(capacity);
  return attempt(directory, 'read', async () => {
    await removeAbandoned(directory);
    const sequences = await sequencesIn(directory);
    return { sequences, loaded: await loadGenerations(directory, sequences, seen) };
  }).andThen(({ sequences, loaded: { generations, newest, whole } }) => {
    const known = /* defence: record-is-of-this-boot */ whole && boot !== undefined && newest?.boot === boot;
    let lossAt = newest?.lossAt;
    if (lossAt !== undefined && (now < lossAt || now > lossAt + LONGEST_LIFE)) {
      seen.spend(lifeFrom(lossAt));
      lossAt = now < lossAt ? now : undefined;
    }
    if (!known) lossAt = now;
    const sequence = (sequences.at(-1) ?? 0) + 1;
    const header = { boot, older: generations, spent: seen.spent(), lossAt };
    const kept = new Set(generations.map((each) => each.sequence));
    const ended = sequences.filter((each) => !kept.has(each));
    return createJournal(generationPath(directory, sequence), [encodeHeader(header)])
      .andTee(() => removeGenerations(directory, ended))
      .map((journal) => running(opening, { seen, journal, sequence, older: generations, lossAt }));
  });
}

const lifeFrom = (at: number): [number, number] => [Math.floor(at / 1000), secondOf(at + LONGEST_LIFE)];

interface Start {
  readonly seen: ReturnType<typeof replayWindow>;
  readonly journal: Journal;
  readonly sequence: number;
  readonly older: readonly Generation[];
  readonly lossAt: number | undefined;
}

function running({ directory, boot, capacity, release }: Opening, start: Start): OpenRecord {
  let { seen, journal, sequence, older, lossAt } = start;
  let latest = 0;
  /** When the present file was begun, by the time that `enter` is given. */
  let begunAt: number | undefined;
  let changing: ResultAsync<void, never> | undefined;
  let beginning: ResultAsync<void, never> | undefined;
  let cleaning: Promise<void> = Promise.resolve();

  /** What was lost has ended, once `now` is past the life of the last of it. */
  const settle = (now: number) => {
    if (lossAt === undefined || now <= lossAt + LONGEST_LIFE) return;
    seen.spend(lifeFrom(lossAt));
    lossAt = undefined;
  };

  const isDue = (now: number) => Math.abs(now - (begunAt ?? now)) >= GENERATION_MILLISECONDS;

  const nextFile = (now: number): ResultAsync<void, FileFailure> => {
    settle(now);
    seen.forget(now);
    const before = journal;
    return ResultAsync.fromSafePromise(before.settled()).andThen(() => {
      // The header is a frame, too.
      const present = { sequence, frames: before.frames() - 1, latest };
      const all = [...older, present];
      const kept = all.filter((each) => each.frames > 0 && each.latest * 1000 >= now);
      const header: GenerationHeader = { boot, older: kept, spent: seen.spent(), lossAt };
      return createJournal(generationPath(directory, sequence + 1), [encodeHeader(header)]).map((next) => {
        [journal, older, sequence, latest] = [next, kept, sequence + 1, 0];
        void before.close();
        const ended = all.filter((each) => !kept.includes(each)).map((each) => each.sequence);
        cleaning = cleaning.then(() => removeGenerations(directory, ended));
      });
    });
  };

  const beginAnew = () => {
    const before = journal;
    return ResultAsync.fromSafePromise(before.settled())
      .andThen(() => beginRecord(directory, boot))
      .map((next) => {
        seen = replayWindow(capacity);
        [journal, older, sequence, latest, lossAt] = [next, [], sequence + 1, 0, undefined];
        begunAt = undefined;
        void before.close();
      });
  };

  /** One change of files at a time, and no entry is written meanwhile. Whether it succeeds matters to `begin` alone. */
  const change = (body: () => ResultAsync<void, FileFailure>): ResultAsync<void, FileFailure> => {
    const done = (changing ?? okAsync(undefined)).andThen(body);
    const settled = done.orElse(() => okAsync(undefined));
    changing = settled;
    return done.andTee(clear).orTee(clear);

    function clear() {
      if (changing === settled) changing = undefined;
    }
  };

  const write = (entry: SeenDigest, second: number) => {
    latest = Math.max(latest, second);
    return journal.append(encodeEntry({ ...entry, second }));
  };

  const enter: OpenRecord['enter'] = (entry, until, now) => {
    // Judged by what there is then.
    if (beginning !== undefined) return beginning.andThen(() => enter(entry, until, now));
    const verdict = seen.enter(entry, until, now);
    if (verdict !== 'fresh') return okAsync(verdict);
    const second = secondOf(until);
    if (changing === undefined && isDue(now)) void change(() => nextFile(now));
    if (isDue(now) || begunAt === undefined) begunAt = now;
    return (changing?.andThen(() => write(entry, second)) ?? write(entry, second)).map(() => verdict);
  };

  return {
    complete: (now) => {
      settle(now);
      return lossAt === undefined;
    },
    enter,
    begin: () => {
      const begun = change(beginAnew);
      const done = begun.orElse(() => okAsync(undefined));
      beginning = done;
      const clear = () => {
        if (beginning === done) beginning = undefined;
      };
      return begun.andTee(clear).orTee(clear);
    },
    close: async () => {
      await changing;
      await journal.close();
      await cleaning;
      await release();
    },
  };
}
