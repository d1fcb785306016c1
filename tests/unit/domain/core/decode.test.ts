import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  binary,
  decodeObject,
  type Field,
  integer,
  list,
  matching,
  oneOf,
  optional,
  text,
} from '../../../../src/domain/core/decode.js';
import { failure, value } from '../../../contract/result.js';

const shape = { name: text(5), port: integer(1, 9), note: optional(text(5)) };
const wrong = (value: unknown) => failure(decodeObject(value, shape));

describe('decodeObject', () => {
  it('reads exactly the members of the shape, optional ones where they are', () => {
    expect(value(decodeObject({ port: 1, name: 'a' }, shape))).toEqual({ name: 'a', port: 1 });
    expect(value(decodeObject({ name: 'a', port: 9, note: '' }, shape))).toEqual({
      name: 'a',
      port: 9,
      note: '',
    });
  });

  it.each([null, undefined, 5, 'text', true, [], [{ name: 'a', port: 1 }]])('%j is no object', (value) => {
    expect(wrong(value)).toBe('not a JSON object');
  });

  it('says which member is missing, malformed or unknown', () => {
    expect(wrong({ port: 1 })).toBe('member "name" is missing');
    expect(wrong({ name: 'a' })).toBe('member "port" is missing');
    expect(wrong({ name: 'abcdef', port: 1 })).toBe('member "name" is not text of at most 5 characters');
    expect(wrong({ name: 'a', port: 10 })).toBe('member "port" is not a whole number from 1 to 9');
    expect(wrong({ name: 'a', port: 1, note: 5 })).toContain('"note"');
    expect(wrong({ name: 'a', port: 1, other: 1 })).toBe('unknown member "other"');
    expect(wrong({ name: 'a', port: 1, note: undefined })).toContain('"note"');
  });

  it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])('%s is an unknown member', (name) => {
    const value = JSON.parse(`{"name":"a","port":1,"${name}":1}`);
    expect(wrong(value)).toBe(`unknown member "${name}"`);
  });

  it('needs its members to be the own ones of the object', () => {
    expect(wrong(Object.create({ name: 'a', port: 1 }))).toBe('member "name" is missing');
  });

  it('passes over unknown members where the shape is open', () => {
    const read = decodeObject({ name: 'a', port: 1, other: 1 }, shape, { open: true });
    expect(value(read)).toEqual({ name: 'a', port: 1 });
  });

  it('shows no control or direction character of a member name, and not all of a long one', () => {
    for (const name of ['\u001b[2J', 'a\nb', '\u009b31m', '\u202etxt', '\u2028', '\u007f'])
      expect(wrong({ name: 'a', port: 1, [name]: 1 })).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}]/u);
    expect(wrong({ name: 'a', port: 1, ['x'.repeat(1e5)]: 1 }).length).toBeLessThan(120);
  });

  it('never throws, and what it lets pass is of the shape', () => {
    fc.assert(
      fc.property(fc.oneof(fc.anything(), fc.record({ name: fc.string(), port: fc.nat(12) })), (value) => {
        const read = decodeObject(value, shape);
        if (read.isErr()) expect(typeof read.error).toBe('string');
        else {
          expect(read.value.name.length).toBeLessThanOrEqual(5);
          expect(read.value.port).toBeGreaterThanOrEqual(1);
          expect(read.value.port).toBeLessThanOrEqual(9);
        }
      }),
    );
  });
});

describe('fields', () => {
  const reads = (field: Field<unknown>, ...values: unknown[]): unknown[] =>
    values.map((value) => field.read(value));

  it('text is text of at most so many characters', () => {
    expect(reads(text(2), '', 'ab', 'abc', 5, null, ['a'])).toEqual([
      '',
      'ab',
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('matching is text of that form', () => {
    expect(reads(matching(/^a+$/, 'a'), 'aa', 'ab', 'a\n', ['a'])).toEqual([
      'aa',
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('oneOf is one of the values, of its very type', () => {
    expect(reads(oneOf<string | number>('a', 2), 'a', 2, '2', 'b', ['a'], null)).toEqual([
      'a',
      2,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('integer is a whole number within bounds', () => {
    expect(reads(integer(0, 3), 0, 3, -1, 4, 1.5, '1', Number.NaN, true, [1])).toEqual([
      0,
      3,
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('list has as many entries as allowed, each of the form', () => {
    expect(
      reads(list(text(1), 1, 2), ['a'], ['a', 'b'], [], ['a', 'b', 'c'], ['a', 'bb'], 'a', { length: 1 }),
    ).toEqual([['a'], ['a', 'b'], undefined, undefined, undefined, undefined, undefined]);
    // biome-ignore lint/suspicious/noSparseArray: what JSON cannot hold, a caller of the library can.
    expect(list(text(1), 1, 3).read(['a', , 'b'])).toBeUndefined();
  });

  it('binary is canonical base64url of exactly the length', () => {
    expect(reads(binary(2), 'AAE', 'AAF', 'AAE=', 'AA', 'AAAA', 5)).toEqual([
      Uint8Array.of(0, 1),
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    expect(binary().read('')).toEqual(new Uint8Array());
  });
});
