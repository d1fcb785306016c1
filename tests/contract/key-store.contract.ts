import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KeyStore, KeyStoreItem } from '../../src/ports/key-store.js';
import { failure, value } from './result.js';

/** An empty key store for one test. */
export interface KeyStoreSubject {
  readonly store: KeyStore;
  /** The same storage, opened once more. */
  readonly again: () => KeyStore;
  /** Called after the test. */
  readonly dispose: () => Promise<void>;
}

/** All there are: a record, so that none can be forgotten. */
const everyItem: Record<KeyStoreItem, true> = {
  'ca-key': true,
  'ca-certificate': true,
  'ca-previous-key': true,
  'dispatcher-key': true,
  'dispatcher-certificate': true,
  'dispatcher-next-key': true,
  'dispatcher-next-certificate': true,
  'dispatcher-previous-key': true,
  'dispatcher-previous-certificate': true,
  rotation: true,
  'pairing-key': true,
  'pairing-certificate': true,
  'agent-key': true,
  'agent-certificate': true,
  'trusted-dispatchers': true,
  'dispatcher-certificates': true,
  'signing-dispatchers': true,
  'trust-origins': true,
  'agent-revocation-lists': true,
  'revoked-serials': true,
  'refused-serials': true,
};
const ITEMS = Object.keys(everyItem) as KeyStoreItem[];

/** What holds for every `KeyStore`. */
export function keyStoreContract(name: string, create: () => Promise<KeyStoreSubject>): void {
  describe(`key store contract: ${name}`, () => {
    let subject: KeyStoreSubject;
    beforeEach(async () => {
      subject = await create();
    });
    afterEach(() => subject.dispose());

    it('an item that is not there is undefined', async () => {
      const contents = value(await subject.store.read(ITEMS));
      expect(contents).toEqual(Object.fromEntries(ITEMS.map((item) => [item, undefined])));
      expect(Object.keys(contents)).toEqual([...ITEMS]);
    });

    it('what replace wrote is read back by another instance, item by item and together', async () => {
      const change = Object.fromEntries(ITEMS.map((item) => [item, `${item}\n`]));
      expect((await subject.store.replace(change)).isOk()).toBe(true);
      expect(value(await subject.again().read(ITEMS))).toEqual(change);
      for (const item of ITEMS) {
        expect(value(await subject.again().read([item]))).toEqual({ [item]: `${item}\n` });
      }
    });

    it('replace leaves the items that it does not name', async () => {
      await subject.store.replace({ 'agent-key': 'K1', 'agent-certificate': 'C1' });
      await subject.store.replace({ 'agent-certificate': 'C2', 'trusted-dispatchers': 'T2' });
      expect(
        value(await subject.store.read(['agent-key', 'agent-certificate', 'trusted-dispatchers'])),
      ).toEqual({ 'agent-key': 'K1', 'agent-certificate': 'C2', 'trusted-dispatchers': 'T2' });
    });

    it('an empty change is fine and an empty text is there', async () => {
      expect((await subject.store.replace({})).isOk()).toBe(true);
      expect((await subject.store.replace({ 'revoked-serials': '' })).isOk()).toBe(true);
      expect(value(await subject.store.read(['revoked-serials']))).toEqual({
        'revoked-serials': '',
      });
      expect(
        failure(await subject.store.replace({ 'revoked-serials': 'x' }, { onlyIfAbsent: true })).code,
      ).toBe('identity_exists');
    });

    it('any text survives unchanged', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.string({ unit: 'grapheme' }),
          fc.string({ unit: 'grapheme', maxLength: 5000 }),
          async (key, list) => {
            await subject.store.replace({ 'ca-key': key, 'revoked-serials': list });
            expect(value(await subject.again().read(['ca-key', 'revoked-serials']))).toEqual({
              'ca-key': key,
              'revoked-serials': list,
            });
          },
        ),
        { numRuns: 25 },
      );
    });

    it('onlyIfAbsent writes when nothing is there', async () => {
      const result = await subject.store.replace(
        { 'ca-key': 'K', 'ca-certificate': 'C' },
        { onlyIfAbsent: true },
      );
      expect(result.isOk()).toBe(true);
      expect(value(await subject.store.read(['ca-key', 'ca-certificate']))).toEqual({
        'ca-key': 'K',
        'ca-certificate': 'C',
      });
    });

    it('onlyIfAbsent writes nothing when one of its items is there, and says which', async () => {
      await subject.store.replace({ 'ca-certificate': 'OLD' });
      const error = failure(
        await subject.store.replace({ 'ca-key': 'K', 'ca-certificate': 'C' }, { onlyIfAbsent: true }),
      );
      expect(error.code).toBe('identity_exists');
      expect(error.message).toContain(subject.store.location('ca-certificate'));
      expect(value(await subject.store.read(['ca-key', 'ca-certificate']))).toEqual({
        'ca-key': undefined,
        'ca-certificate': 'OLD',
      });
    });

    it('of many that write at once with onlyIfAbsent exactly one succeeds, wholly', async () => {
      const results = await Promise.all(
        Array.from({ length: 12 }, (_, n) =>
          subject
            .again()
            .replace({ 'ca-key': `K${n}`, 'ca-certificate': `C${n}` }, { onlyIfAbsent: true })
            .match(
              () => n,
              (error) => error.code,
            ),
        ),
      );
      const winners = results.filter((result) => typeof result === 'number');
      expect(winners).toHaveLength(1);
      expect(new Set(results).size).toBe(2);
      expect(value(await subject.store.read(['ca-key', 'ca-certificate']))).toEqual({
        'ca-key': `K${winners[0]}`,
        'ca-certificate': `C${winners[0]}`,
      });
    });

    it('a reading during writings is never a mixture', async () => {
      await subject.store.replace({ 'agent-key': '0', 'agent-certificate': '0' });
      let writing = true;
      const writer = async () => {
        for (let n = 1; n <= 20; n += 1) {
          const text = String(n);
          expect((await subject.store.replace({ 'agent-key': text, 'agent-certificate': text })).isOk()).toBe(
            true,
          );
        }
        writing = false;
      };
      const reader = async () => {
        const other = subject.again();
        for (let last = 0; writing; ) {
          const seen = value(await other.read(['agent-key', 'agent-certificate']));
          expect(seen['agent-key']).toBe(seen['agent-certificate']);
          expect(Number(seen['agent-key'])).toBeGreaterThanOrEqual(last);
          last = Number(seen['agent-key']);
          await new Promise(setImmediate);
        }
      };
      await Promise.all([writer(), reader(), reader()]);
    });

    describe('removal', () => {
      const identity = ['dispatcher-key', 'dispatcher-next-key', 'dispatcher-previous-key'] as const;
      const read = async () => value(await subject.again().read(identity));

      it('of one item leaves the others, also for another instance', async () => {
        await subject.store.replace({ 'dispatcher-key': 'K', 'dispatcher-next-key': 'N' });
        expect((await subject.store.replace({ 'dispatcher-next-key': null })).isOk()).toBe(true);
        expect(await read()).toEqual({
          'dispatcher-key': 'K',
          'dispatcher-next-key': undefined,
          'dispatcher-previous-key': undefined,
        });
        await subject.store.replace({ 'dispatcher-next-key': 'M' });
        expect((await read())['dispatcher-next-key']).toBe('M');
      });

      it('and writing are one change', async () => {
        await subject.store.replace({ 'dispatcher-key': 'K', 'dispatcher-next-key': 'N' });
        const promoted = {
          'dispatcher-key': 'N',
          'dispatcher-next-key': null,
          'dispatcher-previous-key': 'K',
        } as const;
        expect((await subject.store.replace(promoted)).isOk()).toBe(true);
        expect(await read()).toEqual({
          'dispatcher-key': 'N',
          'dispatcher-next-key': undefined,
          'dispatcher-previous-key': 'K',
        });
      });

      it('of everything leaves nothing', async () => {
        await subject.store.replace(Object.fromEntries(ITEMS.map((item) => [item, item])));
        expect(
          (await subject.store.replace(Object.fromEntries(ITEMS.map((item) => [item, null])))).isOk(),
        ).toBe(true);
        const contents = value(await subject.again().read(ITEMS));
        expect(Object.values(contents)).toEqual(ITEMS.map(() => undefined));
      });

      it('of what is not there is nothing, alone and together with writing', async () => {
        expect((await subject.store.replace({ 'dispatcher-previous-key': null })).isOk()).toBe(true);
        expect((await subject.store.replace({ rotation: null, 'dispatcher-next-key': null })).isOk()).toBe(
          true,
        );
        expect(
          (await subject.store.replace({ 'dispatcher-key': 'K', 'dispatcher-next-key': null })).isOk(),
        ).toBe(true);
        expect(await read()).toEqual({
          'dispatcher-key': 'K',
          'dispatcher-next-key': undefined,
          'dispatcher-previous-key': undefined,
        });
      });

      it('does not count for onlyIfAbsent, but what is to be written does', async () => {
        await subject.store.replace({ 'dispatcher-next-key': 'N' });
        const change = { 'dispatcher-key': 'K', 'dispatcher-next-key': null } as const;
        expect((await subject.store.replace(change, { onlyIfAbsent: true })).isOk()).toBe(true);
        expect(await read()).toMatchObject({ 'dispatcher-key': 'K', 'dispatcher-next-key': undefined });
        await subject.store.replace({ 'dispatcher-next-key': 'M' });
        const refused = await subject.store.replace(change, { onlyIfAbsent: true });
        expect(failure(refused).code).toBe('identity_exists');
        expect(await read()).toMatchObject({ 'dispatcher-key': 'K', 'dispatcher-next-key': 'M' });
      });

      it('during readings is never seen half', async () => {
        await subject.store.replace({ 'dispatcher-key': '0', 'dispatcher-next-key': '1' });
        let writing = true;
        const writer = async () => {
          for (let n = 1; n <= 20; n += 1) {
            const change =
              n % 2 === 1
                ? { 'dispatcher-key': `${n}`, 'dispatcher-next-key': null }
                : { 'dispatcher-key': `${n}`, 'dispatcher-next-key': `${n + 1}` };
            expect((await subject.store.replace(change)).isOk()).toBe(true);
          }
          writing = false;
        };
        const reader = async () => {
          const other = subject.again();
          while (writing) {
            const seen = value(await other.read(['dispatcher-next-key', 'dispatcher-key']));
            const n = Number(seen['dispatcher-key']);
            expect(seen['dispatcher-next-key']).toBe(n % 2 === 1 ? undefined : `${n + 1}`);
            await new Promise(setImmediate);
          }
        };
        await Promise.all([writer(), reader(), reader()]);
      });
    });

    it('checkWritable says yes and changes nothing', async () => {
      await subject.store.replace({ 'agent-key': 'K' });
      expect((await subject.store.checkWritable(ITEMS)).isOk()).toBe(true);
      expect(value(await subject.store.read(['agent-key', 'ca-key']))).toEqual({
        'agent-key': 'K',
        'ca-key': undefined,
      });
    });

    it('every item has a place of its own that a message can name', () => {
      const places = ITEMS.map((item) => subject.store.location(item));
      expect(new Set(places).size).toBe(ITEMS.length);
      expect(places).not.toContain('');
    });

    it('names the paths of all of its items and of its journal, or none where it has no files', () => {
      const paths = subject.store.paths();
      const files = ITEMS.map((item) => subject.store.location(item)).filter((place) =>
        place.startsWith('/'),
      );
      expect(paths).toEqual(expect.arrayContaining(files));
      expect(paths).toHaveLength(files.length === 0 ? 0 : files.length + 1);
    });
  });
}
