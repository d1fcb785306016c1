import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseDuration } from '../../../../src/domain/core/duration.js';
import { failure, value } from '../../../contract/result.js';

const units = { s: 1, m: 60, h: 3_600, d: 86_400 } as const;
const year = 31_536_000;

describe('a duration', () => {
  it.each([
    ['90', 90],
    ['90s', 90],
    ['15m', 900],
    ['2h', 7_200],
    ['7d', 604_800],
    ['1', 1],
    ['007', 7],
    ['365d', year],
    [`${year}s`, year],
  ])('%s is %i seconds', (text, seconds) => {
    expect(value(parseDuration(text))).toBe(seconds);
  });

  it.each([
    ...['', '0', '0d', '366d', `${year + 1}`, '8761h', '9999999999', '-1', '+1', '1.5h', '1e3', '1 h', ' 1'],
    ...['1\n', '1H', '1w', '1ms', '1h30m', 'h', '0x10', '١', '1d ', 'Infinity', 'NaN'],
  ])('%j is none', (text) => {
    expect(failure(parseDuration(text, 'ttl'))).toMatchObject({
      code: 'invalid_argument',
      field: 'ttl',
      message: expect.stringMatching(/^ttl: .*15m/),
    });
  });

  it('is read as it is written, in every unit', () => {
    const unit = fc.constantFrom(...(Object.keys(units) as (keyof typeof units)[]));
    fc.assert(
      fc.property(unit, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (name, part) => {
        const count = 1 + Math.floor((part * year) / units[name]);
        fc.pre(count * units[name] <= year);
        expect(value(parseDuration(`${count}${name}`))).toBe(count * units[name]);
      }),
    );
  });

  it('is whole seconds from 1 to a year, or one line of error that does not repeat the text', () => {
    const digits = fc.stringMatching(/^[0-9]{0,12}[a-z]?$/);
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), digits), (text) => {
        parseDuration(text).match(
          (seconds) => {
            expect(Number.isInteger(seconds)).toBe(true);
            expect(seconds).toBeGreaterThanOrEqual(1);
            expect(seconds).toBeLessThanOrEqual(year);
          },
          ({ message }) => expect(message).toBe(failure(parseDuration('')).message),
        );
      }),
    );
  });
});
