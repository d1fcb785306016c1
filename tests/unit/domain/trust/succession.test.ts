import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  chainTo,
  lineTo,
  maxChain,
  readSuccessions,
  type Succession,
  successionMessage,
  successionToJson,
} from '../../../../src/domain/trust/succession.js';
import { failure, value } from '../../../contract/result.js';

const step = (from: string, to: string, at = 1): Succession => ({
  old: from,
  new: to,
  newPem: `certificate of ${to}`,
  at,
  sig: Uint8Array.of(1, 2, 3),
});
/** Serials 1, 2, … n, each following the one before it. */
const line = (n: number) =>
  Array.from({ length: n - 1 }, (_, i) => step((i + 1).toString(16), (i + 2).toString(16)));

const records = fc.record({
  old: fc.stringMatching(/^[1-9a-f][0-9a-f]{0,63}$/),
  new: fc.stringMatching(/^[1-9a-f][0-9a-f]{0,63}$/),
  newPem: fc.string({ maxLength: 200 }),
  at: fc.nat(),
  sig: fc.uint8Array({ maxLength: 200 }),
});

describe('the records of successions', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(fc.array(records, { maxLength: maxChain }), (written) => {
        const text = JSON.stringify(written.map(successionToJson));
        expect(value(readSuccessions(JSON.parse(text)))).toEqual(written);
      }),
    );
  });

  it('never throw, whatever travels', () => {
    fc.assert(fc.property(fc.anything(), (value) => void readSuccessions(value)));
    fc.assert(
      fc.property(
        fc.array(fc.dictionary(fc.constantFrom('old', 'new', 'new_pem', 'at', 'sig', 'x'), fc.anything())),
        (value) => void readSuccessions(value),
      ),
    );
  });

  const good = successionToJson(step('a', 'b'));
  it.each([
    ['no list', {}, 'not a list of at most 32'],
    ['too many', Array.from({ length: 33 }, () => good), 'not a list of at most 32'],
    ['a member more', [{ ...good, more: 1 }], 'more'],
    ['a member less', [{ ...good, sig: undefined }], 'sig'],
    ['no object', [1], 'object'],
    ['null', [null], 'object'],
    ['a serial in upper case', [{ ...good, old: 'AB' }], 'old'],
    ['a serial with a leading zero', [{ ...good, new: '0a' }], 'new'],
    ['a time that is no integer', [{ ...good, at: 1.5 }], 'at'],
    ['a time before the epoch', [{ ...good, at: -1 }], 'at'],
    ['a signature that is no base64url', [{ ...good, sig: '+/==' }], 'sig'],
    ['a certificate that is too long', [{ ...good, new_pem: 'x'.repeat(16 * 1024 + 1) }], 'new_pem'],
  ])('are refused with %s', (_, value, why) => {
    expect(failure(readSuccessions(value))).toContain(why);
  });

  it('are signed over everything that they say', () => {
    const der = Uint8Array.of(9, 9);
    const base = successionMessage(step('a', 'b'), der);
    for (const other of [
      successionMessage(step('c', 'b'), der),
      successionMessage(step('a', 'c'), der),
      successionMessage(step('a', 'b', 2), der),
      successionMessage(step('a', 'b'), Uint8Array.of(9)),
      // Nothing can be moved from one field to the next.
      successionMessage(step('ab', ''), der),
    ])
      expect(other).not.toEqual(base);
  });
});

describe('a chain', () => {
  it('is the shortest from a serial that is trusted', () => {
    const all = line(6);
    expect(chainTo(all, new Set(['1', '4']), '6')).toEqual(all.slice(3));
    expect(chainTo(all, new Set(['1']), '6')).toEqual(all);
    expect(chainTo(all, new Set(['6', '1']), '6')).toEqual([]);
  });

  it('is none where a step is missing, nothing is trusted, or it would be too long', () => {
    const all = line(6);
    expect(chainTo(all.toSpliced(2, 1), new Set(['1']), '6')).toBeUndefined();
    expect(chainTo(all, new Set(), '6')).toBeUndefined();
    expect(chainTo(all, new Set(['9']), '6')).toBeUndefined();
    expect(chainTo(line(33), new Set(['1']), '21')).toHaveLength(32);
    expect(chainTo(line(34), new Set(['1']), '22')).toBeUndefined();
  });

  it('leads without a gap from a trusted serial to the end, through none that is trusted', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 50 }), fc.array(fc.integer({ min: 1, max: 50 })), (n, from) => {
        const trusted = new Set(from.map((each) => each.toString(16)));
        const to = n.toString(16);
        const chain = chainTo(line(n), trusted, to);
        if (!chain || chain.length === 0) return;
        expect(trusted.has(chain[0]?.old ?? '')).toBe(true);
        expect(chain.at(-1)?.new).toBe(to);
        for (const [index, each] of chain.entries()) {
          if (index > 0) expect(each.old).toBe(chain[index - 1]?.new);
          expect(trusted.has(each.new)).toBe(false);
        }
      }),
    );
  });
});

describe('a line', () => {
  it('is every step that leads there, as many as a chain may have', () => {
    expect(lineTo(line(6), '6')).toEqual(line(6));
    expect(lineTo(line(6), '3')).toEqual(line(3));
    expect(lineTo(line(6), 'ff')).toEqual([]);
    expect(lineTo(line(60), (60).toString(16))).toEqual(line(60).slice(-maxChain));
  });

  it('ends, also where records go round', () => {
    expect(lineTo([step('a', 'b'), step('b', 'a')], 'a')).toHaveLength(maxChain);
    expect(chainTo([step('a', 'b'), step('b', 'a')], new Set(['c']), 'a')).toBeUndefined();
  });
});
