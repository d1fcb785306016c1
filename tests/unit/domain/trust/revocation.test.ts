import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseRevokedSerials } from '../../../../src/domain/trust/revocation.js';

const read = (text: string) => {
  const { serials, badLines } = parseRevokedSerials(text);
  return { serials: [...serials], bad: badLines.map(({ line }) => line) };
};

/** As a file of this encoding comes out when it is read as UTF-8. */
const readAsUtf8 = (text: string, encoding: 'utf16le' | 'utf16be') => {
  const bytes = Buffer.from(text, 'utf16le');
  return (encoding === 'utf16le' ? bytes : bytes.swap16()).toString('utf8');
};

describe('parseRevokedSerials', () => {
  it('takes one serial a line in any form that people write', () => {
    expect(read('\uFEFF# revoked\r\n1A2B\r\n\nAA:BB # laptop\n0x0C\nserial=0D\n10\n')).toEqual({
      serials: ['1a2b', 'aabb', 'c', 'd', '10', 'a'],
      bad: [],
    });
  });

  it.each([
    ['spaces', '1F C4 B1'],
    ['hyphens', '1F-C4-B1'],
    ['colons and spaces', '1F: C4: B1'],
    ['tabs', '1F\tC4\tB1'],
    ['spaces that do not break', '1F\u00A0C4\u00A0B1'],
    ['0x before each', '0x1F 0xC4 0xB1'],
    ['quotes', '"1F C4 B1"'],
    ['typographic quotes', '\u201C1FC4B1\u201D'],
    ['a comma at its end', '1FC4B1,'],
    ['a semicolon at its end', "'1FC4B1';"],
    ['what a spreadsheet writes', '="1FC4B1"'],
    ['a bullet', '- 1FC4B1'],
    ['a mark of direction, as Windows copies it', '\u200E1f c4 b1'],
    ['full-width digits', '\uFF11\uFF26C4B1'],
    ['serial=', 'serial=1FC4B1'],
    ['serial = ', 'Serial = 1F:C4:B1'],
    ['a label of OpenSSL', '        Serial Number: 1f:c4:b1'],
    ['a label in the line before', '        Serial Number:\n            1f:c4:b1'],
    ['both readings of OpenSSL', 'Serial Number: 2082993 (0x1fc4b1)'],
    ['a title above it', '"serial"\r\n"1FC4B1"\r\n'],
  ])('understands %s', (_, text) => expect(read(text)).toEqual({ serials: ['1fc4b1'], bad: [] }));

  it.each([
    ['commas', '1a2b, 3c4d,5e6f'],
    ['semicolons', '1a2b;3c4d ; "5e6f";'],
    ['old line ends', '1a2b\r3c4d\r5e6f'],
    ['line ends of Windows', '1a2b\r\n3c4d\r\n5e6f\r\n'],
  ])('takes several with %s between them', (_, text) =>
    expect(read(text)).toEqual({ serials: ['1a2b', '3c4d', '5e6f'], bad: [] }),
  );

  it('refuses whatever may be meant by words of hex that are no pairs', () => {
    expect(read('1a2b3c4d 5e6f7a8b')).toEqual({
      serials: ['1a2b3c4d', '5e6f7a8b', '1a2b3c4d5e6f7a8b'],
      bad: [],
    });
  });

  it.each(['utf16le', 'utf16be'] as const)('understands %s, with its mark and without', (encoding) => {
    const text = '# Ger\u00E4te\r\n1F C4 B1\r\n\r\n\u201CAABB\u201D\r\n'.replaceAll(/[\u201C\u201D]/g, '"');
    for (const mark of ['\uFEFF', ''])
      expect(read(readAsUtf8(`${mark}${text}`, encoding))).toEqual({ serials: ['1fc4b1', 'aabb'], bad: [] });
  });

  it.each([
    'web-01',
    '0',
    'serial=',
    '1FC4G1',
    '1.23E+15',
    'AA:B',
    '\u0410\u0421\u0415',
    '1fc4b1 stolen',
    'Revocation Date: May  6 07:08:09 2026 GMT',
    '1'.repeat(65),
  ])('%j is a bad line, and the others hold', (text) =>
    expect(read(`a1\n${text}\nb2`)).toEqual({ serials: ['a1', 'b2'], bad: [2] }),
  );

  it('takes what is good of a bad line', () => {
    expect(read('"1FC4B1","web-01"')).toEqual({ serials: ['1fc4b1'], bad: [1] });
  });

  it('names a bad line by its number, and shows it as one safe line', () => {
    expect(parseRevokedSerials('a1\nweb-01\u001B[2J # x\n').badLines).toEqual([
      { line: 2, text: 'web-01\\u001b[2J # x' },
    ]);
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        for (const bad of parseRevokedSerials(text).badLines) expect(bad.text).not.toMatch(/\p{Cc}/u);
      }),
    );
  });

  it('holds every serial that was written, whatever stands around it', () => {
    const serial = fc
      .bigInt({ min: 1n, max: 2n ** 128n })
      .map((number) => number.toString(16))
      .chain((hex) =>
        fc
          .constantFrom(
            hex,
            hex.toUpperCase(),
            `"${hex}",`,
            `serial=${hex}`,
            hex.padStart(hex.length + (hex.length % 2), '0').replaceAll(/(..)(?=.)/g, '$1 '),
          )
          .map((written) => ({ hex, written })),
      );
    fc.assert(
      fc.property(
        fc.array(serial),
        fc.constantFrom('\n', '\r\n', '\r', '\n\n# x\n', '\nnot one\n'),
        (list, between) => {
          const { serials } = parseRevokedSerials(list.map(({ written }) => written).join(between));
          for (const { hex } of list) expect(serials.has(hex)).toBe(true);
        },
      ),
    );
  });

  it('takes time in proportion to its length', () => {
    const started = performance.now();
    const lines = Array.from({ length: 20_000 }, (_, at) => `1f c4 b1 ${(at % 90) + 10}\nnot a serial ${at}`);
    expect(read(lines.join('\n')).bad).toHaveLength(20_000);
    expect(performance.now() - started).toBeLessThan(5_000);
  });
});
