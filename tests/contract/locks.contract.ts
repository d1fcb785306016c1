import { describe, expect, it } from 'vitest';
import type { LockKey, Locks } from '../../src/ports/locks.js';
import { failure, value } from './result.js';

const key = (host: string, script = 'deploy'): LockKey => ({ host, script });

/** What holds for every `Locks`. `openPlace` gives a place without locks; each call of what it returns is a further instance there. */
export function locksContract(adapter: string, openPlace: () => () => Locks | Promise<Locks>): void {
  describe(`locks: ${adapter}`, () => {
    const openOne = async (): Promise<Locks> => openPlace()();
    const acquired = async (locks: Locks, keys: readonly LockKey[], reqid: string): Promise<boolean> =>
      (await locks.acquire(keys, reqid, 1000)).isOk();
    const conflicts = async (locks: Locks, keys: readonly LockKey[]): Promise<readonly string[]> => {
      const error = failure(await locks.acquire(keys, 'other', 1000));
      if (error.code !== 'locked') throw new Error(error.message);
      return error.conflicts;
    };
    const listed = async (locks: Locks): Promise<readonly string[]> =>
      value(await locks.list()).map(({ host, script }) => `${host}:${script}`);

    it('a lock that is held shows who holds it', async () => {
      const locks = await openOne();
      value(await locks.acquire([key('web-01')], 'r1', 1234));
      expect(value(await locks.list())).toEqual([
        { host: 'web-01', script: 'deploy', reqid: 'r1', pid: process.pid, since: 1234 },
      ]);
    });

    it('a key is taken once, also by the same reqid', async () => {
      const locks = await openOne();
      expect(await acquired(locks, [key('web-01')], 'r1')).toBe(true);
      expect(await acquired(locks, [key('web-01')], 'r2')).toBe(false);
      expect(await acquired(locks, [key('web-01')], 'r1')).toBe(false);
    });

    it('another script on the host and the script on another host are free', async () => {
      const locks = await openOne();
      expect(await acquired(locks, [key('web-01')], 'r1')).toBe(true);
      expect(await acquired(locks, [key('web-01', 'backup')], 'r2')).toBe(true);
      expect(await acquired(locks, [key('web-02')], 'r3')).toBe(true);
    });

    it('host and script do not run into each other', async () => {
      const locks = await openOne();
      expect(await acquired(locks, [{ host: 'a:b', script: 'c' }], 'r1')).toBe(true);
      expect(await acquired(locks, [{ host: 'a', script: 'b:c' }], 'r2')).toBe(true);
      expect(await acquired(locks, [{ host: 'A:b', script: 'c' }], 'r3')).toBe(true);
    });

    it('all keys are taken or none', async () => {
      const locks = await openOne();
      expect(await acquired(locks, [key('web-02')], 'r1')).toBe(true);
      expect(await acquired(locks, [key('web-01'), key('web-02'), key('web-03')], 'r2')).toBe(false);
      expect(await listed(locks)).toEqual(['web-02:deploy']);
      expect(await acquired(locks, [key('web-01'), key('web-03')], 'r3')).toBe(true);
    });

    it('the conflicts are named, sorted, and nothing but the conflicts', async () => {
      const locks = await openOne();
      expect(await acquired(locks, [key('web-03'), key('web-01'), key('web-10')], 'r1')).toBe(true);
      expect(await conflicts(locks, [key('web-10'), key('web-02'), key('web-03'), key('web-01')])).toEqual([
        'web-01:deploy',
        'web-03:deploy',
        'web-10:deploy',
      ]);
    });

    it('asking twice for a key within a call is one lock', async () => {
      const locks = await openOne();
      expect(await acquired(locks, [key('web-01'), key('web-01')], 'r1')).toBe(true);
      expect(await listed(locks)).toEqual(['web-01:deploy']);
      expect(await conflicts(locks, [key('web-01'), key('web-01')])).toEqual(['web-01:deploy']);
    });

    it('asking for nothing is granted', async () => {
      const locks = await openOne();
      expect(await acquired(locks, [], 'r1')).toBe(true);
      expect(await listed(locks)).toEqual([]);
    });

    it('a release frees what the reqid holds and nothing else, once or twice', async () => {
      const locks = await openOne();
      expect(await acquired(locks, [key('web-01'), key('web-02')], 'r1')).toBe(true);
      expect(await acquired(locks, [key('web-03')], 'r2')).toBe(true);
      for (const reqid of ['r1', 'r1', 'never']) value(await locks.release(reqid));
      expect(await listed(locks)).toEqual(['web-03:deploy']);
      expect(await acquired(locks, [key('web-01')], 'r3')).toBe(true);
    });

    it('a release before anything was taken is fine', async () => {
      expect((await (await openOne()).release('r1')).isOk()).toBe(true);
    });

    it('the list is sorted by host, then script', async () => {
      const locks = await openOne();
      const keys = [key('web-2'), key('db', 'z'), key('web-10'), key('db', 'B'), key('db', 'a')];
      expect(await acquired(locks, keys, 'r1')).toBe(true);
      expect(await listed(locks)).toEqual(['db:B', 'db:a', 'db:z', 'web-10:deploy', 'web-2:deploy']);
    });

    it('instances exclude each other and see what the others hold', async () => {
      const open = openPlace();
      const [first, second] = [await open(), await open()];
      expect(await acquired(first, [key('web-01')], 'r1')).toBe(true);
      expect(await conflicts(second, [key('web-01'), key('web-02')])).toEqual(['web-01:deploy']);
      expect(await acquired(second, [key('web-02')], 'r2')).toBe(true);
      expect(await conflicts(first, [key('web-01'), key('web-02')])).toEqual([
        'web-01:deploy',
        'web-02:deploy',
      ]);
      for (const locks of [first, second])
        expect(await listed(locks)).toEqual(['web-01:deploy', 'web-02:deploy']);
    });

    it('of many that ask at once exactly one gets the lock', async () => {
      const open = openPlace();
      const instances = await Promise.all(Array.from({ length: 4 }, open));
      const outcomes = await Promise.all(
        [...instances, ...instances].map((locks, index) => acquired(locks, [key('web-01')], `r${index}`)),
      );
      expect(outcomes.filter(Boolean)).toHaveLength(1);
    });

    it('closing frees what the instance holds and nothing else', async () => {
      const open = openPlace();
      const [first, second] = [await open(), await open()];
      expect(await acquired(first, [key('web-01')], 'r1')).toBe(true);
      expect(await acquired(second, [key('web-02')], 'r2')).toBe(true);
      value(await first.close());
      value(await first.close());
      expect(await listed(second)).toEqual(['web-02:deploy']);
      expect(await acquired(second, [key('web-01')], 'r3')).toBe(true);
    });

    it('an instance that was closed can lock again', async () => {
      const open = openPlace();
      const [first, second] = [await open(), await open()];
      expect(await acquired(first, [key('web-01')], 'r1')).toBe(true);
      value(await first.close());
      expect(await acquired(first, [key('web-01')], 'r2')).toBe(true);
      expect(await conflicts(second, [key('web-01')])).toEqual(['web-01:deploy']);
    });
  });
}
