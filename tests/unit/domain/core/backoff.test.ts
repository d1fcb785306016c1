import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoff, jittered } from '../../../../src/domain/core/backoff.js';

describe('a wait between attempts', () => {
  it('grows from the first to the last', () => {
    const waits = (growth: number | 'steady') =>
      [0, 1, 2, 3, 4, 1_000_000].map((attempt) => backoff(attempt, { first: 100, last: 1000, growth }));
    expect(waits(2)).toEqual([100, 200, 400, 800, 1000, 1000]);
    expect(waits(1.5)).toEqual([100, 150, 225, 337.5, 506.25, 1000]);
    expect(waits('steady')).toEqual([100, 200, 300, 400, 500, 1000]);
  });

  it('that is none stays none, and none is longer than the last', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(100_000), fc.nat(100_000), (attempt, first, last) => {
        const wait = backoff(attempt, { first, last, growth: 2 });
        expect(wait).toBeLessThanOrEqual(last);
        expect(backoff(attempt, { first: 0, last, growth: 2 })).toBe(0);
      }),
    );
  });

  it('is spread to both sides', () => {
    expect([0, 0.5, 0.75].map((chance) => jittered(100, 0.1, chance))).toEqual([90, 100, 105]);
  });
});
