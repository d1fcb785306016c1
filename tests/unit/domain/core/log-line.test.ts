import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { logLine } from '../../../../src/domain/core/log-line.js';
import { parseLogLine } from './parse-log-line.js';

describe('log line', () => {
  test('ACTION comes first, the other keys upper-cased in alphabetical order', () => {
    expect(
      logLine({
        action: 'run',
        fields: { script: 'backup', EXIT: 0, reqid: 'a3f9', peer: 'web 1', ok: true },
      }),
    ).toBe('ACTION=run EXIT=0 OK=true PEER="web 1" REQID=a3f9 SCRIPT=backup');
  });

  test.each<[string, string]>([
    ['plain', 'plain'],
    ['a=b,c:/d', 'a=b,c:/d'],
    ['', '""'],
    ['a b', '"a b"'],
    ['a\tb', '"a\\tb"'],
    ['a\nb\r', '"a\\nb\\r"'],
    ['say "x"', '"say \\"x\\""'],
    ['C:\\new', '"C:\\\\new"'],
    ['\u0000\u001b\u007f\u0085', '"\\u{0}\\u{1b}\\u{7f}\\u{85}"'],
    ['\u2028\u202e\u200b', '"\\u{2028}\\u{202e}\\u{200b}"'],
    ['\ud800x', '"\\u{d800}x"'],
    ['a\u00a0b', '"a\u00a0b"'],
    ['größe🎉', 'größe🎉'],
  ])('the value %j stands as %s', (value, rendered) => {
    expect(logLine({ action: 'x', fields: { v: value } })).toBe(`ACTION=x V=${rendered}`);
  });

  test('undefined fields are left out, and a field cannot stand for the action', () => {
    expect(logLine({ action: 'run', fields: { reason: undefined, action: 'forged' } })).toBe('ACTION=run');
  });

  test('a key holds letters, digits and underscores only', () => {
    expect(logLine({ action: 'run', fields: { 'a b="\n': 1 } })).toBe('ACTION=run A_B___=1');
  });

  test('a long value is cut and says by how much', () => {
    const line = logLine({ action: 'run', fields: { v: 'x'.repeat(5_000) } });
    expect(line).toBe(`ACTION=run V="${'x'.repeat(1_000)}\\+4000"`);
  });

  test('a value of exactly the limit is whole', () => {
    const whole = 'x'.repeat(1_000);
    expect(logLine({ action: 'run', fields: { v: whole } })).toBe(`ACTION=run V=${whole}`);
  });

  test('no value makes a line that a reader would break in two', () => {
    const fields = Object.fromEntries(
      ['\u{10ffff}', '\0', '日', '"', '\ud800'].map((unit, index) => [`k${index}`, unit.repeat(200_000)]),
    );
    expect(new TextEncoder().encode(logLine({ action: 'run', fields })).length).toBeLessThan(48 * 1024);
  });

  const value = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.string({ unit: 'grapheme', maxLength: 60 }),
    fc
      .array(
        fc.constantFrom(
          '"',
          '\\',
          ' ',
          '\n',
          '=',
          'ACTION=x',
          '\u2028',
          '\u202e',
          '\ud800',
          '\udc00',
          'u{41}',
        ),
      )
      .map((parts) => parts.join('')),
    fc.integer(),
    fc.boolean(),
  );
  const key = fc.stringMatching(/^[a-z][a-z0-9_]{0,8}$/).filter((name) => name !== 'action');

  test('whatever the values hold, it is one visible line that reads back to the same fields', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 20 }),
        fc.dictionary(key, value),
        (action, fields) => {
          const line = logLine({ action, fields });
          expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Surrogate}]/u);
          expect(parseLogLine(line)).toEqual({
            action,
            fields: Object.fromEntries(
              Object.entries(fields).map(([name, of]) => [name.toUpperCase(), String(of)]),
            ),
          });
        },
      ),
      { numRuns: 1_000 },
    );
  });
});
