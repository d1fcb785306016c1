import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseRevokedSerials } from '../../../../src/domain/trust/revocation.js';

describe('parseRevokedSerials', () => {
  it('takes one serial a line in any form that people write', () => {
    const { serials, warnings } = parseRevokedSerials(
      '\uFEFF# revoked\r\n1A2B\r\n\nAA:BB # laptop\n0x0C\nserial=0D\n10\n',
    );
    expect([...serials]).toEqual(['1a2b', 'aabb', 'c', 'd', '10', 'a']);
    expect(warnings).toEqual([]);
  });

  it('keeps the others when a line is not a serial, and names that line', () => {
    const { serials, warnings } = parseRevokedSerials('a1\nweb-01\n0\nb2');
    expect([...serials]).toEqual(['a1', 'b2']);
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toBe('line 2: skipped, "web-01" is not a serial, expected hex such as 1a2b or 1A:2B');
  });

  it('never throws, and a warning is always one safe line', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        for (const warning of parseRevokedSerials(text).warnings) expect(warning).not.toMatch(/\p{Cc}/u);
      }),
    );
  });

  it('holds every serial that was written, whatever stands around it', () => {
    const serial = fc.bigInt({ min: 1n, max: 2n ** 128n }).map((number) => number.toString(16));
    fc.assert(
      fc.property(
        fc.array(serial),
        fc.constantFrom('\n', '\r\n', '\n\n# x\n', '\nnot one\n'),
        (list, between) => {
          const { serials } = parseRevokedSerials(list.map((text) => text.toUpperCase()).join(between));
          for (const text of list) expect(serials.has(text)).toBe(true);
        },
      ),
    );
  });
});
