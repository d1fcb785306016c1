import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keptText } from '../../../../src/domain/core/kept-text.js';
import { outputCapture } from '../../../../src/domain/runs/output-capture.js';

const kept = (bytes: Uint8Array, limit: number) => {
  const capture = outputCapture(limit);
  capture.add(bytes);
  return capture.result();
};

describe('the text of what was kept of a stream', () => {
  it('is the stream, a byte order mark included, where it is UTF-8', () => {
    expect(keptText(kept(Buffer.from('\ufeffä😀\0'), 100))).toEqual({ text: '\ufeffä😀\0' });
  });

  it.each([[[0xff]], [[0x61, 0xc3]], [[0xed, 0xa0, 0x80]], [[0xc0, 0x80]], [[0xa4, 0x61]]])(
    'comes with the bytes %j, which are no UTF-8',
    (bytes) => {
      const exact = Uint8Array.from(bytes);
      expect(keptText(kept(exact, 100))).toEqual({ text: new TextDecoder().decode(exact), exact });
    },
  );

  it('has no half of a character, and no bytes, where only the cut made it other than UTF-8', () => {
    const text = fc.string({ unit: 'binary', minLength: 5, maxLength: 60 });
    fc.assert(
      fc.property(text, fc.integer({ min: 0, max: 40 }), (whole, limit) => {
        const stream = new TextEncoder().encode(whole);
        const found = keptText(kept(stream, limit));
        expect(found.exact).toBeUndefined();
        expect(found.text).not.toContain(whole.includes('\ufffd') ? '\0never' : '\ufffd');
        const shown = new TextEncoder().encode(found.text).length;
        expect(shown).toBeGreaterThanOrEqual(Math.min(stream.length, limit) - 6);
      }),
    );
  });

  it('has no half of a character at its end where a full disk cut it there', () => {
    const bytes = Buffer.from('ab😀').subarray(0, 5);
    expect(keptText({ bytes, total: 50 })).toEqual({ text: 'ab' });
  });

  it('comes with its bytes where they are none elsewhere than at the cut', () => {
    const stream = Buffer.concat([Buffer.from([0xff]), Buffer.from('ä'.repeat(20))]);
    const { bytes, total } = kept(stream, 10);
    expect(keptText({ bytes, total }).exact).toEqual(bytes);
  });
});
