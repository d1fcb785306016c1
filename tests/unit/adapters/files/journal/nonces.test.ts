import { mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type FileRunJournalOptions,
  fileRunJournal,
} from '../../../../../src/adapters/files/journal/run-journal.js';
import type { RunJournal } from '../../../../../src/ports/run-journal.js';
import { failure, value } from '../../../../contract/result.js';
import { canMount, mountTiny, temporaryDirectory, unmount } from '../identity/key-store-fixture.js';

const start = 1_800_000_000_000;
const second = 1000;
const minute = 60 * second;

describe('the nonces of a journal in files', () => {
  let home: string;
  let directory: string;
  let now: number;
  let open: RunJournal[];
  beforeEach(() => {
    home = temporaryDirectory();
    directory = join(home, 'state', 'runs');
    now = start;
    open = [];
  });
  afterEach(async () => {
    for (const cache of open) await cache.close();
    rmSync(home, { recursive: true });
  });

  const next = (options: Partial<FileRunJournalOptions> = {}): RunJournal => {
    const cache = fileRunJournal({
      directory,
      former: join(home, 'replay'),
      bootId: () => 'this boot',
      now: () => now,
      ...options,
    });
    open.push(cache);
    return cache;
  };
  const restart = async (options: Partial<FileRunJournalOptions> = {}): Promise<RunJournal> => {
    for (const cache of open.splice(0)) await cache.close();
    return next(options);
  };
  const complete = async (cache: RunJournal) => value(await cache.complete());
  const enter = async (cache: RunJournal, nonce: string, until = now + 90 * second) => {
    const { kind } = value(await cache.claim({ nonce: { keyid: 'key', nonce, until } }, now));
    return kind === 'begun' ? 'fresh' : kind;
  };
  const begun = async (): Promise<RunJournal> => {
    const cache = next();
    value(await cache.begin());
    return cache;
  };
  const newest = () => join(directory, 'runs.journal');

  it('without a record it is not complete, and stays so until all that may be lost has ended', async () => {
    expect(await complete(next())).toBe(false);
    for (const after of [5, 100, 200, 354]) {
      now = start + after * second;
      expect(await complete(await restart()), `${after} s`).toBe(false);
    }
    now = start + 360 * second;
    expect(await complete(await restart())).toBe(false);
    now = start + 361 * second;
    expect(await complete(await restart())).toBe(true);
    expect(await complete(await restart())).toBe(true);
  });

  it('what was lost is not accepted when the clock is set back after it ended', async () => {
    await complete(next());
    now = start + 361 * second;
    const cache = await restart();
    expect(await complete(cache)).toBe(true);
    now = start;
    expect(await enter(cache, 'lost', start + 200 * second)).toBe('replayed');
  });

  it('a process that begins before the loss was found counts it from its own beginning', async () => {
    await complete(next());
    now = start - minute;
    const cache = await restart();
    expect(await complete(cache)).toBe(false);
    expect(await enter(cache, 'lost', start + 200 * second)).toBe('replayed');
    now = start + 301 * second;
    expect(await complete(await restart())).toBe(true);
  });

  it('is complete for the next process of the same boot, and for no other', async () => {
    await begun();
    expect(await complete(await restart())).toBe(true);
    expect(await complete(await restart({ bootId: () => 'another boot' }))).toBe(false);
    now += 361 * second;
    expect(await complete(await restart({ bootId: () => undefined }))).toBe(false);
    now += 361 * second;
    expect(await complete(await restart({ bootId: () => undefined }))).toBe(false);
  });

  it('after a reboot what can be read is still known', async () => {
    const cache = await begun();
    await enter(cache, 'a');
    const after = await restart({ bootId: () => 'another boot' });
    expect(await complete(after)).toBe(false);
    expect(await enter(after, 'a')).toBe('replayed');
    expect(await enter(after, 'b')).toBe('fresh');
  });

  it('only its owner can read it', async () => {
    await enter(await begun(), 'a');
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(statSync(newest()).mode & 0o777).toBe(0o600);
  });

  it('a last entry that was cut off anywhere is dropped, and the record is complete', async () => {
    let cache = await begun();
    for (let cut = 1; cut < 60; cut += 1) {
      await enter(cache, `before ${cut}`);
      await enter(cache, `cut ${cut}`);
      await cache.close();
      const path = newest();
      truncateSync(path, statSync(path).size - cut);
      cache = await restart();
      expect(await complete(cache), `${cut} bytes`).toBe(true);
      expect(await enter(cache, `before ${cut}`)).toBe('replayed');
      expect(await enter(cache, `cut ${cut}`)).toBe('fresh');
    }
  });

  it('a record that was changed anywhere is not complete', async () => {
    const cache = await begun();
    await enter(cache, 'a');
    await enter(cache, 'b');
    await cache.close();
    const path = newest();
    const whole = readFileSync(path);
    for (let at = 0; at < whole.length; at += 1) {
      now += 361 * second;
      rmSync(newest());
      const changed = Buffer.from(whole);
      changed.writeUInt8(changed.readUInt8(at) ^ 0x10, at);
      writeFileSync(path, changed);
      expect(await complete(await restart()), `byte ${at}`).toBe(false);
    }
  });

  it('what has ended leaves the disk, what has not is kept', async () => {
    const journal = await begun();
    let largest = 0;
    for (let round = 0; round < 500; round += 1) {
      now += second;
      const nonces = Array.from({ length: 20 }, (_, index) => `n${round}-${index}`);
      const verdicts = await Promise.all(nonces.map((nonce) => enter(journal, nonce)));
      expect(new Set(verdicts)).toEqual(new Set(['fresh']));
      largest = Math.max(largest, statSync(newest()).size);
    }
    expect(largest).toBeLessThan(1024 * 1024);
    const after = await restart();
    expect(await complete(after)).toBe(true);
    for (let round = 0; round < 500; round += 1) {
      const until = start + (round + 1 + 90) * second;
      expect(await enter(after, `n${round}-7`, until), `n${round}`).toBe('replayed');
    }
    now += 10 * minute;
    expect(await enter(await restart(), 'later')).toBe('fresh');
    await restart();
    expect(statSync(newest()).size).toBeLessThan(1024);
  });

  it('another process begins a record only where nobody holds one', async () => {
    const daemon = await begun();
    await enter(daemon, 'a');
    const pairing = next();
    value(await pairing.begin());
    await enter(daemon, 'b');
    const after = await restart();
    expect(await complete(after)).toBe(true);
    expect(await enter(after, 'a')).toBe('replayed');
    expect(await enter(after, 'b')).toBe('replayed');
  });

  it('a record that was begun aside does not keep the next process waiting', async () => {
    const pairing = next();
    value(await pairing.begin());
    expect(await complete(next())).toBe(true);
  });

  it('what is closed says so', async () => {
    const cache = await begun();
    await enter(cache, 'a');
    await cache.close();
    await cache.close();
    const late = await cache.claim({ nonce: { keyid: 'key', nonce: 'b', until: now + minute } }, now);
    expect(failure(late).reason).toBe('EBADF');
  });

  it('a place that is none is an error, and trying again may succeed', async () => {
    mkdirSync(join(home, 'state'));
    writeFileSync(directory, '');
    const cache = next();
    expect(failure(await cache.complete()).code).toBe('file_failed');
    rmSync(directory);
    expect(await complete(cache)).toBe(false);
  });

  it.skipIf(!canMount())(
    'on a full disk nothing is fresh, and the record stays whole (needs mount)',
    async () => {
      mkdirSync(directory, { recursive: true });
      mountTiny(directory);
      try {
        const cache = await begun();
        expect(await enter(cache, 'a')).toBe('fresh');
        const filler = join(directory, 'filler');
        for (const size of [32_768, 16_384, 8192, 4096, 4096]) {
          try {
            writeFileSync(filler, Buffer.alloc(size), { flag: 'a' });
          } catch {
            // As full as it gets.
          }
        }
        const entries = Array.from({ length: 400 }, (_, index) => `n${index}`);
        const results = [];
        for (const nonce of entries) {
          results.push(await cache.claim({ nonce: { keyid: 'key', nonce, until: now + minute } }, now));
        }
        expect(results.some((each) => each.isErr())).toBe(true);
        rmSync(filler);
        expect(await enter(cache, 'room again')).toBe('fresh');
        const after = await restart();
        expect(await complete(after)).toBe(true);
        expect(await enter(after, 'a')).toBe('replayed');
        expect(await enter(after, 'room again')).toBe('replayed');
        for (const [index, result] of results.entries()) {
          if (result.isOk()) expect(await enter(after, `n${index}`)).toBe('replayed');
        }
        await after.close();
      } finally {
        for (const cache of open.splice(0)) await cache.close();
        unmount(directory);
      }
    },
  );
});
