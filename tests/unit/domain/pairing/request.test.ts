import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  admit,
  comparison,
  ended,
  isGivenUp,
  type PairingRequest,
  sameCode,
} from '../../../../src/domain/pairing/request.js';

const request = (change: Partial<PairingRequest> = {}): PairingRequest => ({
  id: '7f3a91c2'.repeat(4),
  state: 'open',
  host: 'web-01',
  ip: '192.0.2.1',
  port: 7443,
  lookupBy: 'ip',
  code: '482913',
  version: 'v2',
  decision: undefined,
  createdAt: 0,
  expiresAt: 600_000,
  place: { kind: 'compare', key: '192.0.2.1', until: 600_000 },
  ...change,
});

describe('what people compare', () => {
  it('is the first eight digits of the request id, and the code', () => {
    expect(comparison(request(), '482913')).toBe('7f3a91c2-482913');
  });

  it.each([
    ['482913', true],
    ['7f3a91c2-482913', true],
    ['7F3A91C2-482913', true],
    ['482914', false],
    ['7f3a91c2-482914', false],
    ['7f3a91c3-482913', false],
    ['48291', undefined],
    ['482 913', undefined],
    ['7f3a91c-482913', undefined],
    ['7f3a91c2482913', undefined],
    ['', undefined],
  ])('is %j: %s', (given, same) => {
    expect(sameCode(request(), given)).toBe(same);
  });

  it('is never that of another request, or of one without a code', () => {
    fc.assert(
      fc.property(fc.nat(0xffff_ffff), fc.nat(999_999), (id, code) => {
        const whole = `${id.toString(16).padStart(8, '0')}-${String(code).padStart(6, '0')}`;
        expect(sameCode(request(), whole)).toBe(whole === '7f3a91c2-482913');
        expect(sameCode(request({ code: undefined }), whole)).toBe(false);
      }),
    );
  });
});

describe('places', () => {
  const limits = { total: 10, perKey: 2 };

  it('are held on by what was given up after its code was known, and by nothing else', () => {
    for (const state of ['denied', 'expired'] as const) {
      expect(isGivenUp(ended(request(), state), 599_999)).toBe(true);
      expect(isGivenUp(ended(request(), state), 600_000)).toBe(false);
      expect(isGivenUp(ended(request({ code: undefined }), state), 0)).toBe(false);
      const joined = request({ place: { kind: 'join', key: 'token', until: 600_000 } });
      expect(isGivenUp(ended(joined, state), 0)).toBe(false);
    }
    expect(isGivenUp(request(), 0)).toBe(false);
  });

  it('are never more than there are, whoever comes', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('compare' as const, 'join' as const),
        fc.array(fc.tuple(fc.nat(5), fc.boolean()), { maxLength: 60 }),
        (kind, arrivals) => {
          let held: readonly PairingRequest[] = [];
          for (const [source, opens] of arrivals) {
            const key = String(source);
            const next = request({
              id: String(held.length),
              state: 'started',
              place: { kind, key, until: 15_000 },
            });
            const { admission, displaced } = admit(next, held, limits);
            if (admission !== 'admitted') expect(displaced).toEqual([]);
            for (const other of displaced) expect([other.place.key, other.state]).toEqual([key, 'started']);
            if (kind === 'compare') expect(displaced).toEqual([]);
            const left = held.filter((other) => !displaced.includes(other));
            held =
              admission === 'admitted' ? [...left, opens ? { ...next, state: 'open' as const } : next] : left;
            expect(held.length).toBeLessThanOrEqual(limits.total);
            expect(held.filter(({ place }) => place.key === key).length).toBeLessThanOrEqual(limits.perKey);
          }
        },
      ),
    );
  });
});
