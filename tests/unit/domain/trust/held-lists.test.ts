import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type HeldList,
  listNumber,
  maxNameless,
  withOneMore,
} from '../../../../src/domain/trust/held-lists.js';
import { failure, value } from '../../../contract/result.js';

const day = 86_400_000;
const now = Date.UTC(2026, 4, 6);

interface Sketch {
  readonly of?: string | undefined;
  readonly by?: string | undefined;
  readonly ca?: string;
  readonly at?: number;
}

/** Serials with the days that have passed since they were revoked; by default none. */
type Entries = Readonly<Record<string, number>>;

const list = (number: number, entries: Entries | readonly string[], sketch: Sketch = {}): HeldList => {
  const { of, by = of ?? 'control', ca = 'ca1', at = now } = sketch;
  const ages = Array.isArray(entries) ? Object.fromEntries(entries.map((serial) => [serial, 0])) : entries;
  const revoked = Object.entries(ages as Entries).map(([serial, days]) => ({
    serial,
    revokedAt: now - days * day,
  }));
  return {
    pem: JSON.stringify([number, ages, of, ca, at]),
    dispatcherId: of,
    broughtBy: by,
    number,
    issuerSpkiSha256: ca,
    thisUpdate: at,
    revoked,
  };
};

const named = (number: number, entries: Entries | readonly string[], sketch: Sketch = {}) =>
  list(number, entries, { of: 'control', ...sketch });

const all = (...lists: readonly HeldList[]) =>
  lists.reduce<readonly HeldList[]>((held, each) => value(withOneMore(held, each)), []);

const serialsIn = (lists: readonly HeldList[]) =>
  [...new Set(lists.flatMap(({ revoked }) => revoked.map(({ serial }) => serial)))].sort();

describe('lists that name their dispatcher', () => {
  it('of a higher number take the place of the one held, whoever brings them', () => {
    const next = named(2, ['a', 'b'], { by: 'thief' });
    expect(all(named(1, ['a']), next)).toEqual([next]);
  });

  it('of a lower number do not, and the answer is the one held', () => {
    const held = named(2, ['a']);
    expect(failure(withOneMore([held], named(1, ['a', 'b'])))).toEqual({
      reason: 'list 1 is older than the one held, 2',
      held,
    });
  });

  it('of another dispatcher change neither the list nor the number of this one, however high theirs is', () => {
    const own = named(3, ['a']);
    const held = all(own, named(900, ['b'], { of: 'second', by: 'control' }));
    expect(held).toContain(own);
    expect(listNumber(held, 'control', 'ca1')).toBe(3);
    expect(listNumber(held, 'second', 'ca1')).toBe(900);
    expect(serialsIn(all(...held, named(4, ['a', 'c'])))).toEqual(['a', 'b', 'c']);
  });

  it('of another CA are held beside it', () => {
    const held = all(named(3, ['a']), named(1, ['b'], { ca: 'ca2' }));
    expect(serialsIn(held)).toEqual(['a', 'b']);
    expect(listNumber(held, 'control', 'ca2')).toBe(1);
  });

  it('of the same number: the same one changes nothing, one with more is taken, one with less is not', () => {
    const held = [named(2, ['a', 'b'])];
    expect(value(withOneMore(held, named(2, ['a', 'b'], { by: 'second', at: now + 1 })))).toBe(held);
    expect(serialsIn(all(...held, named(2, ['a', 'b', 'c'])))).toEqual(['a', 'b', 'c']);
    for (const less of [['a'], ['a', 'c'], []])
      expect(failure(withOneMore(held, named(2, less))).reason).toBe('another list of number 2 is held');
  });

  it.each([
    ['of this moment', 0],
    ['of 364 days before', 364],
  ])('of a higher number that lack an entry %s are not taken', (_, days) => {
    const held = named(1, { a: days, b: 0 });
    expect(failure(withOneMore([held], named(2, ['b', 'c'])))).toEqual({
      reason: 'list 2 lacks serial a of the one held',
      held,
    });
  });

  it('of a higher number may lack an entry of a year before', () => {
    expect(serialsIn(all(named(1, { a: 365, b: 0 }), named(2, ['b'])))).toEqual(['b']);
  });
});

describe('lists that name no dispatcher', () => {
  it('only add entries: what they lack stays, whatever their number', () => {
    expect(serialsIn(all(list(5, ['a', 'b']), list(6, ['c']), list(1, ['d'])))).toEqual(['a', 'b', 'c', 'd']);
  });

  it('move no number of a dispatcher that has a list with its name', () => {
    const held = all(named(3, ['a']), list(900, ['b']));
    expect(listNumber(held, 'control', 'ca1')).toBe(3);
    expect(serialsIn(all(...held, named(4, ['a', 'c'])))).toEqual(['a', 'b', 'c']);
  });

  it('of a dispatcher give way to its newer one that says the same', () => {
    const newer = list(6, ['a', 'b']);
    expect(all(list(5, ['a']), newer)).toEqual([newer]);
  });

  it('show their number to the dispatcher that brought them last, also where others say the same', () => {
    const held = all(named(3, ['a', 'b'], { of: 'second' }), list(5, ['a', 'b']), list(2, ['a']));
    expect(listNumber(held, 'control', 'ca1')).toBe(2);
    expect(listNumber(held, 'second', 'ca1')).toBe(3);
    expect(listNumber(held, 'third', 'ca1')).toBe(0);
    expect(held).toHaveLength(2);
  });

  it('of nobody known hold, and count for no dispatcher', () => {
    const held = [{ ...list(5, ['a']), broughtBy: undefined }];
    expect(listNumber(held, 'control', 'ca1')).toBe(0);
    expect(serialsIn(all(...held, named(1, ['b'])))).toEqual(['a', 'b']);
    expect(all(...held, named(1, ['a']))).toHaveLength(1);
  });

  it('go once the lists with names say all of it', () => {
    const next = named(6, ['a', 'b']);
    expect(all(list(5, ['a', 'b']), next)).toEqual([next]);
    const other = list(5, ['a', 'z']);
    expect(all(other, next)).toEqual([other, next]);
  });

  it('go by lists of their own CA alone: those of another may go with it', () => {
    expect(all(list(5, ['a']), named(6, ['a'], { ca: 'ca2' }))).toHaveLength(2);
    expect(all(list(5, ['a']), list(6, ['b']), named(6, ['a', 'b'], { ca: 'ca2' }))).toHaveLength(3);
  });

  it('the same again changes nothing', () => {
    const held = all(list(5, ['a']), list(6, ['b']));
    expect(value(withOneMore(held, list(6, ['b'])))).toBe(held);
  });

  it(`are ${maxNameless} of a CA at most: one that would lose entries is not taken`, () => {
    const many = Array.from({ length: maxNameless }, (_, index) => list(index, [`s${index}`]));
    const held = all(...many);
    expect(failure(withOneMore(held, list(99, ['more'])))).toEqual({
      reason: `${maxNameless} lists that name no dispatcher are held: none can be added`,
    });
    // One that takes the place of others, of another CA, or with a name.
    expect(all(...held, list(99, ['s0', 's1', 'more']))).toHaveLength(maxNameless - 1);
    expect(all(...held, list(99, ['more'], { ca: 'ca2' }))).toHaveLength(maxNameless + 1);
    expect(all(...held, named(1, ['more']))).toHaveLength(maxNameless + 1);
  });
});

it('whatever lists come in whatever order, no entry is lost that was ever held', () => {
  const serials = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { maxLength: 5 });
  const arbitrary = fc
    .tuple(
      fc.nat(4),
      serials,
      fc.constantFrom(undefined, 'control', 'second'),
      fc.constantFrom('control', 'second', 'third'),
      fc.constantFrom('ca1', 'ca2'),
    )
    .map(([number, entries, of, by, ca]) => list(number, entries, { of, by, ca }));
  fc.assert(
    fc.property(fc.array(arbitrary, { maxLength: 12 }), (lists) => {
      let held: readonly HeldList[] = [];
      for (const each of lists) {
        const next = withOneMore(held, each).unwrapOr(held);
        expect(serialsIn(next)).toEqual(expect.arrayContaining([...serialsIn(held)]));
        for (const id of ['control', 'second']) {
          const known = next.filter(({ dispatcherId }) => dispatcherId === id);
          expect(known.length).toBeLessThanOrEqual(2);
        }
        held = next;
      }
    }),
  );
});
