import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HostResult, HostState, HostStatus, RunMode } from '../../src/domain/runs/record.js';
import type { RunListing, RunNews, RunStart, RunStore } from '../../src/ports/run-store.js';
import { failure, value } from './result.js';

const reqid = (digit: string): string => digit.repeat(16);

const second = '[2001:db8::1]:7443';

const run = (digit: string, startedAt = 1000, mode: RunMode = 'sync') => ({
  reqid: reqid(digit),
  script: 'deploy',
  hosts: ['web-01', second],
  args: ['v3', 'a b'],
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
      expect(value(await store.start(run('a', startedAt, mode)))).toBe(true);
      return store;
    };
    const find = async (store: RunStore, digit = 'a') => value(await store.find(reqid(digit)));

    it('a run that was started is there without results and without an end', async () => {
      const store = await withRun();
      expect(await find(store)).toEqual({ ...run('a'), ...none });
      expect(await find(store, 'b')).toBeUndefined();
    });

    it('a reqid is written once', async () => {
      const store = await withRun();
      const error = failure(await store.start({ ...run('a'), script: 'other' }));
      expect(error.code).toBe('store_failed');
      expect((await find(store))?.script).toBe('deploy');
    });

    it('nothing but what a run record names is kept', async () => {
      const store = await open();
      const more = { ...run('a'), token: 'secret', idempotencyKey: 'secret' };
      value(await store.start(more));
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
      value(await store.complete(reqid('a'), results, 5000));
      expect(await find(store)).toEqual({ ...run('a'), ...none, completedAt: 5000, results });
    });

    it('completing again replaces the results', async () => {
      const store = await withRun();
      const first = [result('web-01', { exit: -1 }), result(second)];
      value(await store.complete(reqid('a'), first, 5000));
      value(await store.complete(reqid('a'), [result('web-01')], 6000));
      const expected = { ...run('a'), ...none, completedAt: 6000, results: [result('web-01')] };
      expect(await find(store)).toEqual(expected);
    });

    it('a run may end without results', async () => {
      const store = await withRun();
      value(await store.complete(reqid('a'), [], 5000));
      expect(await find(store)).toEqual({ ...run('a'), ...none, completedAt: 5000 });
    });

    it('any output comes back as it was', async () => {
      const store = await withRun();
      const nasty = ['\0', 'a\0b', '\ud800', '\u{1f4a5}', '\u2028', '"\\', 'x'.repeat(1_000_000)];
      const output = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom(...nasty));
      await fc.assert(
        fc.asyncProperty(output, output, async (stdout, stderr) => {
          const results = [result('web-01', { stdout, stderr })];
          value(await store.complete(reqid('a'), results, 5000));
          expect((await find(store))?.results).toEqual(results);
        }),
        { numRuns: 30 },
      );
    });

    it('an unknown run cannot be completed', async () => {
      const store = await withRun();
      const error = failure(await store.complete(reqid('b'), [result('web-01')], 5000));
      expect(error).toMatchObject({ code: 'request_unknown', id: reqid('b') });
      expect(await find(store, 'b')).toBeUndefined();
    });

    it('an unheard end of a sync run is filled in when it is heard, and never taken back', async () => {
      const store = await withRun();
      const unheard = result('web-01', { exit: -1, error: 'read timeout after 60 s', unheard: true });
      value(await store.complete(reqid('a'), [unheard, result(second)], 5000));
      const heard = result('web-01', { exit: 3 });
      value(await store.note(reqid('a'), { results: [heard, result(second, { exit: 9 })] }));
      value(await store.note(reqid('a'), { results: [unheard], completedAt: 7000 }));
      const results = [heard, result(second)];
      expect(await find(store)).toEqual({ ...run('a'), ...none, completedAt: 5000, results });
    });

    it('a sync run that nobody completed takes what is heard of its hosts, in their order', async () => {
      const store = await withRun();
      value(await store.note(reqid('a'), { results: [result(second)] }));
      value(await store.note(reqid('a'), { results: [result('web-01')], completedAt: 6000 }));
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
      value(await store.note(reqid('a'), { states: [accepted] }));
      value(await store.note(reqid('a'), { states: [done] }));
      const expected = { ...run('a', 1000, 'async'), ...none };
      expect(await find(store)).toEqual({ ...expected, states: [done, accepted] });
      value(await store.note(reqid('a'), { states: [gone], completedAt: 8000 }));
      value(await store.note(reqid('a'), { completedAt: 9000 }));
      expect(await find(store)).toEqual({ ...expected, completedAt: 8000, states: [done, gone] });
    });

    it.each(['done', 'expired', 'busy', 'error', 'cancelled', 'lost'] as const)(
      'a host that is %s stays so, whoever noted something later',
      async (status) => {
        const store = await withRun(1000, 'async');
        const settled: HostState = { host: 'web-01', status, error: 'first' };
        value(await store.note(reqid('a'), { states: [{ host: 'web-01', status: 'running' }] }));
        value(await store.note(reqid('a'), { states: [settled] }));
        for (const later of ['running', 'done'] as const)
          value(await store.note(reqid('a'), { states: [{ host: 'web-01', status: later }] }));
        expect((await find(store))?.states).toEqual([settled]);
      },
    );

    it('a submission that nothing was heard of is not settled', async () => {
      const store = await withRun(1000, 'async');
      const unheard: HostState = { host: 'web-01', status: 'error', error: 'timed out', unheard: true };
      const running: HostState = { host: 'web-01', status: 'running' };
      value(await store.note(reqid('a'), { states: [unheard] }));
      expect((await find(store))?.states).toEqual([unheard]);
      value(await store.note(reqid('a'), { states: [running] }));
      expect((await find(store))?.states).toEqual([running]);
    });

    it('a host that is none of the run, or news of the other mode, is left out', async () => {
      const store = await withRun(1000, 'async');
      const states: HostState[] = [{ host: 'web-99', status: 'done' }];
      value(await store.note(reqid('a'), { states, results: [result('web-01')] }));
      expect(await find(store)).toEqual({ ...run('a', 1000, 'async'), ...none });
      value(await store.start(run('b')));
      value(await store.note(reqid('b'), { states: [{ host: 'web-01', status: 'done' }] }));
      expect(await find(store, 'b')).toEqual({ ...run('b'), ...none });
    });

    it('nothing can be noted of an unknown run', async () => {
      const store = await withRun();
      const error = failure(await store.note(reqid('b'), { completedAt: 1 }));
      expect(error).toMatchObject({ code: 'request_unknown', id: reqid('b') });
    });

    it('a purge removes what ended or started earlier, results included', async () => {
      const store = await withRun(999);
      value(await store.start(run('b', 1000, 'async')));
      value(await store.complete(reqid('a'), [result('web-01')], 5000));
      const purge = async (endedBefore: number, startedBefore: number) =>
        value(await store.purge({ endedBefore, startedBefore }));
      expect(await purge(5000, 999)).toBe(0);
      expect(await purge(5001, 0)).toBe(1);
      expect(await find(store)).toBeUndefined();
      expect(await find(store, 'b')).toBeDefined();
      value(await store.start(run('a')));
      expect((await find(store))?.results).toEqual([]);
      expect(await purge(0, 1001)).toBe(2);
    });

    it('what a run is for and by which key comes back with it', async () => {
      const store = await open();
      const idempotency = { key: 'order 66 ~!"', callerDigest: 'ab'.repeat(32) };
      const more = { ...run('a'), retryOf: reqid('9'), idempotency, args: ['', 'a\0b', '\ud800', '\u2028'] };
      value(await store.start(more));
      expect(await find(store)).toEqual({ ...more, ...none });
      expect(value(await store.findByIdempotencyKey(idempotency.key))).toEqual({
        ...more,
        ...none,
      });
      for (const other of ['order 66', 'ORDER 66 ~!"', '', '%'])
        expect(value(await store.findByIdempotencyKey(other))).toBeUndefined();
    });

    it('an idempotency key has one run, until that is forgotten', async () => {
      const store = await open();
      const keyed = (digit: string) => ({ ...run(digit), idempotency: { key: 'k', callerDigest: digit } });
      const start = async (digit: string) => value(await store.start(keyed(digit)));
      const outcomes = await Promise.all(['a', 'b', 'c'].map(start));
      expect(outcomes.filter(Boolean)).toHaveLength(1);
      const first = value(await store.findByIdempotencyKey('k'));
      const others = ['a', 'b', 'c'].filter((digit) => reqid(digit) !== first?.reqid);
      for (const digit of others) expect(await find(store, digit)).toBeUndefined();
      // Without a key there is nothing to share.
      for (const digit of others) expect(value(await store.start(run(digit)))).toBe(true);
      value(await store.purge({ endedBefore: 0, startedBefore: 2000 }));
      expect(value(await store.findByIdempotencyKey('k'))).toBeUndefined();
      expect(await start('d')).toBe(true);
    });

    it('what a caller was told of a submission is kept once, and of an async run alone', async () => {
      const store = await withRun(1000, 'async');
      const told = (rtt: number) =>
        ['web-01', second].map(
          (host) => ({ host, status: 'error', error: 'x', rtt, reqid: reqid('a') }) as const,
        );
      value(await store.note(reqid('a'), { submissions: told(1) }));
      value(await store.note(reqid('a'), { submissions: told(2) }));
      expect((await find(store))?.submissions).toEqual(told(1));
      value(await store.start(run('b')));
      value(await store.note(reqid('b'), { submissions: told(1) }));
      expect(await find(store, 'b')).toEqual({ ...run('b'), ...none });
    });

    describe('a list of runs', () => {
      const list = async (store: RunStore, listing: Partial<RunListing> = {}) =>
        value(await store.list({ limit: 100, ...listing }));
      const digits = async (store: RunStore, listing: Partial<RunListing> = {}) =>
        (await list(store, listing)).map((each) => each.reqid[0]).join('');

      it('says of each how it went, without arguments and output', async () => {
        const store = await withRun();
        const { args: _, ...asked } = run('a');
        expect(await list(store)).toEqual([{ ...asked, outcome: 'running', failed: [] }]);
        const results = [
          result('web-01', { stdout: 'secret' }),
          result(second, { exit: 3, stderr: 'secret' }),
        ];
        value(await store.complete(reqid('a'), results, 5000));
        const ended = { ...asked, completedAt: 5000, outcome: 'failed', failed: [second] };
        expect(await list(store)).toEqual([ended]);
        const more = { ...run('b', 2000), retryOf: reqid('a') };
        value(await store.start(more));
        expect((await list(store))[0]).toMatchObject({ retryOf: reqid('a'), startedAt: 2000 });
      });

      it.each<[string, readonly HostResult[], object]>([
        ['exit 0 everywhere', [result('web-01'), result(second)], { outcome: 'succeeded', failed: [] }],
        ['another exit', [result('web-01', { exit: 1 }), result(second)], { failed: ['web-01'] }],
        ['no result', [result('web-01', { exit: -1, error: 'x' }), result(second)], { failed: ['web-01'] }],
        [
          'an unheard end',
          [result('web-01', { exit: -1, unheard: true }), result(second)],
          { failed: ['web-01'] },
        ],
        ['no result recorded', [], { failed: ['web-01', second] }],
        ['one result too few', [result('web-01')], { failed: [second] }],
      ])('of a sync run with %s', async (_what, results, expected) => {
        const store = await withRun();
        value(await store.complete(reqid('a'), results, 5000));
        const [summary] = await list(store);
        expect(summary).toMatchObject({ outcome: 'failed', ...expected });
        const { outcome } = summary ?? {};
        for (const wanted of ['running', 'succeeded', 'failed'] as const)
          expect(await digits(store, { outcome: wanted })).toBe(wanted === outcome ? 'a' : '');
      });

      it.each<[HostStatus, Partial<HostState>, boolean]>([
        ['done', { exit: 0 }, true],
        ['done', { exit: 2 }, false],
        ['cancelled', { exit: 0 }, false],
        ['busy', {}, false],
        ['error', {}, false],
        ['lost', {}, false],
        ['expired', {}, false],
      ])('an async run that is %s with %o on one host is fine: %s', async (status, more, fine) => {
        const store = await withRun(1000, 'async');
        const note = async (news: RunNews) => value(await store.note(reqid('a'), news));
        await note({
          states: [
            { host: 'web-01', status: 'accepted' },
            { host: second, status: 'running' },
          ],
        });
        expect(await list(store, { outcome: 'running' })).toMatchObject([{ failed: [] }]);
        await note({ states: [{ host: 'web-01', status, ...more }] });
        const failed = fine ? [] : ['web-01'];
        expect(await list(store, { outcome: 'running' })).toMatchObject([{ failed }]);
        await note({ states: [{ host: second, status: 'done', exit: 0 }], completedAt: 9 });
        const outcome = fine ? 'succeeded' : 'failed';
        expect(await list(store, { outcome })).toMatchObject([{ outcome, failed }]);
      });

      it('an end that is heard later counts', async () => {
        const store = await withRun();
        const unheard = result('web-01', { exit: -1, unheard: true });
        value(await store.complete(reqid('a'), [unheard, result(second)], 5000));
        expect(await digits(store, { outcome: 'failed' })).toBe('a');
        value(await store.note(reqid('a'), { results: [result('web-01')] }));
        expect(await digits(store, { outcome: 'succeeded' })).toBe('a');
      });

      it('has the latest first, and of one moment the highest reqid', async () => {
        const store = await open();
        for (const [digit, at] of [
          ['b', 2],
          ['a', 2],
          ['c', 1],
          ['d', 3],
          ['0', 2],
        ] as const)
          value(await store.start(run(digit, at)));
        expect(await digits(store)).toBe('dba0c');
        expect(await digits(store, { limit: 2 })).toBe('db');
        expect(await digits(store, { behind: { startedAt: 2, reqid: reqid('b') } })).toBe('a0c');
        // What the place was taken from may be gone, or never have been there.
        expect(await digits(store, { behind: { startedAt: 2, reqid: reqid('5') }, limit: 1 })).toBe('0');
        expect(await digits(store, { behind: { startedAt: 0, reqid: reqid('f') } })).toBe('');
      });

      it('holds what meets everything that is asked for', async () => {
        const store = await open();
        const at = (digit: string, startedAt: number, change: Partial<RunStart> = {}) =>
          store.start({ ...run(digit, startedAt), ...change });
        value(await at('1', 1, { script: 'backup' }));
        value(await at('2', 2, { username: 'bob' }));
        value(await at('3', 3, { hosts: ['db-01'] }));
        value(await at('4', 4));
        expect(await digits(store, { script: 'backup' })).toBe('1');
        expect(await digits(store, { username: 'bob' })).toBe('2');
        expect(await digits(store, { hosts: ['db-01', 'DB-01'] })).toBe('3');
        expect(await digits(store, { hosts: [second] })).toBe('421');
        expect(await digits(store, { startedAfter: 2, startedBefore: 4 })).toBe('32');
        expect(await digits(store, { startedAfter: 2, username: 'ann', hosts: ['web-01'] })).toBe('4');
        for (const script of ['%', "' OR 1=1 --", 'deploy%', ''])
          expect(await digits(store, { script })).toBe('');
      });
    });

    it('what is handed in or out can be changed without changing what is kept', async () => {
      const store = await open();
      const given = { ...run('a'), hosts: ['web-01'] };
      value(await store.start(given));
      given.hosts.push('changed');
      Object.assign((await find(store)) ?? {}, { script: 'changed' });
      expect(await find(store)).toMatchObject({ hosts: ['web-01'], script: 'deploy' });
    });
  });
}
