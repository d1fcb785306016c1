import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  knownSerialState,
  mayAnswerUnsigned,
  newStanding,
  outlived,
  type StandingChange,
  serialState,
  withChange,
  worthKeeping,
} from '../../../../src/domain/trust/agent-standing.js';

const serial = fc.constantFrom('a', 'b', 'c', 'd');
const serials = fc.uniqueArray(serial);
const standings = fc.record({
  serials,
  caSet: fc.option(fc.constantFrom('x', 'x,y'), { nil: undefined }),
  crlNumber: fc.nat(5),
  lastContact: fc.option(fc.nat(1_000_000), { nil: undefined }),
  speaks: fc.constantFrom('signed' as const, 'unsigned' as const, undefined),
});
const changes = fc.record(
  {
    trusts: serials,
    retired: serials,
    caSet: fc.constantFrom('x', 'x,y'),
    crlNumber: fc.nat(5),
    lastContact: fc.nat(1_000_000),
    speaks: fc.constantFrom('signed', 'unsigned'),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<StandingChange>;

describe('the standing of an agent', () => {
  it('begins with the serials of its pairing and nothing else', () => {
    expect(newStanding(['a'])).toEqual({
      serials: ['a'],
      caSet: undefined,
      crlNumber: 0,
      lastContact: undefined,
      speaks: undefined,
    });
  });

  it('changes alike whether a change comes once or twice', () => {
    fc.assert(
      fc.property(standings, changes, (standing, change) => {
        const once = withChange(standing, change);
        expect(withChange(once, change)).toEqual(once);
      }),
    );
  });

  it('never holds a serial twice, nor one that was retired; those it has keep their order', () => {
    fc.assert(
      fc.property(standings, changes, (standing, change) => {
        const next = withChange(standing, change).serials;
        expect(new Set(next).size).toBe(next.length);
        for (const gone of change.retired ?? []) expect(next).not.toContain(gone);
        const kept = standing.serials.filter((each) => next.includes(each));
        expect(next.slice(0, kept.length)).toEqual(kept);
      }),
    );
  });

  it('does not lose what another writer noted: additions of two commute', () => {
    fc.assert(
      fc.property(standings, serials, serials, (standing, one, other) => {
        const first = withChange(withChange(standing, { trusts: one }), { trusts: other });
        const second = withChange(withChange(standing, { trusts: other }), { trusts: one });
        expect([...first.serials].sort()).toEqual([...second.serials].sort());
      }),
    );
  });

  it('is worth a write when it says something new, and an answer alone when a minute has passed', () => {
    const standing = { ...newStanding(['a']), lastContact: 1_000_000 };
    expect(worthKeeping(standing, { lastContact: 1_059_999 })).toBeUndefined();
    expect(worthKeeping(standing, { lastContact: 1_060_000 })).toMatchObject({ lastContact: 1_060_000 });
    // The clock was set back.
    expect(worthKeeping(standing, { lastContact: 100 })).toMatchObject({ lastContact: 100 });
    expect(worthKeeping(newStanding(), { lastContact: 1 })).toMatchObject({ lastContact: 1 });
    expect(worthKeeping(standing, { trusts: ['a'], crlNumber: 0 })).toBeUndefined();
    expect(worthKeeping(standing, { trusts: ['b'], lastContact: 1_000_001 })).toMatchObject({
      serials: ['a', 'b'],
      lastContact: 1_000_001,
    });
    expect(worthKeeping(standing, { crlNumber: 2 })).toMatchObject({ crlNumber: 2 });
    expect(worthKeeping(standing, { caSet: 'x' })).toMatchObject({ caSet: 'x' });
  });

  it('what is not worth a write says nothing else new', () => {
    fc.assert(
      fc.property(standings, changes, (standing, change) => {
        const kept = worthKeeping(standing, change);
        const next = withChange(standing, change);
        if (kept) expect(kept).toEqual(next);
        else expect({ ...next, lastContact: 0 }).toEqual({ ...standing, lastContact: 0 });
      }),
    );
  });
});

describe('serials', () => {
  const own = { current: 'b', next: undefined, previous: 'a' };
  it.each([
    [['b'], own, 'current'],
    [['a', 'b'], own, 'current'],
    [['a'], own, 'pending'],
    [['z'], own, 'stale'],
    [[], own, 'stale'],
    [['b'], { ...own, next: 'c' }, 'pending'],
    [['b', 'c'], { ...own, next: 'c' }, 'current'],
    [['c'], { ...own, next: 'c' }, 'stale'],
    [['a'], { ...own, previous: undefined }, 'stale'],
  ] as const)('%j of %j: %s', (trusted, of, state) => {
    expect(serialState({ serials: trusted }, of)).toBe(state);
  });

  it.each([
    [['b'], 'unsigned', undefined, 'current'],
    [['b'], undefined, undefined, 'current'],
    [['a', 'b'], 'signed', undefined, 'current'],
    [['a', 'b'], 'unsigned', 'b', 'current'],
    [['a', 'b'], 'unsigned', 'a', 'pending'],
    [['a', 'b'], 'unsigned', undefined, 'pending'],
    [['a'], 'unsigned', 'a', 'pending'],
    [['z'], 'unsigned', 'z', 'stale'],
  ] as const)(
    '%j of an agent that is %s and last accepted %s: %s is known',
    (serials, speaks, accepted, state) => {
      expect(knownSerialState({ serials, speaks, ...(accepted && { accepted }) }, own)).toBe(state);
    },
  );

  it('by which an agent accepted a request are kept of one that does not sign', () => {
    const standing = newStanding(['a', 'b'], undefined, 'unsigned');
    expect(worthKeeping({ ...standing, lastContact: 1 }, { lastContact: 2, accepted: 'b' })).toMatchObject({
      accepted: 'b',
    });
    expect(withChange({ ...standing, accepted: 'a' }, { speaks: 'signed' })).not.toHaveProperty('accepted');
    expect(withChange(newStanding(['a'], undefined, 'signed'), { accepted: 'a' })).not.toHaveProperty(
      'accepted',
    );
  });

  it('are outlived when they are none of the three that are in use', () => {
    expect(outlived({ serials: ['z', 'a', 'b', 'c'] }, { ...own, next: 'c' })).toEqual(['z']);
    expect(outlived({ serials: ['a', 'b'] }, { ...own, previous: undefined })).toEqual(['a']);
    expect(outlived({ serials: [] }, own)).toEqual([]);
  });
});

describe('an answer without a signature', () => {
  const agent = (name: string, speaks?: 'signed' | 'unsigned') => ({ name, standing: { speaks } });

  it('is accepted of agents that the operator names, and of all with *', () => {
    expect(mayAnswerUnsigned(agent('old-01'), ['old-01', 'old-02'])).toBe(true);
    expect(mayAnswerUnsigned(agent('old-01', 'unsigned'), '*')).toBe(true);
    expect(mayAnswerUnsigned(agent('old-03'), ['old-01', 'old-02'])).toBe(false);
    expect(mayAnswerUnsigned(agent('old-01'), [])).toBe(false);
  });

  it('is accepted of no agent that has signed once, however it is named', () => {
    expect(mayAnswerUnsigned(agent('old-01', 'signed'), ['old-01'])).toBe(false);
    expect(mayAnswerUnsigned(agent('old-01', 'signed'), '*')).toBe(false);
  });

  it('does not undo a signature of before', () => {
    const signed = withChange(newStanding(), { speaks: 'signed' });
    expect(withChange(signed, { speaks: 'unsigned' }).speaks).toBe('signed');
    expect(worthKeeping(signed, { speaks: 'unsigned' })).toBeUndefined();
    expect(withChange(newStanding(), { speaks: 'unsigned' }).speaks).toBe('unsigned');
  });
});
