import { describe, expect, it } from 'vitest';
import type { Mutex } from '../../src/ports/mutex.js';
import { failure, value } from './result.js';

/** What holds for every `Mutex`. `openPlace` gives a place where nothing is held; each call of what it returns is a further instance there. */
export function mutexContract(adapter: string, openPlace: () => () => Mutex | Promise<Mutex>): void {
  describe(`mutex: ${adapter}`, () => {
    const openTwo = async () => {
      const open = openPlace();
      return [await open(), await open()] as const;
    };
    const taken = async (mutex: Mutex, name: string): Promise<boolean> =>
      (await mutex.acquire(name, 1000)).isOk();

    it('a name is held once, and whoever comes second learns by whom and since when', async () => {
      const [first, second] = await openTwo();
      value(await first.acquire('pairing', 1234));
      for (const mutex of [first, second]) {
        const error = failure(await mutex.acquire('pairing', 5000));
        expect(error).toMatchObject({
          code: 'held',
          what: 'pairing',
          by: `process ${process.pid}`,
          since: new Date(1234),
        });
      }
    });

    it('another name is free', async () => {
      const [first, second] = await openTwo();
      expect(await taken(first, 'pairing')).toBe(true);
      expect(await taken(second, 'maintain')).toBe(true);
      expect(await taken(second, 'PAIRING')).toBe(true);
    });

    it('what is released can be held again, by anybody, under a higher term', async () => {
      const [first, second] = await openTwo();
      const held = value(await first.acquire('pairing', 1000));
      value(await held.release());
      const next = value(await second.acquire('pairing', 1000));
      expect(next.term).toBeGreaterThan(held.term);
      expect(next.lost.aborted).toBe(false);
    });

    it('a release counts once, and never for the next holder', async () => {
      const [first, second] = await openTwo();
      const held = value(await first.acquire('pairing', 1000));
      value(await held.release());
      value(await second.acquire('pairing', 1000));
      value(await held.release());
      expect(await taken(first, 'pairing')).toBe(false);
    });

    it('of many that ask at once exactly one holds it', async () => {
      const open = openPlace();
      const instances = await Promise.all(Array.from({ length: 4 }, open));
      const outcomes = await Promise.all(
        [...instances, ...instances].map((mutex) => taken(mutex, 'pairing')),
      );
      expect(outcomes.filter(Boolean)).toHaveLength(1);
    });

    it('closing releases what the instance holds and nothing else, and it may hold again', async () => {
      const [first, second] = await openTwo();
      expect(await taken(first, 'pairing')).toBe(true);
      expect(await taken(second, 'maintain')).toBe(true);
      value(await first.close());
      value(await first.close());
      expect(await taken(second, 'pairing')).toBe(true);
      expect(await taken(first, 'maintain')).toBe(false);
      expect(await taken(first, 'identity')).toBe(true);
    });
  });
}
