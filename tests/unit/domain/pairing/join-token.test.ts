import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatJoinToken,
  type JoinTokenRecord,
  parseJoinToken,
  whyNotUsable,
} from '../../../../src/domain/pairing/join-token.js';
import { failure, value } from '../../../contract/result.js';

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const tokens = fc.record({ id: bytes(8), secret: bytes(32) });
const id = 'AAECAwQFBgc';
const secret = 'ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8';
const written = `cxj2.${id}.${secret}`;

describe('the text of a join token', () => {
  it('is its label, its id and its secret', () => {
    const from = (first: number, length: number) => Uint8Array.from({ length }, (_, index) => first + index);
    const token = { id: from(0, 8), secret: from(32, 32) };
    expect(formatJoinToken(token)).toBe(written);
    expect(value(parseJoinToken(written))).toEqual(token);
  });

  it('reads back as what was written, also with the line end of a file', () => {
    fc.assert(
      fc.property(tokens, fc.constantFrom('', '\n', '\r\n', ' '), (token, end) => {
        const text = formatJoinToken(token);
        expect(text).toMatch(/^cxj2\.[A-Za-z0-9_-]{11}\.[A-Za-z0-9_-]{43}$/);
        expect(value(parseJoinToken(text + end))).toEqual(token);
      }),
    );
  });

  it.each([
    ['nothing', ''],
    ['another label', `cxj1.${id}.${secret}`],
    ['a label in capitals', `CXJ2.${id}.${secret}`],
    ['no secret', `cxj2.${id}`],
    ['an empty secret', `cxj2.${id}.`],
    ['a further part', `${written}.x`],
    ['a further dot', `${written}.`],
    ['a short id', `cxj2.${id.slice(1)}.${secret}`],
    ['a short secret', `cxj2.${id}.${secret.slice(0, 42)}`],
    ['a long secret', `cxj2.${id}.${secret}AA`],
    ['padding', `cxj2.${id}=.${secret}=`],
    ['bits behind the last byte', `cxj2.${id}.${secret.slice(0, 42)}9`],
    ['the alphabet of base64', `cxj2.${id}.${'+'.repeat(43)}`],
    ['a space inside', `cxj2. ${id}.${secret}`],
  ])('with %s is refused, and the error does not repeat it', (_what, text) => {
    const error = failure(parseJoinToken(text));
    expect(error).toMatchObject({ code: 'invalid_argument', field: 'join' });
    for (const part of text.split('.').filter((each) => each.length > 8))
      expect(JSON.stringify(error)).not.toContain(part);
  });

  it('whatever it is, is a token or the one error', () => {
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(fc.base64String(), { maxLength: 4 }).map((parts) => ['cxj2', ...parts].join('.')),
    );
    const expected = failure(parseJoinToken(''));
    fc.assert(
      fc.property(texts, (text) => {
        parseJoinToken(text).match(
          (token) => expect(formatJoinToken(token)).toBe(text.trim()),
          (error) => expect(error).toEqual(expected),
        );
      }),
    );
  });
});

describe('a join token', () => {
  const record = (change: Partial<JoinTokenRecord> = {}): JoinTokenRecord => ({
    id: 'ab'.repeat(8),
    name: 'web-01',
    key: 'cd'.repeat(32),
    boundTo: undefined,
    createdAt: 1_000,
    expiresAt: 2_000,
    burntAt: undefined,
    ...change,
  });

  it.each([
    ['a fresh one', record(), 'web-01', 1_999],
    ['one that is bound: by whom is looked at later', record({ boundTo: 'ef'.repeat(32) }), 'web-01', 1_000],
  ])('can be begun with: %s', (_what, token, name, now) => {
    expect(whyNotUsable(token, name, now)).toBeUndefined();
  });

  it.each([
    ['unknown', undefined, 'web-01', 1_500, 'unknown'],
    ['of a used token', record({ burntAt: 0 }), 'web-01', 1_500, 'used already'],
    ['of an expired token', record(), 'web-01', 2_000, 'expired'],
    ['of another host', record(), 'web-02', 1_500, 'for web-01'],
    ['of a host whose name only begins so', record(), 'web-01.example.org', 1_500, 'for web-01'],
  ])('cannot be begun with when it is %s', (_what, token, name, now, why) => {
    expect(whyNotUsable(token, name, now)).toContain(why);
  });

  it('is never refused with its key in the reason', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.nat(4_000),
        fc.option(fc.nat(), { nil: undefined }),
        (name, now, burntAt) => {
          expect(whyNotUsable(record({ burntAt }), name, now) ?? '').not.toContain(record().key);
        },
      ),
    );
  });
});
