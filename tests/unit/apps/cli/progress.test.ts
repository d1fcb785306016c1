import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { progressLine } from '../../../../src/apps/cli/progress.js';

const slowest = { host: 'web-17', rtt: 2_140 };

describe('the line of progress', () => {
  it('tells how many are done, failed and running, the slowest, and the time', () => {
    expect(progressLine({ total: 50, finished: 48, failures: 1, slowest, elapsed: 3_260 })).toBe(
      '48/50 done, 1 failed, 2 running, slowest web-17 2.1 s, 3.3 s',
    );
  });

  it('names nobody before the first answer', () => {
    expect(progressLine({ total: 3, finished: 0, failures: 0, slowest: undefined, elapsed: 0 })).toBe(
      '0/3 done, 0 failed, 3 running, 0.0 s',
    );
  });

  it('ends with nobody running', () => {
    expect(progressLine({ total: 2, finished: 2, failures: 2, slowest, elapsed: 60_000 })).toContain(
      '2/2 done, 2 failed, 0 running',
    );
  });

  it('is one line in which done and running are the total', () => {
    const states = fc.integer({ min: 2, max: 100_000 }).chain((total) =>
      fc.integer({ min: 0, max: total }).chain((finished) =>
        fc.record({
          total: fc.constant(total),
          finished: fc.constant(finished),
          failures: fc.integer({ min: 0, max: finished }),
          slowest: fc.option(fc.constant(slowest), { nil: undefined }),
          elapsed: fc.double({ min: 0, max: 1e8, noNaN: true }),
        }),
      ),
    );
    fc.assert(
      fc.property(states, (state) => {
        const line = progressLine(state);
        const [, done, total, failed, running] =
          /^(\d+)\/(\d+) done, (\d+) failed, (\d+) running, (?:slowest web-17 2\.1 s, )?\d+\.\d s$/.exec(
            line,
          ) ?? [];
        expect([total, failed].map(Number)).toEqual([state.total, state.failures]);
        expect(Number(done) + Number(running)).toBe(state.total);
      }),
    );
  });
});
