import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { printable } from '../../../../src/domain/core/names.js';
import { withoutToken } from '../../../../src/domain/core/redaction.js';

describe('withoutToken', () => {
  it.each([
    ['nothing here', 'secret', 'nothing here'],
    ['secret and secret', 'secret', '[token] and [token]'],
    ['refused: a\\nb', 'a\nb', 'refused: [token]'],
    ['cut at sec…', 'secret', 'cut at [token]…'],
    ['cut at secret…', 'secret', 'cut at [token]…'],
    ['no cut at sec', 'secret', 'no cut at sec'],
    ['no token at all…', '', 'no token at all…'],
  ])('%j without %j is %j', (text, token, expected) => expect(withoutToken(text, token)).toBe(expected));

  it('wherever the text is cut, more than a letter of the token is not left', () => {
    const token = fc.stringMatching(/^[0-9\n"]{8,40}$/);
    const words = fc.stringMatching(/^[a-m ]{0,30}$/);
    fc.assert(
      fc.property(token, words, words, fc.integer({ min: 1, max: 100 }), (secret, before, after, limit) => {
        const text = printable(`${before}${secret}${after}`, limit);
        expect(withoutToken(text, secret).replaceAll('[token]', '')).not.toMatch(/[0-9"\\]/);
      }),
    );
  });
});
