import { describe, expect, it } from 'vitest';
import type { Revocation, Revocations } from '../../src/ports/revocations.js';
import { value } from './result.js';

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

    it('the revision can be raised, never lowered, and counts on from there', async () => {
      const revocations = await open();
      expect(value(await revocations.raise(7))).toEqual({ revision: 7 });
      expect(value(await revocations.raise(3))).toEqual({ revision: 7 });
      expect(value(await revocations.revision())).toBe(7);
      expect(value(await revocations.add([revocation('1f')]))).toEqual({ revision: 8 });
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
