import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HostResult } from '../../src/domain/run-record.js';
import type { RunStore } from '../../src/ports/run-store.js';

const reqid = (digit: string): string => digit.repeat(16);

const run = (digit: string, startedAt = 1000) => ({
  reqid: reqid(digit),
  script: 'deploy',
  hosts: ['web-01', '[2001:db8::1]:7443'],
  username: 'ann',
  startedAt,
});

const result = (host: string, change: Partial<HostResult> = {}): HostResult => ({
  host,
  script: 'deploy',
  exit: 0,
  stdout: 'done\n',
  stderr: '',
  rtt: 148,
  reqid: reqid('a'),
  ...change,
});

/** `open` gives an empty store. */
export function runStoreContract(adapter: string, open: () => RunStore | Promise<RunStore>): void {
  describe(`run store: ${adapter}`, () => {
    const withRun = async (startedAt?: number): Promise<RunStore> => {
      const store = await open();
      (await store.start(run('a', startedAt)))._unsafeUnwrap();
      return store;
    };
    const find = async (store: RunStore, digit = 'a') => (await store.find(reqid(digit)))._unsafeUnwrap();

    it('a run that was started is there without results and without an end', async () => {
      const store = await withRun();
      expect(await find(store)).toEqual({ ...run('a'), completedAt: undefined, results: [] });
      expect(await find(store, 'b')).toBeUndefined();
    });

    it('a reqid is written once', async () => {
      const store = await withRun();
      const error = (await store.start({ ...run('a'), script: 'other' }))._unsafeUnwrapErr();
      expect(error.code).toBe('store_failed');
      expect((await find(store))?.script).toBe('deploy');
    });

    it('nothing but what a run record names is kept', async () => {
      const store = await open();
      const more = { ...run('a'), token: 'secret', args: ['secret'] };
      (await store.start(more))._unsafeUnwrap();
      expect(JSON.stringify(await find(store))).not.toContain('secret');
    });

    it('results come back whole and in their order', async () => {
      const store = await withRun();
      const results = [
        result('web-02'),
        result('web-01', {
          exit: -1,
          error: 'read timeout after 60 s',
          truncated: { stdout: 20_000_000 },
          reportedHostname: 'vm-7a3f',
        }),
        result('web-01', { exit: 126, stderr: 'x', truncated: { stdout: 1, stderr: 2 } }),
      ];
      (await store.complete(reqid('a'), results, 5000))._unsafeUnwrap();
      expect(await find(store)).toEqual({ ...run('a'), completedAt: 5000, results });
    });

    it('completing again replaces the results', async () => {
      const store = await withRun();
      const first = [result('web-01', { exit: -1 }), result('web-02')];
      (await store.complete(reqid('a'), first, 5000))._unsafeUnwrap();
      (await store.complete(reqid('a'), [result('web-01')], 6000))._unsafeUnwrap();
      expect(await find(store)).toEqual({ ...run('a'), completedAt: 6000, results: [result('web-01')] });
    });

    it('a run may end without results', async () => {
      const store = await withRun();
      (await store.complete(reqid('a'), [], 5000))._unsafeUnwrap();
      expect(await find(store)).toEqual({ ...run('a'), completedAt: 5000, results: [] });
    });

    it('any output comes back as it was', async () => {
      const store = await withRun();
      const nasty = ['\0', 'a\0b', '\ud800', '\u{1f4a5}', '\u2028', '"\\', 'x'.repeat(1_000_000)];
      const output = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom(...nasty));
      await fc.assert(
        fc.asyncProperty(output, output, async (stdout, stderr) => {
          const results = [result('web-01', { stdout, stderr })];
          (await store.complete(reqid('a'), results, 5000))._unsafeUnwrap();
          expect((await find(store))?.results).toEqual(results);
        }),
        { numRuns: 30 },
      );
    });

    it('an unknown run cannot be completed', async () => {
      const store = await withRun();
      const error = (await store.complete(reqid('b'), [result('web-01')], 5000))._unsafeUnwrapErr();
      expect(error).toMatchObject({ code: 'request_unknown', id: reqid('b') });
      expect(await find(store, 'b')).toBeUndefined();
    });

    it('a purge removes what started earlier, results included', async () => {
      const store = await withRun(999);
      (await store.start(run('b', 1000)))._unsafeUnwrap();
      (await store.complete(reqid('a'), [result('web-01')], 5000))._unsafeUnwrap();
      expect((await store.purge(999))._unsafeUnwrap()).toBe(0);
      expect((await store.purge(1000))._unsafeUnwrap()).toBe(1);
      expect(await find(store)).toBeUndefined();
      expect(await find(store, 'b')).toBeDefined();
      (await store.start(run('a')))._unsafeUnwrap();
      expect((await find(store))?.results).toEqual([]);
    });

    it('what is handed in or out can be changed without changing what is kept', async () => {
      const store = await open();
      const given = { ...run('a'), hosts: ['web-01'] };
      (await store.start(given))._unsafeUnwrap();
      given.hosts.push('changed');
      Object.assign((await find(store)) ?? {}, { script: 'changed' });
      expect(await find(store)).toMatchObject({ hosts: ['web-01'], script: 'deploy' });
    });
  });
}
