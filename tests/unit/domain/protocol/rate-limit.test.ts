import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type RateLimit, sourceLimits } from '../../../../src/domain/protocol/source-limits.js';

const limit: RateLimit = { limit: 3, window: 60, block: 300 };

/** Whether each of these moments (seconds) was allowed, one after the other. */
const allowed = (seconds: readonly number[], rate = limit) => {
  const sources = sourceLimits(1);
  return seconds.map((second) => {
    const now = second * 1000;
    if (sources.isBlocked('a', now)) return false;
    sources.takeEnded(now);
    return sources.count('a', ['volume'], { volume: rate, probe: rate }, now) === undefined;
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
    // Who was blocked begins anew: a block that is shorter than the window lets more pass.
    const rates = fc
      .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 50 }), fc.nat(50))
      .map(([limit, window, longer]) => ({ limit, window, block: window + longer }));
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
