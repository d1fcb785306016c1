import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { matchesTags, parseTagFilter } from '../../../../src/domain/runs/tags.js';
import { failure, value } from '../../../contract/result.js';

describe('parseTagFilter', () => {
  it.each([
    ['env=prod', { env: 'prod' }],
    [' env = prod , dc=fra=1', { env: 'prod', dc: 'fra=1' }],
    ['env=', { env: '' }],
  ])('%j selects %j', (text, filter) => expect(value(parseTagFilter(text))).toEqual(filter));

  it.each(['', ',', 'env', 'env=prod,', '=prod', 'env=a,env=b', '__proto__=x', 'env=prod,\u001b[2J'])(
    '%j is refused',
    (text) => {
      const error = failure(parseTagFilter(text));
      expect(error).toMatchObject({ code: 'invalid_argument', field: 'tags' });
      expect(error.message).not.toMatch(/\p{Cc}/u);
    },
  );

  it('reads back any tags that can be written so', () => {
    const word = fc.stringMatching(/^[a-z0-9_.-]{1,12}$/).filter((text) => text !== '__proto__');
    fc.assert(
      fc.property(fc.dictionary(word, word, { minKeys: 1 }), (tags) => {
        const text = Object.entries(tags)
          .map((pair) => pair.join('='))
          .join(',');
        const filter = value(parseTagFilter(text));
        expect(Object.entries(filter)).toEqual(Object.entries(tags));
        expect(matchesTags({ more: 'x', ...tags }, filter)).toBe(true);
      }),
    );
  });

  it('never throws', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void parseTagFilter(text)));
  });
});

describe('matchesTags', () => {
  it('needs every tag with just its value', () => {
    expect(matchesTags({ env: 'prod', dc: 'fra' }, { env: 'prod' })).toBe(true);
    expect(matchesTags({ env: 'prod' }, { env: 'prod', dc: 'fra' })).toBe(false);
    expect(matchesTags({ env: 'Prod' }, { env: 'prod' })).toBe(false);
  });

  it('what every object inherits is no tag', () => {
    expect(matchesTags({}, { toString: '' })).toBe(false);
    expect(matchesTags({}, { constructor: 'x' })).toBe(false);
  });
});
