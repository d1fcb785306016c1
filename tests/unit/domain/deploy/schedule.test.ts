import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  firstWait,
  fraction,
  fractionBytes,
  nextWait,
  pollBackoff,
  pullIntervals,
} from '../../../../src/domain/deploy/schedule.js';

const chances = fc
  .uint8Array({ minLength: fractionBytes, maxLength: fractionBytes })
  .map((bytes) => fraction(bytes));

describe('when a pull agent calls', () => {
  it('a fraction is at least 0 and below 1, whatever the bytes', () => {
    fc.assert(fc.property(chances, (chance) => chance >= 0 && chance < 1));
    expect(fraction(new Uint8Array(fractionBytes))).toBe(0);
    expect(fraction(new Uint8Array(fractionBytes).fill(255))).toBeLessThan(1);
    expect(fraction(Uint8Array.of(0, 0, 0, 0, 0, 128))).toBe(0.5);
  });

  it('the first call comes within the interval, and may come at once', () => {
    fc.assert(
      fc.property(chances, (chance) => {
        const wait = firstWait(pullIntervals.poll, chance);
        return Number.isInteger(wait) && wait >= 0 && wait < 30_000;
      }),
    );
    expect(firstWait(60_000, 0)).toBe(0);
    expect(firstWait(60_000, 0.75)).toBe(45_000);
  });

  it('every further call comes a tenth earlier or later, in the mean after the interval', () => {
    fc.assert(
      fc.property(chances, fc.constantFrom(...Object.values(pullIntervals)), (chance, interval) => {
        const wait = nextWait(interval, chance);
        return wait >= 0.9 * interval && wait <= 1.1 * interval;
      }),
    );
    expect([nextWait(60_000, 0), nextWait(60_000, 0.5), nextWait(60_000, 0.75)]).toEqual([
      54_000, 60_000, 63_000,
    ]);
  });

  it('after failures a poll waits half a minute each, five minutes at most', () => {
    expect([0, 1, 2, 9, 10, 11, 1_000_000].map(pollBackoff)).toEqual([
      0, 30_000, 60_000, 270_000, 300_000, 300_000, 300_000,
    ]);
  });
});
