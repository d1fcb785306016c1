import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { jsonDepthLimit, jsonItemLimit, parseJsonObject } from '../../../../src/domain/core/json.js';
import { failure, value } from '../../../contract/result.js';

const bytes = (text: string) => new TextEncoder().encode(text);
const reason = (input: string | Uint8Array) => failure(parseJsonObject(input));
const nested = (depth: number) => `${'{"a":'.repeat(depth - 1)}{}${'}'.repeat(depth - 1)}`;

describe('parseJsonObject', () => {
  it('reads an object, from text and from bytes', () => {
    const text = ' {"a":[1,{"a":"}{,\\"[:é"}],"b":{"a":null},"":true} ';
    expect(value(parseJsonObject(text))).toEqual(JSON.parse(text));
    expect(value(parseJsonObject(bytes(text)))).toEqual(JSON.parse(text));
  });

  it.each(['', 'null', '[]', '1', '"a"', 'true'])('%j is not an object', (text) =>
    expect(reason(text)).toMatch(/^not (a JSON object|valid JSON)$/),
  );

  it.each([
    '{',
    '{"a"}',
    '{a:1}',
    "{'a':1}",
    '{"a":1,}',
    '{} {}',
    '{"a":"\n"}',
    '{"\\u00":1}',
    '{"a":NaN}',
    '"',
    '{"\\',
  ])('%j is not valid', (text) => expect(reason(text)).toBe('not valid JSON'));

  it.each([
    ['{"a":1,"a":1}', 'the name "a" occurs twice in one object'],
    ['{"a":1,"\\u0061":1}', 'the name "a" occurs twice in one object'],
    ['{"x":[{"b":{"c":[1,2]},"b":1}]}', 'the name "b" occurs twice in one object'],
    ['{"\\n":1,"\\n":1}', 'the name "\\n" occurs twice in one object'],
    ['{"__proto__":{}}', 'the name "__proto__" is not allowed'],
    ['{"a":[{"\\u005f_proto__":1}]}', 'the name "__proto__" is not allowed'],
    ['{"constructor":{"prototype":{"a":1}}}', 'a "prototype" in a "constructor" is not allowed'],
    [
      '{"a":[{"\\u0063onstructor":{"x":1,"prototype":1}}]}',
      'a "prototype" in a "constructor" is not allowed',
    ],
    ['{"a":"\\ud800"}', 'half of a surrogate pair'],
    ['{"a":["\\udc00\\ud800"]}', 'half of a surrogate pair'],
    ['{"\\uDFFF":1}', 'half of a surrogate pair'],
    ['{"a":"\ud800"}', 'half of a surrogate pair'],
    ['{"a":1e999}', 'a number is too large'],
    ['{"a":[-1E+400]}', 'a number is too large'],
    [`{"a":${'9'.repeat(400)}}`, 'a number is too large'],
  ])('%s is refused', (text, expected) => expect(reason(text)).toBe(expected));

  it('the same text as a name and a value, or in different objects, is no repetition', () => {
    const text = '{"a":"a","b":["a","a",{"a":1},{"a":1}],"c":"__proto__"}';
    expect(value(parseJsonObject(text))).toEqual(JSON.parse(text));
  });

  it.each([
    '{"constructor":"x","prototype":{"constructor":{}}}',
    '{"constructor":{"a":{"prototype":1}},"b":{"prototype":1}}',
    '{"a":"\\ud83d\\ude00","b":"\\\\ud800","c":"😀"}',
    '{"a":1e308,"b":-0,"c":1E-999,"d":"1e999","e":12345678901234567890}',
  ])('%s is no such thing', (text) => expect(value(parseJsonObject(text))).toEqual(JSON.parse(text)));

  it('may be nested up to the limit and not deeper', () => {
    expect(parseJsonObject(nested(jsonDepthLimit)).isOk()).toBe(true);
    expect(reason(nested(jsonDepthLimit + 1))).toBe('nested deeper than 64');
    expect(reason(`{"a":${'['.repeat(64)}`)).toBe('nested deeper than 64');
  });

  it('bytes must be UTF-8 without a byte order mark', () => {
    expect(reason(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d))).toBe('not valid UTF-8');
    expect(reason(bytes('\uFEFF{}'))).toBe('not valid JSON');
  });

  it('a reason never quotes a value', () => {
    expect(reason('{"token":"s3cret" x}')).not.toContain('s3cret');
  });

  // In time that grows with the square of the length each of these would take minutes, and the test end by its timeout.
  it('takes time in proportion to the text', () => {
    parseJsonObject(`{${Array.from({ length: 100_000 }, (_, index) => `"k${index}":1`).join(',')}}`);
    parseJsonObject('"'.repeat(1_000_000));
    parseJsonObject('\\'.repeat(1_000_000));
    parseJsonObject('{"'.repeat(500_000));
    parseJsonObject('[],'.repeat(300_000));
    parseJsonObject('1'.repeat(1_000_000));
    parseJsonObject('-'.repeat(1_000_000));
    parseJsonObject(`{"a":"${'\\ud83d\\ude00'.repeat(80_000)}"}`);
    expect(parseJsonObject('{"a":1}').isOk()).toBe(true);
  });

  it('reads back every object that was written', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 5 })), (object) => {
        const text = JSON.stringify(object);
        fc.pre(!text.includes('__proto__'));
        expect(value(parseJsonObject(text))).toEqual(JSON.parse(text));
        expect(parseJsonObject(bytes(text)).isOk()).toBe(true);
      }),
    );
  });

  it('finds a name that is repeated anywhere in an object', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 }),
        fc.jsonValue(),
        (object, again) => {
          const text = JSON.stringify(object);
          fc.pre(!text.includes('__proto__'));
          const [name = ''] = Object.keys(object);
          const repeated = `${text.slice(0, -1)},${JSON.stringify(name)}:${JSON.stringify(again)}}`;
          expect(parseJsonObject(repeated).isErr()).toBe(true);
        },
      ),
    );
  });

  it('never throws, and accepts nothing that the engine does not', () => {
    const piece = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '"a"',
      '\\',
      '1',
      'null',
      ' ',
      '\u0000',
      'é',
    );
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(piece).map((pieces) => pieces.join('')),
    );
    fc.assert(
      fc.property(text, (given) => {
        parseJsonObject(given).map((object) => expect(object).toEqual(JSON.parse(given)));
      }),
      { numRuns: 3000 },
    );
    fc.assert(fc.property(fc.uint8Array(), (given) => void parseJsonObject(given)));
  });
});

describe('size', () => {
  it('more members or elements than any message has are refused before they are parsed', () => {
    const names = Array.from({ length: jsonItemLimit + 1 }, (_, index) => `"k${index}":0`).join(',');
    expect(failure(parseJsonObject(`{${names}}`))).toMatch(/more than 500000/);
    const zeros = Array.from({ length: jsonItemLimit }, () => '0').join(',');
    expect(parseJsonObject(`{"a":[${zeros}]}`).isOk()).toBe(true);
    expect(parseJsonObject(`{"a":[${zeros},0]}`).isErr()).toBe(true);
  });
});
