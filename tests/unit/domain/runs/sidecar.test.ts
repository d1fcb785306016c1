import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson } from '../../../../src/domain/core/json.js';
import { parseSidecar, sidecarLimit } from '../../../../src/domain/runs/sidecar.js';
import { failure, value } from '../../../contract/result.js';

const version = (body: unknown) => value(parseSidecar(JSON.stringify(body))).version;

describe('parseSidecar', () => {
  it('advertises the body with all that it holds', () => {
    const body = { version: '2', description: 'é', arguments: { type: 'object' }, own: [null, 1.5] };
    expect(value(parseSidecar(JSON.stringify(body)))).toEqual({
      schema: body,
      version: { kind: 'own', text: '2' },
    });
  });

  it.each(['1', '1.2.3-rc_1', 'v'.repeat(64)])('%s is a version of its own', (text) =>
    expect(version({ version: text })).toEqual({ kind: 'own', text }),
  );

  it.each([undefined, '', 'v'.repeat(65), 'sha256:0123456789ab', 'a b', '1\n', 2, null, ['1'], { a: 1 }])(
    '%j is none, so the body counts',
    (own) => {
      const body = { b: 1, version: own, a: 2 };
      expect(version(body)).toEqual({ kind: 'digest', canonical: canonicalJson(body) });
    },
  );

  it('the digest does not depend on order or white space', () => {
    const digest = (text: string) => {
      const { version } = value(parseSidecar(text));
      return createHash('sha256')
        .update(version.kind === 'digest' ? version.canonical : '')
        .digest('hex')
        .slice(0, 12);
    };
    expect(digest('{ "b": {"d": 1, "c": [ ]},\n "a": 1.0 }')).toBe(digest('{"a":1,"b":{"c":[],"d":1}}'));
    // printf '{}' | sha256sum
    expect(digest('{}')).toBe('44136fa355b3');
  });

  it.each([
    ['', 'not valid JSON'],
    ['[]', 'not a JSON object'],
    ['{"a":1,"a":2}', 'the name "a" occurs twice in one object'],
    ['{"__proto__":{"version":"1"}}', 'the name "__proto__" is not allowed'],
    [`{"a":${'['.repeat(100)}${']'.repeat(100)}}`, 'nested deeper than 64'],
  ])('bad body %# cannot be used', (text, reason) => expect(failure(parseSidecar(text))).toBe(reason));

  it('is limited in bytes, not in characters', () => {
    const filled = (character: string, count: number) => `{"a":"${character.repeat(count)}"}`;
    expect(parseSidecar(filled('x', sidecarLimit - 8)).isOk()).toBe(true);
    expect(failure(parseSidecar(filled('x', sidecarLimit - 7)))).toBe('larger than 65536 bytes');
    expect(parseSidecar(filled('é', sidecarLimit / 2)).isErr()).toBe(true);
  });

  it('never throws', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void parseSidecar(text)));
  });
});

describe('canonicalJson', () => {
  it.each([
    [{ b: 1, a: [true, null, 'x'] }, '{"a":[true,null,"x"],"b":1}'],
    [
      { 10: 1, 9: 2, é: 3, z: 4, '\u{1F600}': 5, '\uFB33': 6 },
      '{"10":1,"9":2,"z":4,"é":3,"😀":5,"\uFB33":6}',
    ],
    [{ n: [1e21, 1e-7, -0, 4.5, 1.0] }, '{"n":[1e+21,1e-7,0,4.5,1]}'],
    [{ s: '"\\\u0007\n\u2028/' }, '{"s":"\\"\\\\\\u0007\\n\u2028/"}'],
    [{ gone: undefined, kept: null }, '{"kept":null}'],
  ])('%j is %s', (value, expected) => expect(canonicalJson(value)).toBe(expected));

  it('a member called __proto__ is a member like any other', () => {
    expect(canonicalJson(JSON.parse('{"z":1,"__proto__":{"a":2}}'))).toBe('{"__proto__":{"a":2},"z":1}');
  });

  it('holds the same data, and is the same for every order of the members', () => {
    const shuffled = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(shuffled);
      if (typeof value !== 'object' || value === null) return value;
      return Object.fromEntries(
        Object.entries(value)
          .reverse()
          .map(([name, member]) => [name, shuffled(member)]),
      );
    };
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value);
        expect(JSON.stringify(JSON.parse(text))).toHaveLength(text.length);
        expect(canonicalJson(JSON.parse(text))).toBe(text);
        expect(canonicalJson(shuffled(value))).toBe(text);
      }),
    );
  });
});
