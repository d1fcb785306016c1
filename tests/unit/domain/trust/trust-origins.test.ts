import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ancestors,
  broughtBy,
  formatOrigins,
  parseOrigins,
  replaces,
} from '../../../../src/domain/trust/trust-origins.js';

const nobody = () => false;
const chain = new Map([
  ['b', 'a'],
  ['c', 'b'],
  ['d', 'c'],
]);

describe('the notes of which serial brought which', () => {
  it('are read back as they were written, and those of serials that nobody descends from are left out', () => {
    const text = formatOrigins(new Map([...chain, ['e', 'a']]), ['a', 'd']);
    expect(text).toBe('d c\nc b\nb a\n');
    expect(parseOrigins(text)).toEqual(chain);
    expect(formatOrigins(chain, ['a'])).toBe('');
  });

  it.each(['a', 'a b c', 'x y', '0 a', 'a 0', '# a b'])('do not hold the line %j', (line) => {
    expect(parseOrigins(`${line}\n0B 0a\n`)).toEqual(new Map([['b', 'a']]));
  });

  it('say what a serial descends from, and that it replaces that', () => {
    expect([...ancestors(chain, 'd')]).toEqual(['c', 'b', 'a']);
    expect(replaces(chain, 'd', 'a')).toBe(true);
    expect(replaces(chain, 'a', 'd')).toBe(false);
    expect(replaces(chain, 'd', 'd')).toBe(false);
    expect(replaces(chain, 'd', 'e')).toBe(false);
  });

  it('say nothing of serials that brought each other', () => {
    const circle = new Map([
      ['a', 'b'],
      ['b', 'a'],
    ]);
    expect([replaces(circle, 'a', 'b'), replaces(circle, 'b', 'a')]).toEqual([false, false]);
    expect(formatOrigins(circle, ['a'])).toBe('a b\nb a\n');
    expect(broughtBy(circle, new Set(['a']), nobody)).toEqual(new Set(['a', 'b']));
  });
});

describe('what a revoked serial has brought', () => {
  it('is everything that descends from it', () => {
    expect(broughtBy(chain, new Set(['b']), nobody)).toEqual(new Set(['c', 'd']));
    expect(broughtBy(chain, new Set(['d', 'e']), nobody)).toEqual(new Set());
  });

  it('ends where a serial is proven', () => {
    expect(broughtBy(chain, new Set(['a']), (serial) => serial === 'c')).toEqual(new Set(['b']));
  });

  it('is found in one walk over the notes, however many there are', () => {
    const count = 40_000;
    const many = new Map(
      Array.from({ length: count }, (_, n) => [(n + 2).toString(16), (n % 2 ? n + 1 : 1).toString(16)]),
    );
    let asked = 0;
    const found = broughtBy(many, new Set(['1']), () => {
      asked += 1;
      return false;
    });
    expect(found.size).toBe(count);
    expect(asked).toBe(count);
  });

  it('holds whatever the notes are: nobody is found who does not descend from a revoked serial', () => {
    const serial = fc.integer({ min: 1, max: 12 }).map((n) => n.toString(16));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(serial, serial)).map((pairs) => new Map(pairs)),
        fc.uniqueArray(serial, { maxLength: 3 }),
        (origins, revoked) => {
          const found = broughtBy(origins, new Set(revoked), nobody);
          for (const each of new Set([...origins.keys(), ...origins.values()]))
            expect(found.has(each)).toBe(revoked.some((dead) => ancestors(origins, each).has(dead)));
        },
      ),
    );
  });
});
