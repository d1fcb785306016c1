import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RunResult } from '../../src/domain/protocol/run-messages.js';
import { type KnownRun, type RunClaim, type RunJournal, voidLife } from '../../src/ports/run-journal.js';
import { failure, value } from './result.js';

/** An empty journal for one test. */
export interface RunJournalSubject {
  readonly journal: RunJournal;
  /** Closes it and opens the same record anew. */
  reopen(): Promise<RunJournal>;
  /** Called after the test. */
  dispose(): Promise<void>;
}

const start = 1_800_000_000_000;
const minute = 60_000;
const key = (reqid: string, owner = 'dispatcher-1') => ({ owner, reqid });
const resultOf = (stdout: string): RunResult => ({ exit: 0, stdout, stderr: '' });

/**
 * What holds for every `RunJournal`. `create` makes an empty one with 8 places for nonces and 8 for runs, 3 voids of one owner and
 * room for 150 bytes of results, each counted as JSON, on this monotonic clock.
 */
export function runJournalContract(
  name: string,
  create: (monotonic: () => number) => Promise<RunJournalSubject>,
): void {
  describe(`run journal contract: ${name}`, () => {
    let subject: RunJournalSubject;
    let journal: RunJournal;
    let now: number;
    beforeEach(async () => {
      now = 1_000_000;
      subject = await create(() => now);
      journal = subject.journal;
    });
    afterEach(() => subject.dispose());

    const reopen = async () => {
      journal = await subject.reopen();
    };
    const begin = async (reqid: string, startedAt = 1000, owner?: string) =>
      value(await journal.claim({ run: { ...key(reqid, owner), script: 'backup' } }, startedAt));
    const end = async (reqid: string, stdout: string, finishedAt = 2000) =>
      value(await journal.end(key(reqid), finishedAt, resultOf(stdout)));
    const find = async (reqid: string, owner?: string) => value(await journal.find(key(reqid, owner)));
    const settle = async (reqid: string, owner?: string) => value(await journal.settle(key(reqid, owner)));
    const purge = async (before: number) => value(await journal.purge(before));
    const outputOf = (run: KnownRun | undefined) => (run?.state === 'done' ? run.result?.stdout : undefined);
    const verdictOf = ({ kind }: RunClaim) => (kind === 'begun' ? 'fresh' : kind);
    const enter = async (nonce: string, until: number, at: number, keyid = 'key') =>
      verdictOf(value(await journal.claim({ nonce: { keyid, nonce, until } }, at)));
    /** As `enter`, in turn by four keys, so that none of them comes to its share. */
    const enterNth = (index: number, until: number, at: number) =>
      enter(`n${index}`, until, at, `key${index % 4}`);
    const complete = async () => value(await journal.complete());

    describe('runs', () => {
      it('a run that nobody began is unknown', async () => {
        expect(await find('r1')).toBeUndefined();
      });

      it('a run begins once and is running until it ends', async () => {
        expect(await begin('r1')).toEqual({ kind: 'begun' });
        const run = { state: 'running', script: 'backup', startedAt: 1000 };
        expect(await begin('r1', 1500)).toEqual({ kind: 'known', run });
        expect(await find('r1')).toEqual(run);
      });

      it('a run that ended is known with its result', async () => {
        await begin('r1');
        await end('r1', '{"exit":0}');
        const run = {
          state: 'done',
          script: 'backup',
          startedAt: 1000,
          finishedAt: 2000,
          result: resultOf('{"exit":0}'),
        };
        expect(await find('r1')).toEqual(run);
        expect(await begin('r1', 3000)).toEqual({ kind: 'known', run });
      });

      it('a result without output is a result', async () => {
        await begin('r1');
        await end('r1', '');
        expect(outputOf(await find('r1'))).toBe('');
      });

      it('a run belongs to the dispatcher that began it, and names do not run into each other', async () => {
        expect(await begin('bc', 1, 'a')).toEqual({ kind: 'begun' });
        expect(await find('bc', 'other')).toBeUndefined();
        expect(await begin('c', 2, 'ab')).toEqual({ kind: 'begun' });
        expect(await find('bc', 'a')).toMatchObject({ startedAt: 1 });
      });

      it('names cannot reach anything outside', async () => {
        for (const reqid of ['../../escape', '/etc/passwd', '', '.', 'a\0b']) {
          expect(await begin(reqid)).toEqual({ kind: 'begun' });
          await end(reqid, reqid);
          expect(outputOf(await find(reqid))).toBe(reqid);
          expect(await purge(5000)).toBe(1);
        }
      });

      it('of many that begin one run at once exactly one does', async () => {
        const claims = await Promise.all(Array.from({ length: 20 }, (_, index) => begin(`r${index % 2}`)));
        expect(claims.filter(({ kind }) => kind === 'begun')).toHaveLength(2);
        expect(claims.filter(({ kind }) => kind === 'known')).toHaveLength(18);
      });

      it('a run ends once; what never ran cannot end', async () => {
        expect(failure(await journal.end(key('r1'), 2000, resultOf('x'))).code).toBe('file_failed');
        await begin('r1');
        const ends = await Promise.all(
          ['a', 'b'].map((answer) => journal.end(key('r1'), 2000, resultOf(answer))),
        );
        expect(ends.map((each) => each.isOk())).toEqual([true, false]);
        expect(outputOf(await find('r1'))).toBe('a');
      });

      it('a store that is full takes no further run and forgets none', async () => {
        for (const reqid of ['r1', 'r2', 'r3', 'r4']) expect(await begin(reqid)).toEqual({ kind: 'begun' });
        for (const reqid of ['r1', 'r2', 'r3', 'r4'])
          expect(await begin(reqid, 1000, 'other')).toEqual({ kind: 'begun' });
        await end('r1', 'x');
        expect(await begin('r1', 1000, 'third')).toEqual({ kind: 'full', of: 'runs' });
        expect(await settle('r2', 'third')).toEqual({ kind: 'full' });
        expect(await begin('r1')).toMatchObject({ kind: 'known' });
        expect(await purge(5000)).toBe(1);
        expect(await begin('r1', 1000, 'third')).toEqual({ kind: 'begun' });
      });

      it('one owner has at most half of the places, and the others have the rest', async () => {
        for (const reqid of ['r1', 'r2', 'r3']) expect(await begin(reqid)).toEqual({ kind: 'begun' });
        expect(await settle('v1')).toMatchObject({ kind: 'void' });
        expect(await begin('r4')).toEqual({ kind: 'full', of: 'runs' });
        expect(await settle('v2')).toEqual({ kind: 'full' });
        expect(await find('v2')).toBeUndefined();
        expect(await settle('v1')).toMatchObject({ kind: 'void' });
        expect(await begin('r4', 1000, 'other')).toEqual({ kind: 'begun' });
        await end('r1', 'x');
        expect(await purge(5000)).toBe(1);
        expect(await begin('r4')).toEqual({ kind: 'begun' });
      });

      it('an id that nobody began is void once it is settled, and is never begun', async () => {
        expect(await settle('r1')).toMatchObject({ kind: 'void' });
        expect(await find('r1')).toEqual({ state: 'void' });
        expect(await begin('r1')).toEqual({ kind: 'known', run: { state: 'void' } });
        expect(await settle('r1')).toMatchObject({ kind: 'void' });
        expect((await journal.end(key('r1'), 2000, resultOf('x'))).isErr()).toBe(true);
      });

      it('a void is of its owner alone', async () => {
        await settle('r1');
        expect(await find('r1', 'other')).toBeUndefined();
        expect(await begin('r1', 1000, 'other')).toEqual({ kind: 'begun' });
      });

      it('a run that was begun is settled by what is known of it', async () => {
        await begin('r1');
        expect(await settle('r1')).toEqual({
          kind: 'known',
          run: { state: 'running', script: 'backup', startedAt: 1000 },
        });
        await end('r1', 'x');
        expect(await settle('r1')).toMatchObject({
          kind: 'known',
          run: { state: 'done', result: resultOf('x') },
        });
      });

      it('of those that begin and settle one id at once the first decides for all', async () => {
        for (const isFirst of [true, false]) {
          const reqid = `r${isFirst}`;
          const all = Array.from({ length: 10 }, (_, index) =>
            (index % 2 === 0) === isFirst ? begin(reqid) : settle(reqid),
          );
          const kinds = (await Promise.all(all)).map(({ kind }) => kind);
          expect(kinds.filter((kind) => kind === 'begun')).toHaveLength(isFirst ? 1 : 0);
          expect(kinds.filter((kind) => kind === 'void')).toHaveLength(isFirst ? 0 : 5);
        }
      });

      it('one owner has so many voids, and more when they are old; runs are none of them', async () => {
        await begin('r1');
        for (const reqid of ['v1', 'v2', 'v3']) expect(await settle(reqid)).toMatchObject({ kind: 'void' });
        await purge(500);
        expect(await settle('v4', 'other')).toMatchObject({ kind: 'void' });
        now += voidLife - 1;
        await purge(Number.MAX_SAFE_INTEGER);
        expect(await find('v1')).toEqual({ state: 'void' });
        await settle('v3');
        now += 2;
        expect(await purge(500)).toBe(3);
        expect(await find('v1')).toBeUndefined();
        expect(await find('v3')).toEqual({ state: 'void' });
        expect(await settle('v4')).toMatchObject({ kind: 'void' });
      });

      it('voids leave room for runs, up to their own limit', async () => {
        for (const reqid of ['v1', 'v2', 'v3']) await settle(reqid);
        expect(await settle('v4')).toEqual({ kind: 'full' });
        expect(await begin('v4')).toEqual({ kind: 'begun' });
      });

      it('is complete since it was opened, and since the youngest run of this owner that was forgotten', async () => {
        expect(await settle('v1')).toEqual({ kind: 'void', completeFor: 0 });
        now += 1000;
        expect(await settle('v1')).toEqual({ kind: 'void', completeFor: 1000 });
        await begin('old', 1);
        await end('old', 'x');
        now += 50;
        await begin('young', 2);
        await end('young', 'x');
        now += 200;
        expect(await settle('v1')).toEqual({ kind: 'void', completeFor: 1250 });
        await purge(2);
        expect(await settle('v1')).toEqual({ kind: 'void', completeFor: 250 });
        await purge(3);
        expect(await settle('v1')).toEqual({ kind: 'void', completeFor: 200 });
        expect(await settle('v1', 'other')).toEqual({ kind: 'void', completeFor: 1250 });
      });

      it('a void that is forgotten is no claim that is', async () => {
        await settle('v1');
        now += voidLife + 1;
        expect(await purge(0)).toBe(1);
        expect(await settle('v2')).toEqual({ kind: 'void', completeFor: voidLife + 1 });
      });

      it('what began before a moment and is not running is forgotten', async () => {
        await begin('old', 1000);
        await begin('young', 3000);
        await begin('running', 1000);
        await end('old', 'x');
        await end('young', 'y', 4000);
        expect(await purge(3000)).toBe(1);
        expect(await purge(3000)).toBe(0);
        expect(await find('old')).toBeUndefined();
        expect(outputOf(await find('young'))).toBe('y');
        expect(await find('running')).toMatchObject({ state: 'running' });
        expect(await begin('old', 5000)).toEqual({ kind: 'begun' });
      });

      it('the oldest results make room for new ones and leave their runs done', async () => {
        for (const reqid of ['r1', 'r2', 'r3']) {
          await begin(reqid);
          await end(reqid, reqid.repeat(20));
        }
        expect(await find('r1')).toMatchObject({ state: 'done', result: undefined });
        expect(await begin('r1')).toMatchObject({ kind: 'known', run: { state: 'done' } });
        expect(outputOf(await find('r2'))).toBe('r2'.repeat(20));
        expect(outputOf(await find('r3'))).toBe('r3'.repeat(20));
      });

      it('a result that is larger than all the room is not kept and drops no other', async () => {
        await begin('r1');
        await end('r1', 'small');
        await begin('r2');
        await end('r2', 'x'.repeat(151));
        expect(await find('r2')).toMatchObject({ state: 'done', result: undefined });
        expect(outputOf(await find('r1'))).toBe('small');
      });

      it('what was purged gives its room back', async () => {
        await begin('r1', 1000);
        await end('r1', 'x'.repeat(100));
        await begin('r2', 2000);
        await purge(2000);
        await end('r2', 'y'.repeat(80));
        expect(outputOf(await find('r2'))).toBe('y'.repeat(80));
        await begin('r3');
        await end('r3', '');
        expect(outputOf(await find('r2'))).toBe('y'.repeat(80));
      });
    });

    describe('a run together with its nonce', () => {
      const both = async (nonce: string, reqid: string, owner?: string) =>
        value(
          await journal.claim(
            {
              nonce: { keyid: 'key', nonce, until: start + minute },
              run: { ...key(reqid, owner), script: 'backup' },
            },
            start,
          ),
        );

      it('begins once, whichever of the two was seen before', async () => {
        expect(await both('a', 'r1')).toEqual({ kind: 'begun' });
        expect(await both('a', 'r1')).toEqual({ kind: 'replayed' });
        expect(await both('a', 'r2')).toEqual({ kind: 'replayed' });
        expect(await find('r2')).toBeUndefined();
        const run = { state: 'running', script: 'backup', startedAt: start };
        expect(await both('b', 'r1')).toEqual({ kind: 'known', run });
        expect(await enter('b', start + minute, start)).toBe('replayed');
      });

      it('is not begun where there is no place for one of the two', async () => {
        for (const reqid of ['r1', 'r2', 'r3', 'r4']) await begin(reqid);
        expect(await both('a', 'r5')).toEqual({ kind: 'full', of: 'runs' });
        expect(await both('a', 'r5', 'other')).toEqual({ kind: 'replayed' });
        expect(await both('b', 'r5', 'other')).toEqual({ kind: 'begun' });
        expect(await both('c', 'r6', 'other')).toEqual({ kind: 'full', of: 'requests' });
        expect(await find('r6', 'other')).toBeUndefined();
      });

      it('of many at once one begins, also for the next process', async () => {
        value(await journal.begin());
        const claims = await Promise.all(
          Array.from({ length: 20 }, (_, index) => both(`n${index % 2}`, 'r1')),
        );
        const count = (wanted: string) => claims.filter(({ kind }) => kind === wanted).length;
        expect([count('begun'), count('known'), count('replayed')]).toEqual([1, 1, 18]);
        await reopen();
        expect(await both('n0', 'r1')).toEqual({ kind: 'replayed' });
        expect(await begin('r1')).toMatchObject({ kind: 'known', run: { script: 'backup' } });
      });
    });

    describe('nonces', () => {
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

      it('of many that claim the same nonce at once exactly one is fresh', async () => {
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

      it('a journal that is full of nonces enters nothing and drops nothing', async () => {
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
        await reopen();
        expect(await enter('n2', start + minute, start, 'thief')).toBe('full');
        expect(await enter('n2', start + minute, start, 'a')).toBe('fresh');
        expect(await enter('n2', start + 3 * minute, start + minute + 1, 'thief')).toBe('fresh');
        expect(await enter('n3', start + 3 * minute, start + minute + 1, 'thief')).toBe('fresh');
        expect(await enter('n4', start + 3 * minute, start + minute + 1, 'thief')).toBe('full');
      });

      it('a place is free again when its entry has ended', async () => {
        for (let index = 0; index < 8; index += 1)
          await enterNth(index, start + minute + 1000 * index, start);
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
            const one = await create(() => 0);
            try {
              const accepted = new Set<string>();
              const requests: { nonce: string; until: number }[] = [];
              let now = start;
              let open = one.journal;
              const send = async (request: { nonce: string; until: number }) => {
                const verdict = verdictOf(
                  value(await open.claim({ nonce: { keyid: 'key', ...request } }, now)),
                );
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

      it('a journal that was begun anew holds no nonce and is complete', async () => {
        await enter('a', start + minute, start);
        value(await journal.begin());
        expect(await complete()).toBe(true);
        expect(await enter('a', start + minute, start)).toBe('fresh');
        expect(await enter('a', start + minute, start)).toBe('replayed');
      });

      it('a journal that was begun anew is complete for the next process, and it holds what was entered', async () => {
        value(await journal.begin());
        await enter('a', start + minute, start);
        await reopen();
        expect(await complete()).toBe(true);
        expect(await enter('a', start + minute, start)).toBe('replayed');
        expect(await enter('b', start + minute, start)).toBe('fresh');
      });

      it('what was entered while a journal is begun anew is not fresh twice', async () => {
        const [first, , second] = await Promise.all([
          enter('a', start + minute, start),
          journal.begin(),
          enter('b', start + minute, start),
        ]);
        expect([first, second]).toEqual(['fresh', 'fresh']);
        expect(await enter('b', start + minute, start)).toBe('replayed');
      });

      it('a journal that is full of nonces is full for the next process', async () => {
        for (let index = 0; index < 8; index += 1) await enterNth(index, start + minute, start);
        await reopen();
        expect(await enter('more', start + minute, start)).toBe('full');
        expect(await enter('more', start + 2 * minute, start + minute + 1)).toBe('fresh');
      });
    });
  });
}
