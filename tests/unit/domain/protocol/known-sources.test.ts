import fc from 'fast-check';
import { expect, it } from 'vitest';
import { knownFor, knownSources } from '../../../../src/domain/protocol/known-sources.js';

const now = 1_700_000_000_000;

it('a source is known for a day', () => {
  const known = knownSources('', now);
  expect(known.has('a', now)).toBe(false);
  known.note('a', now);
  expect(known.has('a', now + knownFor - 1)).toBe(true);
  expect(known.has('a', now + knownFor)).toBe(false);
});

it('is written when it is new, and then not more than once an hour', () => {
  const known = knownSources('', now);
  const minute = 60_000;
  const written = [0, 1, 59, 60, 61, 120].map((after) => known.note('a', now + after * minute));
  expect(written).toEqual([true, false, false, true, false, true]);
});

it('what was written is read again; what is no line is passed over', () => {
  const known = knownSources('', now);
  for (const source of ['192.0.2.1', '2001:db8::/64', 'fe80::%eth0/64']) known.note(source, now);
  const text = known.write(now);
  const again = knownSources(`nonsense\n\n1.2.3.4 x\n${text}`, now + 1);
  expect(again.write(now + 1)).toBe(text);
  expect(again.has('fe80::%eth0/64', now + 1)).toBe(true);
  expect(knownSources(text, now + knownFor).write(now + knownFor)).toBe('');
});

it('a time of a clock that was ahead is not believed', () => {
  const known = knownSources(`a ${now + 10 * knownFor}\n`, now);
  expect(known.has('a', now)).toBe(true);
  expect(known.has('a', now + knownFor)).toBe(false);
});

it('reads anything, and never remembers more than 256', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void knownSources(text, now).write(now)));
  const known = knownSources('', now);
  for (let at = 0; at < 1_000; at += 1) known.note(`s${at}`, now + at);
  expect(known.write(now + 1_000).split('\n')).toHaveLength(257);
  expect([known.has('s743', now + 1_000), known.has('s744', now + 1_000)]).toEqual([false, true]);
});
