import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { caSetDigest, overlapEnd, renewalDue, rotationDue } from '../../../../src/domain/trust/lifecycle.js';

const day = 86_400_000;

describe('renewal', () => {
  it('is due when less than half of the lifetime remains', () => {
    const period = { notBefore: 0, notAfter: 10 * day };
    expect(renewalDue(period, 5 * day)).toBe(false);
    expect(renewalDue(period, 5 * day + 1)).toBe(true);
    expect(renewalDue(period, 11 * day)).toBe(true);
    expect(renewalDue(period, -day)).toBe(false);
  });
});

describe('rotation', () => {
  it('is due when fewer days remain than are given', () => {
    const period = { notBefore: 0, notAfter: 365 * day };
    expect(rotationDue(period, 90, 275 * day)).toBe(false);
    expect(rotationDue(period, 90, 275 * day + 1)).toBe(true);
  });

  it('is due where the certificate is not valid yet: it was made by a clock that was ahead', () => {
    const period = { notBefore: 0, notAfter: 365 * day };
    expect(rotationDue(period, 90, -1)).toBe(true);
    expect(rotationDue(period, 90, 0)).toBe(false);
  });

  it('is due at half of its lifetime where it lives shorter than twice as long', () => {
    const period = { notBefore: 0, notAfter: 10 * day };
    expect(rotationDue(period, 90, 5 * day)).toBe(false);
    expect(rotationDue(period, 90, 5 * day + 1)).toBe(true);
  });

  it('once due, stays due, and is always due when the certificate has expired', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4000 }),
        fc.integer({ min: 1, max: 400 }),
        fc.nat(5000),
        (life, margin, at) => {
          const period = { notBefore: 0, notAfter: life * day };
          if (rotationDue(period, margin, at * day))
            expect(rotationDue(period, margin, at * day + 1)).toBe(true);
          expect(rotationDue(period, margin, life * day + 1)).toBe(true);
          // A certificate that has just been made is not replaced at once, or there would be no end.
          expect(rotationDue(period, margin, 0)).toBe(false);
        },
      ),
    );
  });
});

it('the overlap ends so many days after the switch', () => {
  expect(overlapEnd(1000, 30)).toBe(1000 + 30 * day);
});

describe('the digest of a set of CAs', () => {
  it('is the same in whatever order, and another for another set', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.constantFrom('aa', 'bb', 'cc', 'dd'), { minLength: 1 }), (set) => {
        expect(caSetDigest([...set].reverse())).toBe(caSetDigest(set));
        expect(caSetDigest([...set, 'ee'])).not.toBe(caSetDigest(set));
      }),
    );
  });
});
