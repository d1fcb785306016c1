import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  base64url,
  fromBase64url,
  fromHex,
  hex,
  lengthPrefixed,
  utf8,
} from '../../../../src/domain/core/bytes.js';

const bytes = fc.uint8Array({ maxLength: 300 });

describe('hex', () => {
  it('is lower case, two digits a byte, and comes back as it was', () => {
    fc.assert(
      fc.property(bytes, (given) => {
        expect(hex(given)).toBe(Buffer.from(given).toString('hex'));
        expect(fromHex(hex(given))).toEqual(given);
        expect(fromHex(hex(given).toUpperCase())).toEqual(given);
      }),
    );
  });

  it.each(['a', 'abc', '0g', '0x00', ' 00', '00 ', '0_', '-1', '１２'])('%j is none', (text) => {
    expect(fromHex(text)).toBeUndefined();
  });

  it('of any text is bytes that give this text again, or nothing', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...'0123456789abcdefABCDEFg') })),
        (text) => {
          const read = fromHex(text);
          if (read) expect(hex(read)).toBe(text.toLowerCase());
        },
      ),
    );
  });
});

describe('base64url', () => {
  it('is that of RFC 4648 without padding, and comes back as it was', () => {
    fc.assert(
      fc.property(bytes, (given) => {
        expect(base64url(given)).toBe(Buffer.from(given).toString('base64url'));
        expect(fromBase64url(base64url(given))).toEqual(given);
      }),
    );
  });

  it.each(['A', 'AB=', 'AA==', 'AB', 'AAB', 'A+AA', 'A/AA', 'AA AA', 'AAAAA', 'AA\n'])(
    '%j is not the one text of any bytes',
    (text) => {
      expect(fromBase64url(text)).toBeUndefined();
    },
  );

  it('has one text for each bytes: what is read is written as it was', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.base64String(), fc.string({ unit: fc.constantFrom(...'AQgwBx-_') })),
        (text) => {
          const read = fromBase64url(text);
          if (read) expect(base64url(read)).toBe(text);
        },
      ),
    );
  });

  it('of bytes above a call stack of arguments is written too', () => {
    const large = new Uint8Array(300_000).fill(7);
    expect(fromBase64url(base64url(large))).toEqual(large);
  });
});

describe('lengthPrefixed', () => {
  it('writes the length as four bytes big-endian, then the part', () => {
    expect(hex(lengthPrefixed('ab', Uint8Array.of(255), '', 'ü'))).toBe(
      '000000026162' + '00000001ff' + '00000000' + '00000002c3bc',
    );
    expect(lengthPrefixed().length).toBe(0);
  });

  it('differs for two different lists of parts', () => {
    const parts = fc.array(fc.uint8Array({ maxLength: 4, max: 3 }), { maxLength: 4 });
    fc.assert(
      fc.property(parts, parts, (a, b) => {
        const same = JSON.stringify(a.map(hex)) === JSON.stringify(b.map(hex));
        expect(hex(lengthPrefixed(...a)) === hex(lengthPrefixed(...b))).toBe(same);
      }),
    );
  });

  it('takes a text as its UTF-8', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(lengthPrefixed(text)).toEqual(lengthPrefixed(utf8(text)));
      }),
    );
  });
});
