import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalSerial, serialReadings } from '../../../../src/domain/trust/serial.js';

const positive = fc.bigInt({ min: 1n, max: 2n ** 159n });

describe('canonicalSerial', () => {
  it.each([
    ['02', '2'],
    ['2', '2'],
    ['0A1b', 'a1b'],
    ['10', '10'],
    ['f'.repeat(64), 'f'.repeat(64)],
  ])('%s is %s', (text, expected) => expect(canonicalSerial(text)).toBe(expected));

  it.each(['', '0', '0000', '0x1', 'aa:bb', '-1', ' 1', '1\n', 'g', 'f'.repeat(65), '١'])(
    '%j is not a serial in hex',
    (text) => expect(canonicalSerial(text)).toBeUndefined(),
  );

  it('is the same for every way to write a number in hex, and for its own result', () => {
    fc.assert(
      fc.property(positive, fc.nat(8), fc.boolean(), (number, zeros, upper) => {
        const hex = number.toString(16);
        const written = '0'.repeat(zeros) + (upper ? hex.toUpperCase() : hex);
        expect(canonicalSerial(written)).toBe(hex);
        expect(canonicalSerial(hex)).toBe(hex);
      }),
    );
  });
});

describe('serialReadings', () => {
  it.each([
    ['1a2B', ['1a2b']],
    [' 1A2B ', ['1a2b']],
    ['AA:BB', ['aabb']],
    ['0:bb', ['bb']],
    ['0xAb', ['ab']],
    ['serial=0A', ['a']],
    ['SERIAL=aa:bb', ['aabb']],
    ['10', ['10', 'a']],
    ['010', ['10', 'a']],
    ['9', ['9']],
    ['1F C4 B1', ['1fc4b1']],
    ['1f-c4-b1', ['1fc4b1']],
    ['Serial Number: 1f:c4:b1', ['1fc4b1']],
    ['Serial Number: 4096 (0x1000)', ['1000']],
    ['Serial Number: 10', ['10', 'a']],
  ])('%j reads as %j', (text, expected) => expect(serialReadings(text)).toEqual(expected));

  it.each(['0x10', 'serial=10', '00:10'])('%s is marked as hex and has no decimal reading', (text) =>
    expect(serialReadings(text)).toEqual(['10']),
  );

  it.each(['', '0', '00', 'serial=', '0x', 'AA:B', 'A:BB:', ':AA', 'web-01', '1a2b 3c4d', '1'.repeat(65)])(
    '%j is not a serial',
    (text) => expect(serialReadings(text)).toEqual([]),
  );

  it('a number written in decimal is always among the readings', () => {
    fc.assert(
      fc.property(positive, (number) => {
        expect(serialReadings(number.toString())).toContain(number.toString(16));
      }),
    );
  });

  it('never throws, and gives canonical serials only', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        for (const serial of serialReadings(text)) expect(canonicalSerial(serial)).toBe(serial);
      }),
    );
  });
});
