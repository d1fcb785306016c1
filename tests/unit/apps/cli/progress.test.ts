import fc from 'fast-check';
import { errAsync, ResultAsync } from 'neverthrow';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { progressLine, withProgress } from '../../../../src/apps/cli/progress.js';

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

describe('a single host', () => {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubEnv('NO_COLOR', '');
    vi.stubEnv('TERM', 'xterm');
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllEnvs();
  });

  const screen = (isTTY: boolean) => {
    const lines: string[] = [];
    return { lines, isTTY, columns: 80, write: (text: string) => lines.push(text) > 0 };
  };
  const later = (ms: number) =>
    ResultAsync.fromSafePromise<string, never>(new Promise((resolve) => setTimeout(resolve, ms, 'x')));

  it('has a line once it has not answered for 2 s, which is gone before the result', async () => {
    const shown = screen(true);
    const work = withProgress(1, false, () => later(2600), shown);
    await vi.advanceTimersByTimeAsync(1999);
    expect(shown.lines).toEqual([]);
    await vi.advanceTimersByTimeAsync(601);
    expect((await work).isOk()).toBe(true);
    expect(shown.lines[0]).toBe('\r\u001b[Kwaiting for an answer, 2.0 s');
    expect(shown.lines.at(-1)).toBe('\r\u001b[K');
    await vi.advanceTimersByTimeAsync(5000);
    expect(vi.getTimerCount()).toBe(0);
  });

  it.each([
    ['an answer within 2 s', true, false, 1500],
    ['JSON', true, true, 3000],
    ['no terminal', false, false, 3000],
  ])('has none with %s', async (_what, isTTY, json, ms) => {
    const shown = screen(isTTY);
    const work = withProgress(1, json, (done) => later(ms).map(() => done('web-01', false, 1)), shown);
    await vi.advanceTimersByTimeAsync(ms);
    await work;
    expect(shown.lines).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('that is refused at once leaves no timer', async () => {
    const work = withProgress(1, false, () => errAsync('no'), screen(true));
    expect((await work).isErr()).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });
});
