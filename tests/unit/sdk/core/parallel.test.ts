import fc from 'fast-check';
import { errAsync, okAsync, type ResultAsync } from 'neverthrow';
import { describe, expect, it } from 'vitest';
import { inTurn, once, parallel } from '../../../../src/sdk/core/parallel.js';
import { failure, value } from '../../../contract/result.js';
import { deferred } from '../../../support/network/network.js';

describe('parallel', () => {
  it('of nothing is nothing, and asks nobody', async () => {
    let asked = 0;
    const work = async () => {
      asked += 1;
    };
    expect(await parallel([], 64, work)).toEqual([]);
    expect(await parallel([], 0, work)).toEqual([]);
    expect(asked).toBe(0);
  });

  it('works on every item once, at most so many at a time, and keeps the order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(3), { maxLength: 20 }),
        fc.integer({ min: 1, max: 8 }),
        async (turns, limit) => {
          let underWay = 0;
          let most = 0;
          const results = await parallel([...turns.entries()], limit, async ([index, count]) => {
            underWay += 1;
            most = Math.max(most, underWay);
            for (let turn = 0; turn <= count; turn += 1) await Promise.resolve();
            underWay -= 1;
            return index;
          });
          expect(results).toEqual(turns.map((_, index) => index));
          expect(most).toBeLessThanOrEqual(limit);
          if (turns.length > 0) expect(most).toBe(Math.min(limit, turns.length));
        },
      ),
    );
  });

  it('begins the next item as soon as any has ended', async () => {
    const slow = deferred();
    const begun: number[] = [];
    const all = parallel([0, 1, 2], 2, async (item) => {
      begun.push(item);
      if (item === 0) await slow.promise;
      if (item === 2) slow.resolve();
    });
    await all;
    expect(begun).toEqual([0, 1, 2]);
  });
});

describe('once', () => {
  it('opens at the first use, and only then', async () => {
    let opened = 0;
    const open = once(() => okAsync(++opened));
    expect(opened).toBe(0);
    expect((await Promise.all([open(), open()])).map((result) => value(result))).toEqual([1, 1]);
    expect(value(await open())).toBe(1);
  });

  it('tries again after a failure', async () => {
    let tries = 0;
    const open = once((): ResultAsync<number, string> => {
      tries += 1;
      return tries === 1 ? errAsync('busy') : okAsync(tries);
    });
    expect(failure(await open())).toBe('busy');
    expect(value(await open())).toBe(2);
    expect(value(await open())).toBe(2);
  });
});

describe('inTurn', () => {
  it('begins a work when the one before has ended, whether that failed or not', async () => {
    const turn = inTurn();
    const steps: string[] = [];
    const first = deferred();
    const works = [
      turn(() => okAsync(steps.push('first')).map(() => first.promise)),
      turn(() => {
        steps.push('second');
        return errAsync('no');
      }),
      turn(() => okAsync(steps.push('third'))),
    ];
    await new Promise((resolve) => setImmediate(resolve));
    expect(steps).toEqual(['first']);
    first.resolve();
    const ends = await Promise.all(works);
    expect(ends.map((end) => end.isOk())).toEqual([true, false, true]);
    expect(steps).toEqual(['first', 'second', 'third']);
  });
});
