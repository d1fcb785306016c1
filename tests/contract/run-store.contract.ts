import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HostResult, HostState, RunMode } from '../../src/domain/run-record.js';
import type { RunStore } from '../../src/ports/run-store.js';

const reqid = (digit: string): string => digit.repeat(16);

const second = '[2001:db8::1]:7443';

const run = (digit: string, startedAt = 1000, mode: RunMode = 'sync') => ({
  reqid: reqid(digit),
  script: 'deploy',
  hosts: ['web-01', second],
  mode,
  username: 'ann',
  sourceIp: '192.0.2.9',
  startedAt,
});

const none = { completedAt: undefined, results: [], states: [] };

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

/** What holds for every `RunStore`. `open` gives an empty store. */
export function runStoreContract(adapter: string, open: () => RunStore | Promise<RunStore>): void {
  describe(`run store: ${adapter}`, () => {
    const withRun = async (startedAt?: number, mode?: RunMode): Promise<RunStore> => {
      const store = await open();
      (await store.start(run('a', startedAt, mode)))._unsafeUnwrap();
      return store;
    };
    const find = async (store: RunStore, digit = 'a') => (await store.find(reqid(digit)))._unsafeUnwrap();

    it('a run that was started is there without results and without an end', async () => {
      const store = await withRun();
      expect(await find(store)).toEqual({ ...run('a'), ...none });
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
        result('web-01', {
          exit: -1,
          error: 'read timeout after 60 s',
          truncated: { stdout: 20_000_000 },
          reportedHostname: 'vm-7a3f',
          unheard: true,
        }),
        result(second, { exit: 126, stderr: 'x', truncated: { stdout: 1, stderr: 2 } }),
      ];
      (await store.complete(reqid('a'), results, 5000))._unsafeUnwrap();
      expect(await find(store)).toEqual({ ...run('a'), ...none, completedAt: 5000, results });
    });

    it('completing again replaces the results', async () => {
      const store = await withRun();
      const first = [result('web-01', { exit: -1 }), result(second)];
      (await store.complete(reqid('a'), first, 5000))._unsafeUnwrap();
      (await store.complete(reqid('a'), [result('web-01')], 6000))._unsafeUnwrap();
      const expected = { ...run('a'), ...none, completedAt: 6000, results: [result('web-01')] };
      expect(await find(store)).toEqual(expected);
    });

    it('a run may end without results', async () => {
      const store = await withRun();
      (await store.complete(reqid('a'), [], 5000))._unsafeUnwrap();
      expect(await find(store)).toEqual({ ...run('a'), ...none, completedAt: 5000 });
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

    it('an unheard end of a sync run is filled in when it is heard, and never taken back', async () => {
      const store = await withRun();
      const unheard = result('web-01', { exit: -1, error: 'read timeout after 60 s', unheard: true });
      (await store.complete(reqid('a'), [unheard, result(second)], 5000))._unsafeUnwrap();
      const heard = result('web-01', { exit: 3 });
      (await store.note(reqid('a'), { results: [heard, result(second, { exit: 9 })] }))._unsafeUnwrap();
      (await store.note(reqid('a'), { results: [unheard], completedAt: 7000 }))._unsafeUnwrap();
      const results = [heard, result(second)];
      expect(await find(store)).toEqual({ ...run('a'), ...none, completedAt: 5000, results });
    });

    it('a sync run that nobody completed takes what is heard of its hosts, in their order', async () => {
      const store = await withRun();
      (await store.note(reqid('a'), { results: [result(second)] }))._unsafeUnwrap();
      (await store.note(reqid('a'), { results: [result('web-01')], completedAt: 6000 }))._unsafeUnwrap();
      const results = [result('web-01'), result(second)];
      expect(await find(store)).toEqual({ ...run('a'), ...none, completedAt: 6000, results });
    });

    it('an async run has states, host by host, and its end is kept once', async () => {
      const store = await withRun(1000, 'async');
      const done: HostState = {
        host: 'web-01',
        status: 'done',
        exit: 126,
        stdout: 'a\0b',
        stderr: '\ud800',
        truncated: { stderr: 20_000_000 },
        error: 'killed by SIGKILL',
      };
      const accepted: HostState = { host: second, status: 'accepted' };
      const gone: HostState = { host: second, status: 'expired' };
      (await store.note(reqid('a'), { states: [accepted] }))._unsafeUnwrap();
      (await store.note(reqid('a'), { states: [done] }))._unsafeUnwrap();
      const expected = { ...run('a', 1000, 'async'), ...none };
      expect(await find(store)).toEqual({ ...expected, states: [done, accepted] });
      (await store.note(reqid('a'), { states: [gone], completedAt: 8000 }))._unsafeUnwrap();
      (await store.note(reqid('a'), { completedAt: 9000 }))._unsafeUnwrap();
      expect(await find(store)).toEqual({ ...expected, completedAt: 8000, states: [done, gone] });
    });

    it.each(['done', 'expired', 'busy', 'error', 'cancelled', 'lost'] as const)(
      'a host that is %s stays so, whoever noted something later',
      async (status) => {
        const store = await withRun(1000, 'async');
        const settled: HostState = { host: 'web-01', status, error: 'first' };
        (await store.note(reqid('a'), { states: [{ host: 'web-01', status: 'running' }] }))._unsafeUnwrap();
        (await store.note(reqid('a'), { states: [settled] }))._unsafeUnwrap();
        for (const later of ['running', 'done'] as const)
          (await store.note(reqid('a'), { states: [{ host: 'web-01', status: later }] }))._unsafeUnwrap();
        expect((await find(store))?.states).toEqual([settled]);
      },
    );

    it('a submission that nothing was heard of is not settled', async () => {
      const store = await withRun(1000, 'async');
      const unheard: HostState = { host: 'web-01', status: 'error', error: 'timed out', unheard: true };
      const running: HostState = { host: 'web-01', status: 'running' };
      (await store.note(reqid('a'), { states: [unheard] }))._unsafeUnwrap();
      expect((await find(store))?.states).toEqual([unheard]);
      (await store.note(reqid('a'), { states: [running] }))._unsafeUnwrap();
      expect((await find(store))?.states).toEqual([running]);
    });

    it('a host that is none of the run, or news of the other mode, is left out', async () => {
      const store = await withRun(1000, 'async');
      const states: HostState[] = [{ host: 'web-99', status: 'done' }];
      (await store.note(reqid('a'), { states, results: [result('web-01')] }))._unsafeUnwrap();
      expect(await find(store)).toEqual({ ...run('a', 1000, 'async'), ...none });
      (await store.start(run('b')))._unsafeUnwrap();
      (await store.note(reqid('b'), { states: [{ host: 'web-01', status: 'done' }] }))._unsafeUnwrap();
      expect(await find(store, 'b')).toEqual({ ...run('b'), ...none });
    });

    it('nothing can be noted of an unknown run', async () => {
      const store = await withRun();
      const error = (await store.note(reqid('b'), { completedAt: 1 }))._unsafeUnwrapErr();
      expect(error).toMatchObject({ code: 'request_unknown', id: reqid('b') });
    });

    it('a purge removes what ended or started earlier, results included', async () => {
      const store = await withRun(999);
      (await store.start(run('b', 1000, 'async')))._unsafeUnwrap();
      (await store.complete(reqid('a'), [result('web-01')], 5000))._unsafeUnwrap();
      const purge = async (endedBefore: number, startedBefore: number) =>
        (await store.purge({ endedBefore, startedBefore }))._unsafeUnwrap();
      expect(await purge(5000, 999)).toBe(0);
      expect(await purge(5001, 0)).toBe(1);
      expect(await find(store)).toBeUndefined();
      expect(await find(store, 'b')).toBeDefined();
      (await store.start(run('a')))._unsafeUnwrap();
      expect((await find(store))?.results).toEqual([]);
      expect(await purge(0, 1001)).toBe(2);
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
