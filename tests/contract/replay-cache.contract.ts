import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ReplayCache, ReplayVerdict } from '../../src/ports/replay-cache.js';
import { value } from './result.js';

/** A cache for one test. */
export interface ReplayCacheSubject {
  readonly cache: ReplayCache;
  /** Closes it and opens the same record anew. */
  reopen(): Promise<ReplayCache>;
  /** Called after the test. */
  dispose(): Promise<void>;
}

const start = 1_800_000_000_000;
const minute = 60_000;

/** What holds for every `ReplayCache`. `create` makes an empty cache with this many places. */
export function replayCacheContract(
  name: string,
  create: (capacity: number) => Promise<ReplayCacheSubject>,
): void {
  describe(`replay cache contract: ${name}`, () => {
    let subject: ReplayCacheSubject;
    let cache: ReplayCache;
    beforeEach(async () => {
      subject = await create(8);
      cache = subject.cache;
    });
    afterEach(() => subject.dispose());

    const enter = async (nonce: string, until: number, now: number, keyid = 'key'): Promise<ReplayVerdict> =>
      value(await cache.enter({ keyid, nonce, until }, now));
    /** As `enter`, in turn by four keys, so that none of them comes to its share. */
    const enterNth = (index: number, until: number, now: number) =>
      enter(`n${index}`, until, now, `key${index % 4}`);
    const complete = async () => value(await cache.complete());

    it('a nonce is fresh once', async () => {
      expect(await enter('a', start + minute, start)).toBe('fresh');
      expect(await enter('a', start + minute, start)).toBe('replayed');
      expect(await enter('a', start + minute, start + minute)).toBe('replayed');
      expect(await enter('b', start + minute, start)).toBe('fresh');
    });

    it('a nonce is fresh once whatever its time is said to be', async () => {
      expect(await enter('a', start + minute, start)).toBe('fresh');
      expect(await enter('a', start + 2 * minute, start)).toBe('replayed');
    });

    it('the same nonce of another key is another entry, and the two do not run into each other', async () => {
      expect(await enter('bc', start + minute, start, 'a')).toBe('fresh');
      expect(await enter('c', start + minute, start, 'ab')).toBe('fresh');
      expect(await enter('', start + minute, start, 'abc')).toBe('fresh');
      expect(await enter('bc', start + minute, start, 'a')).toBe('replayed');
    });

    it('of many that enter the same nonce at once exactly one is fresh', async () => {
      const verdicts = await Promise.all(
        Array.from({ length: 50 }, (_, index) =>
          enter(`n${index % 5}`, start + minute, start, `key${index % 5}`),
        ),
      );
      expect(verdicts.filter((verdict) => verdict === 'fresh')).toHaveLength(5);
      expect(verdicts.filter((verdict) => verdict === 'replayed')).toHaveLength(45);
    });

    it('what has ended already is not fresh', async () => {
      expect(await enter('a', start - 1, start)).toBe('replayed');
      expect(await enter('b', start, start)).toBe('fresh');
    });

    it('a full cache enters nothing and drops nothing', async () => {
      for (let index = 0; index < 8; index += 1)
        expect(await enterNth(index, start + minute, start)).toBe('fresh');
      expect(await enter('more', start + minute, start)).toBe('full');
      expect(await enter('more', start + 5 * minute, start + minute)).toBe('full');
      for (let index = 0; index < 8; index += 1)
        expect(await enterNth(index, start + minute, start)).toBe('replayed');
    });

    it('one key has a quarter of the places, and what it tries beyond keeps no other one out', async () => {
      for (let index = 0; index < 20; index += 1)
        expect(await enter(`n${index}`, start + minute, start, 'thief')).toBe(index < 2 ? 'fresh' : 'full');
      expect(await enter('n0', start + minute, start, 'thief')).toBe('replayed');
      for (const key of ['a', 'b', 'c'])
        for (const nonce of ['n0', 'n1'])
          expect(await enter(nonce, start + minute, start, key)).toBe('fresh');
      expect(await enter('later', start + 3 * minute, start + minute + 1, 'thief')).toBe('fresh');
    });

    it('one key has a quarter of the places for the next process, too', async () => {
      for (const nonce of ['n0', 'n1']) await enter(nonce, start + minute, start, 'thief');
      cache = await subject.reopen();
      expect(await enter('n2', start + minute, start, 'thief')).toBe('full');
      expect(await enter('n2', start + minute, start, 'a')).toBe('fresh');
      expect(await enter('n2', start + 3 * minute, start + minute + 1, 'thief')).toBe('fresh');
      expect(await enter('n3', start + 3 * minute, start + minute + 1, 'thief')).toBe('fresh');
      expect(await enter('n4', start + 3 * minute, start + minute + 1, 'thief')).toBe('full');
    });

    it('a place is free again when its entry has ended', async () => {
      for (let index = 0; index < 8; index += 1) await enterNth(index, start + minute + 1000 * index, start);
      expect(await enter('more', start + 3 * minute, start + minute)).toBe('full');
      expect(await enter('more', start + 3 * minute, start + minute + 1)).toBe('fresh');
      expect(await enter('again', start + 3 * minute, start + minute + 2)).toBe('full');
      expect(await enter('more', start + 3 * minute, start + minute + 2)).toBe('replayed');
    });

    it('setting the clock back makes nothing acceptable again', async () => {
      await enter('a', start + minute, start);
      expect(await enter('b', start + 3 * minute, start + 2 * minute)).toBe('fresh');
      expect(await enter('a', start + minute, start)).toBe('replayed');
      expect(await enter('b', start + 3 * minute, start)).toBe('replayed');
    });

    it('a clock that was ahead for a while keeps nobody out after it was corrected', async () => {
      const year = 365 * 24 * 60 * minute;
      await enter('a', start + minute, start);
      expect(await enter('ahead', start + year + minute, start + year)).toBe('fresh');
      expect(await enter('b', start + year + 3 * minute, start + year + 2 * minute)).toBe('fresh');
      expect(await enter('corrected', start + 2 * minute, start + minute / 2)).toBe('fresh');
      expect(await enter('ahead', start + year + minute, start + minute)).toBe('replayed');
      expect(await enter('a', start + minute, start + minute)).toBe('replayed');
    });

    it('accepts no request twice, however clock, restarts and requests are mixed', async () => {
      const step = fc.oneof(
        fc.record({
          kind: fc.constant('enter' as const),
          nonce: fc.nat(5),
          life: fc.integer({ min: 0, max: 360 }),
        }),
        fc.record({ kind: fc.constant('clock' as const), by: fc.integer({ min: -4000, max: 4000 }) }),
        fc.record({ kind: fc.constant('reopen' as const) }),
      );
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
          const one = await create(8);
          try {
            const accepted = new Set<string>();
            const requests: { nonce: string; until: number }[] = [];
            let now = start;
            let open = one.cache;
            const send = async (request: { nonce: string; until: number }) => {
              const verdict = value(await open.enter({ keyid: 'key', ...request }, now));
              const text = JSON.stringify(request);
              if (verdict === 'fresh') {
                expect(accepted).not.toContain(text);
                accepted.add(text);
              }
            };
            for (const each of steps) {
              if (each.kind === 'clock') now += each.by * 1000;
              else if (each.kind === 'reopen') open = await one.reopen();
              else {
                requests.push({ nonce: `n${each.nonce}`, until: now + each.life * 1000 });
                for (const request of requests) await send(request);
              }
            }
          } finally {
            await one.dispose();
          }
        }),
        { numRuns: 60 },
      );
    });

    it('a record that was begun is empty and complete', async () => {
      await enter('a', start + minute, start);
      value(await cache.begin());
      expect(await complete()).toBe(true);
      expect(await enter('a', start + minute, start)).toBe('fresh');
      expect(await enter('a', start + minute, start)).toBe('replayed');
    });

    it('a record that was begun is complete for the next process, and it holds what was entered', async () => {
      value(await cache.begin());
      await enter('a', start + minute, start);
      cache = await subject.reopen();
      expect(await complete()).toBe(true);
      expect(await enter('a', start + minute, start)).toBe('replayed');
      expect(await enter('b', start + minute, start)).toBe('fresh');
    });

    it('what was entered while a record is begun is not fresh twice', async () => {
      const [first, , second] = await Promise.all([
        enter('a', start + minute, start),
        cache.begin(),
        enter('b', start + minute, start),
      ]);
      expect([first, second]).toEqual(['fresh', 'fresh']);
      expect(await enter('b', start + minute, start)).toBe('replayed');
    });

    it('a full cache is full for the next process', async () => {
      for (let index = 0; index < 8; index += 1) await enterNth(index, start + minute, start);
      cache = await subject.reopen();
      expect(await enter('more', start + minute, start)).toBe('full');
      expect(await enter('more', start + 2 * minute, start + minute + 1)).toBe('fresh');
    });
  });
}
