import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { countOne, isSpent, type RateCount, type RateLimit } from '../../../../src/domain/core/rate-limit.js';

const limit: RateLimit = { limit: 3, window: 60, block: 300 };

/** Whether each of these moments (seconds) was allowed, one after the other. */
const allowed = (seconds: readonly number[], rate = limit) => {
  let count: RateCount | undefined;
  return seconds.map((second) => {
    const counted = countOne(count, rate, second * 1000);
    count = counted.after;
    return counted.allowed;
  });
};

describe('a rate limit', () => {
  it('lets pass as many as the limit within the window, and blocks from the next on', () => {
    expect(allowed([0, 1, 2, 3, 4, 302])).toEqual([true, true, true, false, false, false]);
  });

  it('blocks for as long as it says, from the moment that was too much', () => {
    expect(allowed([0, 0, 0, 10, 309, 310, 310, 310, 311])).toEqual([
      true,
      true,
      true,
      false,
      false,
      true,
      true,
      true,
      false,
    ]);
  });

  it('begins a new window when the old one is over', () => {
    expect(allowed([0, 59, 59, 60, 60, 60, 61])).toEqual([true, true, true, true, true, true, false]);
  });

  it('is not made longer by knocking while blocked', () => {
    expect(allowed([0, 0, 0, 0, 100, 200, 299, 300]).at(-1)).toBe(true);
  });

  it('with a limit of one allows one', () => {
    expect(allowed([0, 0], { limit: 1, window: 1, block: 1 })).toEqual([true, false]);
  });

  it('allows at most the limit between two blocks, whatever the times are', () => {
    const rates = fc.record({
      limit: fc.integer({ min: 1, max: 5 }),
      window: fc.integer({ min: 1, max: 50 }),
      block: fc.integer({ min: 1, max: 50 }),
    });
    fc.assert(
      fc.property(rates, fc.array(fc.nat(30), { maxLength: 60 }), (rate, gaps) => {
        let now = 0;
        const times = gaps.map((gap) => {
          now += gap;
          return now;
        });
        const verdicts = allowed(times, rate);
        const passed = times.filter((_, index) => verdicts[index]);
        for (const start of passed) {
          // A window begins somewhere: of any stretch as long as one, at most twice the limit passed.
          const within = passed.filter((time) => time >= start && time < start + rate.window);
          expect(within.length).toBeLessThanOrEqual(2 * rate.limit);
        }
        const first = verdicts.indexOf(false);
        if (first < 0) return;
        const blockedUntil = (times[first] ?? 0) + rate.block;
        for (const [index, time] of times.entries())
          if (index > first && time < blockedUntil) expect(verdicts[index]).toBe(false);
      }),
    );
  });
});

describe('a count that may be forgotten', () => {
  it('is one without a block whose window is over', () => {
    const { after } = countOne(undefined, limit, 0);
    expect([isSpent(after, limit, 59_999), isSpent(after, limit, 60_000)]).toEqual([false, true]);
  });

  it('is not one that still blocks', () => {
    let count: RateCount | undefined;
    for (let time = 0; time < 4; time += 1) count = countOne(count, limit, 0).after;
    if (!count) throw new Error('not counted');
    expect([isSpent(count, limit, 299_999), isSpent(count, limit, 300_000)]).toEqual([false, true]);
  });

  it('has no effect: forgetting it changes no verdict', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(200_000), { minLength: 1, maxLength: 12 }),
        fc.nat(500_000),
        (gaps, later) => {
          let now = 0;
          let count: RateCount | undefined;
          for (const gap of gaps) {
            now += gap;
            count = countOne(count, limit, now).after;
          }
          if (!count || !isSpent(count, limit, now + later)) return;
          expect(countOne(count, limit, now + later)).toEqual(countOne(undefined, limit, now + later));
        },
      ),
    );
  });
});
