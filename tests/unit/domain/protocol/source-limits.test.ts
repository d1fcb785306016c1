import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type LimitKind, type Limits, sourceLimits } from '../../../../src/domain/protocol/source-limits.js';

const limits: Limits = {
  volume: { limit: 10, window: 60, block: 300 },
  probe: { limit: 3, window: 600, block: 3600 },
};
const both: readonly LimitKind[] = ['probe', 'volume'];

const times = <T>(count: number, work: (index: number) => T) =>
  Array.from({ length: count }, (_, at) => work(at));

describe('a source', () => {
  it('is blocked by the connection beyond the limit, for as long as the limit says', () => {
    const sources = sourceLimits(10);
    const outcomes = times(11, (at) => sources.count('a', ['volume'], limits, at * 100));
    expect(outcomes.slice(0, 10)).toEqual(times(10, () => undefined));
    expect(outcomes[10]).toEqual({ source: 'a', kind: 'volume', seconds: 300 });
    expect(sources.isBlocked('a', 1_000 + 299_999)).toBe(true);
    expect(sources.isBlocked('a', 1_000 + 300_000)).toBe(false);
    expect(sources.isBlocked('b', 1_000)).toBe(false);
  });

  it('is blocked sooner and longer for handshakes that failed', () => {
    const sources = sourceLimits(10);
    const outcomes = times(4, () => sources.count('a', both, limits, 0));
    expect(outcomes.at(-1)).toEqual({ source: 'a', kind: 'probe', seconds: 3600 });
  });

  it('begins anew when its window or its block has passed', () => {
    const sources = sourceLimits(10);
    for (const round of [0, 1, 2])
      for (const outcome of times(10, () => sources.count('a', ['volume'], limits, round * 60_000)))
        expect(outcome).toBeUndefined();
    expect(sources.count('a', ['volume'], limits, 120_000)).toBeDefined();
    expect(sources.takeEnded(420_000)).toEqual([{ source: 'a', kind: 'volume', met: 0 }]);
    expect(sources.count('a', ['volume'], limits, 420_000)).toBeUndefined();
  });

  it('has one block at a time, and its end says how many it met', () => {
    const sources = sourceLimits(10);
    const begun = times(30, () => sources.count('a', both, limits, 0)).filter(Boolean);
    expect(begun).toHaveLength(1);
    times(5, () => sources.met('a'));
    expect(sources.nextEnd()).toBe(3_600_000);
    expect(sources.takeEnded(3_599_999)).toEqual([]);
    expect(sources.takeEnded(3_600_000)).toEqual([{ source: 'a', kind: 'probe', met: 5 }]);
    expect(sources.nextEnd()).toBeUndefined();
  });
});

describe('whatever comes from wherever', () => {
  const capacity = 8;
  const step = fc.record({
    source: fc.integer({ min: 0, max: 40 }).map(String),
    kinds: fc.constantFrom<readonly LimitKind[]>(['volume'], both),
    pause: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 4_000_000 })),
    sweep: fc.boolean(),
  });

  it('no more is remembered than fits; a block holds to its end; below the limit nobody is blocked', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
        const sources = sourceLimits(capacity);
        const until = new Map<string, number>();
        const counted = new Map<string, number>();
        let now = 0;
        for (const { source, kinds, pause, sweep } of steps) {
          now += pause;
          if (sweep)
            for (const ended of sources.takeEnded(now)) {
              expect(until.get(ended.source)).toBeLessThanOrEqual(now);
              until.delete(ended.source);
            }
          const blocked = (until.get(source) ?? now) > now;
          expect(sources.isBlocked(source, now)).toBe(blocked);
          const begun = sources.count(source, kinds, limits, now);
          if (!blocked) counted.set(source, (counted.get(source) ?? 0) + 1);
          if (begun) {
            expect(blocked).toBe(false);
            // Only its own connections, and more of them than the limit, block a source.
            expect(begun.source).toBe(source);
            expect(counted.get(source)).toBeGreaterThan(limits[begun.kind].limit);
            until.set(source, now + begun.seconds * 1000);
            counted.delete(source);
          }
          expect(sources.size()).toBeLessThanOrEqual(2 * capacity);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('a flood of other sources does not end a block', () => {
    const sources = sourceLimits(capacity);
    times(4, () => sources.count('guilty', both, limits, 0));
    times(10_000, (at) => sources.count(`other ${at % 5_000}`, both, limits, 1));
    expect(sources.isBlocked('guilty', 2)).toBe(true);
  });

  it('where all blocks are taken, nobody else is blocked', () => {
    const sources = sourceLimits(capacity);
    for (const at of times(capacity, (index) => index))
      times(4, () => sources.count(`x${at}`, both, limits, 0));
    expect(times(50, () => sources.count('dispatcher', both, limits, 0)).filter(Boolean)).toEqual([]);
    expect(sources.isBlocked('dispatcher', 0)).toBe(false);
    sources.takeEnded(3_600_000);
    expect(times(4, () => sources.count('y', both, limits, 3_600_000)).at(-1)).toMatchObject({ source: 'y' });
  });

  it('a flood is counted in time in proportion to it', () => {
    const sources = sourceLimits(8_192);
    for (let at = 0; at < 300_000; at += 1) sources.count(`s${at}`, both, limits, at);
    expect(sources.size()).toBe(8_192);
  });
});
