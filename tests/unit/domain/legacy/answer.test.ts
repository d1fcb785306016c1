import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fittedForLegacy, maxLegacyAnswer } from '../../../../src/domain/legacy/answer.js';

const size = (value: unknown) => Buffer.byteLength(JSON.stringify(value));
const bytes = (text: string) => Buffer.byteLength(text);
const totals = ({ stdout, stderr }: { stdout: string; stderr: string }) => ({
  stdout: bytes(stdout),
  stderr: bytes(stderr),
});
const answer = (stdout: string, stderr = '') => ({ script: 'greet', exit: 0, reqid: 'r1', stdout, stderr });

describe('an answer for a legacy dispatcher', () => {
  it('that is short stays as it is', () => {
    const short = answer('hello\n', 'oh');
    expect(fittedForLegacy(short, totals(short))).toEqual(short);
  });

  it('has no base64, which would take the room of the text', () => {
    const binary = {
      ...answer('\ufffd'.repeat(9_000)),
      stdout_base64: '/'.repeat(40_000),
      stderr_base64: '',
    };
    expect(fittedForLegacy(binary, totals(binary))).toEqual(answer(binary.stdout));
  });

  it.each([
    ['plain', 'a'.repeat(200_000), ''],
    ['of characters that JSON writes as six', '\u0001'.repeat(60_000), 'b'],
    ['of characters beyond the first plane', '😀'.repeat(30_000), ''],
    ['on both streams', 'a'.repeat(90_000), '\\'.repeat(90_000)],
    ['short on one stream', 'short', 'e'.repeat(90_000)],
  ])('fits when it is %s, with head and tail, and says what was cut', (_, stdout, stderr) => {
    const long = answer(stdout, stderr);
    const fitted: ReturnType<typeof answer> & { truncated?: object } = fittedForLegacy(long, totals(long));
    expect(size(fitted)).toBeLessThanOrEqual(maxLegacyAnswer);
    expect(size(fitted)).toBeGreaterThan(maxLegacyAnswer - 100);
    for (const stream of ['stdout', 'stderr'] as const) {
      const cut = fitted[stream] !== long[stream];
      expect((fitted.truncated as Record<string, number>)[stream]).toBe(
        cut ? totals(long)[stream] : undefined,
      );
      if (!cut) continue;
      expect(long[stream].startsWith([...fitted[stream]][0] ?? '-')).toBe(true);
      expect(long[stream].endsWith([...fitted[stream]].at(-1) ?? '-')).toBe(true);
    }
    expect(fitted.stdout === 'short' || fitted.stdout.length > 1000).toBe(true);
  });

  it('fits whatever a script writes, and holds no half character', () => {
    const texts = fc.string({ unit: 'binary', maxLength: 30_000, minLength: 8_000, size: 'max' });
    fc.assert(
      fc.property(texts, texts, (stdout, stderr) => {
        const whole = answer(stdout.repeat(4), stderr.repeat(4));
        const fitted = fittedForLegacy(whole, totals(whole));
        expect(size(fitted)).toBeLessThanOrEqual(maxLegacyAnswer);
        expect(Buffer.from(fitted.stdout).toString()).toBe(fitted.stdout);
      }),
      { numRuns: 10 },
    );
  });
});
