import { describe, expect, it } from 'vitest';
import { keptAfterExpiry } from '../../src/domain/trust/issued-certificate.js';
import { maxRevoked } from '../../src/domain/trust/revocation-list.js';
import type { Revocation, Revocations } from '../../src/ports/revocations.js';
import { failure, value } from './result.js';

const revocation = (serial: string, change: Partial<Revocation> = {}): Revocation => ({
  serial,
  name: 'web-01',
  revokedAt: 1_700_000_000_000,
  ...change,
});

/** What holds for every `Revocations`. `open` gives an empty store; `openTwo` two empty ones that hold the same. */
export function revocationsContract(
  adapter: string,
  open: () => Revocations | Promise<Revocations>,
  openTwo: () => Promise<readonly [Revocations, Revocations]>,
): void {
  describe(`revocations: ${adapter}`, () => {
    const current = async (revocations: Revocations) => value(await revocations.current());

    it('nothing is revoked at first, at revision 0', async () => {
      const revocations = await open();
      expect(await current(revocations)).toEqual({ revision: 0, entries: [] });
      expect(value(await revocations.revision())).toBe(0);
      expect(value(await revocations.has('1f'))).toBe(false);
    });

    it('entries come back as they were added, sorted by serial', async () => {
      const revocations = await open();
      const entries = [
        revocation('c3'),
        revocation('1f', { name: undefined }),
        revocation('0a', { revokedAt: 5 }),
      ];
      expect(value(await revocations.add(entries))).toEqual({ revision: 1 });
      const kept = await current(revocations);
      expect(kept.entries).toStrictEqual([entries[2], entries[1], entries[0]]);
      for (const { serial } of entries) expect(value(await revocations.has(serial))).toBe(true);
      expect(value(await revocations.has('c'))).toBe(false);
    });

    it('each change counts once, however many entries it has', async () => {
      const revocations = await open();
      const changes = [['a1'], ['b1', 'b2', 'b3'], ['c1', 'a1']];
      for (const [index, serials] of changes.entries()) {
        const entries = serials.map((serial) => revocation(serial));
        expect(value(await revocations.add(entries)).revision).toBe(index + 1);
        expect(value(await revocations.revision())).toBe(index + 1);
        expect((await current(revocations)).revision).toBe(index + 1);
      }
    });

    it('a serial that is there keeps what it has, and where all are the revision stays', async () => {
      const revocations = await open();
      value(await revocations.add([revocation('1f'), revocation('2e')]));
      const before = await current(revocations);
      const again = revocation('1f', { name: 'other', revokedAt: 1 });
      expect(value(await revocations.add([again, revocation('2e')]))).toEqual({ revision: 1 });
      expect(value(await revocations.add([]))).toEqual({ revision: 1 });
      expect(await current(revocations)).toEqual(before);
      expect(value(await revocations.add([again, revocation('3d')]))).toEqual({ revision: 2 });
      expect((await current(revocations)).entries).toEqual([...before.entries, revocation('3d')]);
    });

    it('a serial that is given twice is the first of them', async () => {
      const revocations = await open();
      const twice = [revocation('1f'), revocation('1f', { name: 'other' })];
      expect(value(await revocations.add(twice))).toEqual({ revision: 1 });
      expect((await current(revocations)).entries).toEqual([revocation('1f')]);
    });

    it('of a list that is merged every entry is kept, and the revision is above both', async () => {
      const revocations = await open();
      value(await revocations.add([revocation('1f')]));
      const held = [revocation('1f', { revokedAt: 1 }), revocation('2e', { name: undefined, revokedAt: 2 })];
      expect(value(await revocations.merge(7, held))).toEqual({ revision: 8, added: 1 });
      expect((await current(revocations)).entries).toEqual([revocation('1f'), held[1]]);
      // Once more, and an older list: nothing is new.
      expect(value(await revocations.merge(7, held))).toEqual({ revision: 8, added: 0 });
      expect(value(await revocations.merge(3, []))).toEqual({ revision: 8, added: 0 });
      // Of a lower number, with more on it.
      expect(value(await revocations.merge(3, [revocation('3d')]))).toEqual({ revision: 9, added: 1 });
      // Of a higher one, with nothing new.
      expect(value(await revocations.merge(9, []))).toEqual({ revision: 9, added: 0 });
      expect(value(await revocations.merge(10, []))).toEqual({ revision: 11, added: 0 });
      expect(value(await revocations.add([revocation('4c')]))).toEqual({ revision: 12 });
    });

    it('since when the holder of a list misses something is known, whatever it misses', async () => {
      const revocations = await open();
      const missing = async (revision: number) => value(await revocations.missingSince(revision));
      expect(await missing(0)).toBeUndefined();
      value(await revocations.add([revocation('1f', { revokedAt: 100 })]));
      value(await revocations.add([revocation('2e', { revokedAt: 200 })]));
      value(await revocations.merge(9, [revocation('3d', { revokedAt: 50 })]));
      expect(await Promise.all([0, 1, 2, 9, 10].map(missing))).toEqual([50, 50, 50, 50, undefined]);
      value(await revocations.add([revocation('4c', { revokedAt: 300 })]));
      expect(await missing(10)).toBe(300);
      // A higher number alone brings nothing that could be missed.
      value(await revocations.merge(20, []));
      expect(await missing(11)).toBeUndefined();
    });

    it('what expired, and was revoked, more than a year ago goes with the next revocation; the rest stays', async () => {
      const revocations = await open();
      const now = 1_700_000_000_000;
      const longAgo = now - keptAfterExpiry - 1;
      const entries = [
        revocation('a1', { revokedAt: longAgo, notAfter: longAgo }),
        revocation('a2', { revokedAt: longAgo }),
        revocation('a3', { revokedAt: longAgo, notAfter: longAgo + 2 }),
        revocation('a4', { revokedAt: longAgo + 2, notAfter: longAgo }),
      ];
      value(await revocations.merge(1, entries));
      expect((await current(revocations)).entries).toEqual(entries);
      // What is there already changes nothing.
      value(await revocations.add([revocation('a1', { revokedAt: now })]));
      expect((await current(revocations)).entries).toEqual(entries);
      const last = revocation('a5', { revokedAt: now, notAfter: longAgo });
      expect(value(await revocations.add([last]))).toEqual({ revision: 3 });
      expect((await current(revocations)).entries).toEqual([...entries.slice(1), last]);
    });

    it('more than a list can hold is refused, and nothing of it is kept', async () => {
      const revocations = await open();
      const many = Array.from({ length: maxRevoked }, (_, index) => revocation((index + 1).toString(16)));
      const { revision } = value(await revocations.merge(1, many));
      const one = revocation('ffffffff');
      const key = { spkiSha256: 'k', name: 'web-01', bannedAt: 1 };
      const tooLarge = { code: 'too_large', limit: maxRevoked };
      expect(failure(await revocations.add([one]))).toMatchObject(tooLarge);
      expect(failure(await revocations.merge(9, [one]))).toMatchObject(tooLarge);
      expect(failure(await revocations.revoke({ entries: [one], keys: [key], at: 1 }))).toMatchObject(
        tooLarge,
      );
      expect(value(await revocations.revision())).toBe(revision);
      expect(value(await revocations.has(one.serial))).toBe(false);
      expect(value(await revocations.banOf('k'))).toBeUndefined();
    }, 60_000);

    it('a person who revokes bans keys with it; a ban stays until it is lifted, once', async () => {
      const revocations = await open();
      const keys = ['b2', 'a1'].map((spkiSha256) => ({ spkiSha256, name: 'web-01', bannedAt: 5 }));
      expect(value(await revocations.revoke({ entries: [revocation('1f')], keys, at: 5 }))).toMatchObject({
        revision: 1,
      });
      const again = [{ spkiSha256: 'b2', name: 'other', bannedAt: 9 }];
      expect(value(await revocations.revoke({ entries: [], keys: again, at: 9 }))).toMatchObject({
        revision: 1,
      });
      expect(value(await revocations.bannedKeys())).toEqual([keys[1], keys[0]]);
      expect(value(await revocations.banOf('b2'))).toEqual(keys[0]);
      expect(value(await revocations.banOf('c3'))).toBeUndefined();
      expect(value(await revocations.unban('b2'))).toEqual(keys[0]);
      expect(value(await revocations.unban('b2'))).toBeUndefined();
      expect(value(await revocations.banOf('b2'))).toBeUndefined();
      expect(value(await revocations.has('1f'))).toBe(true);
    });

    it('certificates that are kept are found by serial and by name, until they are of no use', async () => {
      const revocations = await open();
      const issued = (serial: string, name: string, notAfter = 5) => ({
        serial,
        name,
        spkiSha256: 'k',
        notAfter,
      });
      const all = [issued('2e', 'a'), issued('1f', 'a'), issued('3d', 'b', keptAfterExpiry)];
      for (const each of [...all, issued('1f', 'a')]) value(await revocations.remember(each));
      expect(value(await revocations.issued({ name: 'a' }))).toEqual([all[1], all[0]]);
      expect(value(await revocations.issued({ serial: '3d' }))).toEqual([all[2]]);
      expect(value(await revocations.issued({ serial: '4c' }))).toEqual([]);
      value(await revocations.add([revocation('f1', { revokedAt: keptAfterExpiry + 6 })]));
      expect(value(await revocations.issued({ name: 'a' }))).toEqual([]);
      expect(value(await revocations.issued({ name: 'b' }))).toHaveLength(1);
    });

    it('of writers at once none loses an entry or a revision', async () => {
      const writers = await openTwo();
      const serials = Array.from({ length: 20 }, (_, index) => `e${index}`);
      const added = await Promise.all(
        serials.map(async (serial, index) =>
          writers[index % 2]?.add([revocation(serial), revocation('all')]),
        ),
      );
      const revisions = added.map((outcome) => (outcome ? value(outcome).revision : 0));
      expect(revisions.sort((a, b) => a - b)).toEqual(serials.map((_, index) => index + 1));
      for (const writer of writers) {
        const { revision, entries } = await current(writer);
        expect(revision).toBe(serials.length);
        expect(entries.map(({ serial }) => serial)).toEqual(['all', ...serials].sort());
      }
    });

    it('what is handed in or out can be changed without changing what is kept', async () => {
      const revocations = await open();
      const given = revocation('1f');
      value(await revocations.add([given]));
      Object.assign(given, { name: 'changed' });
      Object.assign((await current(revocations)).entries[0] ?? {}, { name: 'changed' });
      expect((await current(revocations)).entries).toEqual([revocation('1f')]);
    });
  });
}
