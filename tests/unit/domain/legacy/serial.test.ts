import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { legacySerialForm, meantSerial, otherReading } from '../../../../src/domain/legacy/serial.js';
import { canonicalSerial } from '../../../../src/domain/trust/serial.js';

const counted = fc.integer({ min: 1, max: 100_000 }).map((serial) => serial.toString(16));
const random = fc.stringMatching(/^[1-7][0-9a-f]{30}[a-f]$/);

describe('serials as older versions write them', () => {
  it.each([
    ['02', '2'],
    ['10', 'a'],
    ['16', '10'],
    ['0a', 'a'],
    ['1f', '1f'],
    ['0A1B', 'a1b'],
  ])('%s becomes %s', (text, form) => {
    expect(legacySerialForm(text)).toBe(form);
  });

  it('what is no serial has no form', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(legacySerialForm(text) === undefined).toBe(canonicalSerial(text) === undefined);
      }),
    );
  });

  it('the serial of a certificate is found again in whatever form it was written down', () => {
    fc.assert(
      fc.property(fc.oneof(counted, random), (serial) => {
        const written = legacySerialForm(serial) ?? '';
        for (const text of [serial, `0${serial}`, serial.toUpperCase(), written])
          expect(meantSerial(text, [serial])).toBe(serial);
      }),
    );
  });

  it('one that is known as it stands is not taken for another of the same form', () => {
    expect(meantSerial('a', ['10', 'a'])).toBe('a');
    expect(meantSerial('a', ['10'])).toBe('10');
    expect(meantSerial('b', ['10'])).toBe('b');
    expect(meantSerial('no serial', ['10'])).toBeUndefined();
  });

  it('either the serial itself or its other reading has the form that was written down', () => {
    fc.assert(
      fc.property(counted, (serial) => {
        const written = legacySerialForm(serial) ?? '';
        // Digits alone, two or more: those versions lost such entries themselves.
        fc.pre(/[a-f]/.test(written) || written.length === 1);
        expect([written, otherReading(written)]).toContain(serial);
      }),
    );
  });

  it('random serials have no other reading', () => {
    fc.assert(
      fc.property(random, (serial) => {
        expect(otherReading(serial)).toBeUndefined();
      }),
    );
  });
});
