import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { failure as errorOf } from '../../src/domain/core/errors.js';
import { bytesFrom, type HostResult, type HostState, knownFor } from '../../src/domain/runs/host-result.js';
import type { RunMode } from '../../src/domain/runs/record.js';
import type { RunListing, RunStart, RunStore } from '../../src/ports/run-store.js';
import { failure, value } from './result.js';

const reqid = (digit: string): string => digit.repeat(16);

const second = '[2001:db8::1]:7443';

const run = (digit: string, startedAt = 1000, mode: RunMode = 'sync'): RunStart => ({
  reqid: reqid(digit),
  script: 'deploy',
  hosts: [{ host: 'web-01' }, { host: second }],
  args: ['v3', 'a b'],
  mode,
  principal: 'os:root',
  username: 'ann',
  sourceIp: '192.0.2.9',
  startedAt,
});

const named = (hosts: readonly string[]) => hosts.map((host) => ({ host }));

const begunAt = 1500;

/** A host as it begins. */
const begun = (host: string, digit = 'a', change: Partial<HostResult> = {}): HostResult => ({
  host,
  script: 'deploy',
  reqid: reqid(digit),
  state: 'running',
  begunAt,
  exit: -1,
  stdout: '',
  stderr: '',
  rtt: 0,
  ...change,
});

const succeeded = (host: string, change: Partial<HostResult> = {}): HostResult =>
  begun(host, 'a', {
    state: 'succeeded',
    exit: 0,
    stdout: 'done\n',
    rtt: 148,
    seenAt: 5000,
    settledAt: 5000,
    ...change,
  });

const failed = (host: string, change: Partial<HostResult> = {}): HostResult =>
  succeeded(host, {
    state: 'failed',
    exit: 3,
    failure: errorOf('script_failed', 'exit 3', { exit: 3, signal: undefined }),
    ...change,
  });

const unknown = (host: string, change: Partial<HostResult> = {}): HostResult => {
  const error = 'read timeout after 60s';
  const timedOut = errorOf('timed_out', error, { phase: 'answer', timeoutMs: 60_000 });
  return begun(host, 'a', { state: 'unknown', error, failure: timedOut, ...change });
};

/** One opening of the store, and how its process ends. */
export interface Opened {
  /** The store. */
  readonly store: RunStore;
  /** Ends its process. */
  readonly end: () => void | Promise<void>;
}

/**
 * What holds for every `RunStore`. `openPlace` gives an empty place; each call of what it returns opens the store there once more,
 * as a further process does.
 */
export function runStoreContract(adapter: string, openPlace: () => () => Opened | Promise<Opened>): void {
  describe(`run store: ${adapter}`, () => {
    const open = async (): Promise<RunStore> => (await openPlace()()).store;
    const begin = async (store: RunStore, start: RunStart, now = begunAt) =>
      value(await store.begin(start, now));
    const withRun = async (startedAt?: number, mode?: RunMode): Promise<RunStore> => {
      const store = await open();
      expect(await begin(store, run('a', startedAt, mode))).toEqual({ kind: 'begun' });
      return store;
    };
    const find = async (store: RunStore, digit = 'a') => value(await store.find(reqid(digit)));
    const settle = async (store: RunStore, hosts: readonly HostResult[], now = 6000, left?: 'left') =>
      value(await store.settle(reqid('a'), hosts, now, left));
    const { hosts: _, ...asked } = run('a');
    const both = [begun('web-01'), begun(second)];

    describe('begin', () => {
      it('a run that begins is there, with every host running and somebody who waits for it', async () => {
        const store = await withRun();
        const expected = { ...asked, completedAt: undefined, underWay: true, results: both };
        expect(await find(store)).toEqual(expected);
        expect(await find(store, 'b')).toBeUndefined();
      });

      it('ids are found by how they begin, whole ones too, sorted, ten at most', async () => {
        const store = await open();
        const start = (id: string) => begin(store, { ...run('a'), reqid: id, hosts: named([id]) });
        const ids = ['ab12', 'ab1-', 'ab', 'ac', 'aB', 'b'];
        for (const id of ids) await start(id);
        const found = async (prefix: string) => value(await store.idsWith(prefix));
        expect(await found('ab')).toEqual(['ab', 'ab1-', 'ab12']);
        expect(await found('ab12')).toEqual(['ab12']);
        expect(await found('abc')).toEqual([]);
        for (let index = 10; index < 22; index++) await start(`x${index}`);
        expect(await found('x')).toEqual(Array.from({ length: 10 }, (_, index) => `x${index + 10}`));
      });

      it('a host that is named twice counts once', async () => {
        const store = await open();
        await begin(store, { ...run('a'), hosts: named(['web-01', second, 'web-01']) });
        expect((await find(store))?.results).toEqual(both);
      });

      it('the same id again begins nothing, and gives the run that there is', async () => {
        const store = await withRun();
        const again = await begin(store, { ...run('a'), script: 'other' }, 9000);
        expect(again).toMatchObject({ kind: 'repeated', run: { script: 'deploy', results: both } });
        expect((await find(store))?.script).toBe('deploy');
      });

      it('nothing but what a run record names is kept', async () => {
        const store = await open();
        const more = { ...run('a'), token: 'secret', idempotencyKey: 'secret' };
        await begin(store, more);
        expect(JSON.stringify(await find(store))).not.toContain('secret');
      });

      it('what a run is for and by which key comes back with it', async () => {
        const store = await open();
        const idempotency = { key: 'order 66 ~!"', callerDigest: 'ab'.repeat(32), tokenMac: 'cd'.repeat(32) };
        const args = ['', 'a\0b', '\ud800', '\u2028'];
        const more = { ...run('a'), retryOf: reqid('9'), idempotency, args };
        await begin(store, more);
        const expected = { args, idempotency, retryOf: reqid('9'), principal: 'os:root' };
        expect(await find(store)).toMatchObject(expected);
        expect(value(await store.findByIdempotencyKey(idempotency.key))).toMatchObject(expected);
        for (const other of ['order 66', 'ORDER 66 ~!"', '', '%'])
          expect(value(await store.findByIdempotencyKey(other))).toBeUndefined();
      });

      it('an idempotency key has one run, until that is forgotten', async () => {
        const place = openPlace();
        const { store, end } = await place();
        const keyed = (digit: string) => ({
          ...run(digit),
          hosts: named([`web-${digit}`]),
          idempotency: { key: 'k', callerDigest: digit },
        });
        const outcomes = await Promise.all(['a', 'b', 'c'].map((digit) => begin(store, keyed(digit))));
        expect(outcomes.filter(({ kind }) => kind === 'begun')).toHaveLength(1);
        const first = value(await store.findByIdempotencyKey('k'));
        for (const outcome of outcomes)
          if (outcome.kind !== 'begun') expect(outcome).toMatchObject({ kind: 'repeated', run: first });
        const others = ['a', 'b', 'c'].filter((digit) => reqid(digit) !== first?.reqid);
        for (const digit of others) expect(await find(store, digit)).toBeUndefined();
        await end();
        const later = (await place()).store;
        value(await later.purge({ endedBefore: 0, startedBefore: 2000, silentBefore: 9000 }));
        expect(value(await later.findByIdempotencyKey('k'))).toBeUndefined();
        expect(await begin(later, keyed('d'))).toEqual({ kind: 'begun' });
      });

      it('what is handed in or out can be changed without changing what is kept', async () => {
        const store = await open();
        const given = { ...run('a'), args: ['one'] };
        await begin(store, given);
        given.args.push('changed');
        Object.assign((await find(store)) ?? {}, { script: 'changed' });
        expect(await find(store)).toMatchObject({ args: ['one'], script: 'deploy' });
      });
    });

    describe('locks', () => {
      const at = async (store: RunStore, now = 6000) =>
        value(await store.locks(now)).map(({ host, script, runId }) => `${host}:${script}:${runId[0]}`);
      const on = (digit: string, hosts: readonly string[], change: Partial<RunStart> = {}): RunStart => ({
        ...run(digit),
        hosts: named(hosts),
        ...change,
      });

      it('a host that has begun is a lock, and says of which run and since when', async () => {
        const store = await open();
        await begin(store, on('a', ['web-01']), 1234);
        expect(value(await store.locks(2000))).toEqual([
          { host: 'web-01', script: 'deploy', runId: reqid('a'), since: new Date(1234) },
        ]);
      });

      it('another script on the host and the script on another host are free', async () => {
        const store = await open();
        for (const [digit, host, script] of [
          ['a', 'web-01', 'deploy'],
          ['b', 'web-01', 'backup'],
          ['c', 'web-02', 'deploy'],
          ['d', 'WEB-01', 'deploy'],
          ['e', 'web-01:deploy', 'x'],
          ['f', 'web-01', 'deploy:x'],
        ] as const)
          expect(await begin(store, on(digit, [host], { script }))).toEqual({ kind: 'begun' });
      });

      it('all hosts are taken or none, and the locks in the way are named, sorted', async () => {
        const store = await open();
        await begin(store, on('a', ['web-03', 'web-01', 'web-10']));
        const outcome = await begin(store, on('b', ['web-10', 'web-02', 'web-03', 'web-01']));
        expect(outcome).toMatchObject({
          kind: 'locked',
          conflicts: [{ host: 'web-01', runId: reqid('a') }, { host: 'web-03' }, { host: 'web-10' }],
        });
        expect(await find(store, 'b')).toBeUndefined();
        expect(await begin(store, on('c', ['web-02']))).toEqual({ kind: 'begun' });
      });

      it('of many that begin at once, in several processes, exactly one does', async () => {
        const place = openPlace();
        const stores = await Promise.all(Array.from({ length: 4 }, place));
        const outcomes = await Promise.all(
          ['1', '2', '3', '4', '5', '6', '7', '8'].map((digit, index) =>
            begin(stores[index % 4]?.store as RunStore, on(digit, ['web-01'])),
          ),
        );
        expect(outcomes.filter(({ kind }) => kind === 'begun')).toHaveLength(1);
      });

      it.each<[HostState, boolean]>([
        ['succeeded', true],
        ['failed', true],
        ['refused', true],
        ['denied', true],
        ['unreachable', true],
        ['cancelled', true],
        ['lost', true],
        ['skipped', true],
        ['running', false],
        ['unknown', false],
      ])('a host that is settled as %s is free: %s', async (state, free) => {
        const store = await open();
        await begin(store, on('a', ['web-01']));
        await settle(store, [begun('web-01', 'a', { state, ...(free && { settledAt: 2000 }) })]);
        expect(await at(store)).toEqual(free ? [] : ['web-01:deploy:a']);
        expect((await begin(store, on('b', ['web-01']))).kind).toBe(free ? 'begun' : 'locked');
      });

      it('each host is free as soon as it is settled', async () => {
        const store = await withRun();
        await settle(store, [succeeded('web-01')]);
        expect(await at(store)).toEqual([`${second}:deploy:a`]);
        expect(await begin(store, on('b', ['web-01']))).toEqual({ kind: 'begun' });
      });

      it('a lock outlives the process that took it, and its run is under way no more', async () => {
        const place = openPlace();
        const { store, end } = await place();
        await begin(store, on('a', ['web-01']));
        const other = (await place()).store;
        expect(await find(other)).toMatchObject({ underWay: true });
        await end();
        expect(await find(other)).toMatchObject({ underWay: false, completedAt: undefined });
        expect(await begin(other, on('b', ['web-01']))).toMatchObject({ kind: 'locked' });
      });

      it('a host without a sign for a day is in nobody’s way, unless somebody waits for it', async () => {
        const place = openPlace();
        const { store, end } = await place();
        await begin(store, on('a', ['web-01', 'web-02']));
        await settle(store, [begun('web-02', 'a', { seenAt: begunAt + 5000 })]);
        const tooLate = begunAt + knownFor + 1;
        expect(await begin(store, on('b', ['web-01']), tooLate)).toMatchObject({ kind: 'locked' });
        await end();
        const other = (await place()).store;
        expect(await at(other, tooLate)).toEqual(['web-02:deploy:a']);
        expect(await begin(other, on('b', ['web-01']), tooLate)).toEqual({ kind: 'begun' });
        expect((await find(other))?.results[0]).toMatchObject({ state: 'unknown', settledAt: tooLate });
        expect(await begin(other, on('c', ['web-02']), tooLate)).toMatchObject({ kind: 'locked' });
      });

      it('an agent may allow several runs of a script at a time', async () => {
        const store = await open();
        const three = (digit: string) =>
          begin(store, { ...run(digit), hosts: [{ host: 'web-01', concurrency: 3 }] });
        for (const digit of ['a', 'b', 'c']) expect(await three(digit)).toEqual({ kind: 'begun' });
        const outcome = await three('d');
        expect(outcome.kind === 'locked' && outcome.conflicts.map(({ runId }) => runId[0])).toEqual([
          'a',
          'b',
          'c',
        ]);
        expect(await begin(store, on('e', ['web-01']))).toMatchObject({ kind: 'locked' });
        value(await store.settle(reqid('b'), [begun('web-01', 'b', { state: 'skipped', settledAt: 2 })], 2));
        expect(await three('f')).toEqual({ kind: 'begun' });
        expect(await three('9')).toMatchObject({ kind: 'locked' });
      });

      it('a lock that is released leaves its host unknown, and settles nothing else', async () => {
        const store = await open();
        await begin(store, on('a', ['web-01', 'web-02']));
        await begin(store, on('b', ['web-01'], { script: 'backup' }));
        expect(value(await store.release('web-01', 'nothing', 7000))).toEqual([]);
        expect(value(await store.release('web-01', 'deploy', 7000))).toMatchObject([
          { host: 'web-01', script: 'deploy', runId: reqid('a') },
        ]);
        expect(await at(store)).toEqual(['web-01:backup:b', 'web-02:deploy:a']);
        const { results = [], completedAt } = (await find(store)) ?? {};
        expect(results[0]).toMatchObject({ state: 'unknown', settledAt: 7000, failure: { code: 'aborted' } });
        expect(completedAt).toBeUndefined();
        expect(value(await store.release('web-01', undefined, 7000))).toMatchObject([{ script: 'backup' }]);
        expect((await find(store, 'b'))?.completedAt).toBe(7000);
      });

      it('locks are sorted by host, then script', async () => {
        const store = await open();
        for (const [digit, host, script] of [
          ['1', 'web-2', 'deploy'],
          ['2', 'db', 'z'],
          ['3', 'web-10', 'deploy'],
          ['4', 'db', 'B'],
          ['5', 'db', 'a'],
        ] as const)
          await begin(store, on(digit, [host], { script }));
        expect(await at(store)).toEqual(['db:B:4', 'db:a:5', 'db:z:2', 'web-10:deploy:3', 'web-2:deploy:1']);
      });
    });

    describe('settle', () => {
      it('hosts come back whole and in their order', async () => {
        const store = await withRun();
        const stdoutBytes = bytesFrom('/w==');
        const results = [
          unknown('web-01', { truncated: { stdout: 20_000_000 }, reportedHostname: 'vm-7a3f', rtt: 7 }),
          failed(second, {
            stdout: '\ufffd',
            ...(stdoutBytes && { stdoutBytes }),
            truncated: { stdout: 1, stderr: 2 },
            leftBehind: { count: 2, pids: [7, 8] },
          }),
        ];
        await settle(store, [...results].reverse());
        expect((await find(store))?.results).toEqual(results);
        expect([...((await find(store))?.results[1]?.stdoutBytes ?? [])]).toEqual([0xff]);
      });

      it('any output comes back as it was', async () => {
        const nasty = ['\0', 'a\0b', '\ud800', '\u{1f4a5}', '\u2028', '"\\', 'x'.repeat(1_000_000)];
        const output = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom(...nasty));
        const store = await open();
        let number = 0;
        await fc.assert(
          fc.asyncProperty(output, output, async (stdout, stderr) => {
            number += 1;
            const id = number.toString(16).padStart(16, '0');
            await begin(store, { ...run('a'), reqid: id, hosts: named([`web-${number}`]) });
            const result = { ...succeeded(`web-${number}`, { stdout, stderr }), reqid: id };
            value(await store.settle(id, [result], 5000));
            expect(value(await store.find(id))?.results).toEqual([result]);
          }),
          { numRuns: 30 },
        );
      });

      it('a run has ended once nothing more is to be learnt of any host', async () => {
        const store = await withRun();
        await settle(store, [succeeded('web-01')], 6000);
        expect((await find(store))?.completedAt).toBeUndefined();
        await settle(store, [unknown(second)], 7000);
        expect((await find(store))?.completedAt).toBeUndefined();
        await settle(store, [failed(second)], 8000);
        expect((await find(store))?.completedAt).toBe(8000);
        await settle(store, [], 9000);
        expect((await find(store))?.completedAt).toBe(8000);
      });

      it('of an agent that forgot the run, and of a lock that was given up, nothing more is learnt', async () => {
        const store = await withRun();
        const forgotten = errorOf('forgotten', 'forgotten', {});
        await settle(store, [
          unknown('web-01', { failure: forgotten }),
          unknown(second, { settledAt: 6000 }),
        ]);
        expect((await find(store))?.completedAt).toBe(6000);
      });

      it('what was not known is filled in when it is heard, and an end is never taken back', async () => {
        const store = await withRun();
        await settle(store, [unknown('web-01'), succeeded(second)]);
        await settle(store, [failed('web-01'), failed(second)]);
        await settle(store, [unknown('web-01'), begun(second)]);
        expect((await find(store))?.results).toEqual([failed('web-01'), succeeded(second)]);
      });

      it('a true end replaces what was given up as unknown', async () => {
        const store = await withRun();
        await settle(store, [unknown('web-01', { settledAt: 6000 }), unknown(second, { settledAt: 6000 })]);
        await settle(store, [succeeded('web-01'), begun(second, 'a', { seenAt: 7000 })]);
        const [first, other] = (await find(store))?.results ?? [];
        expect(first).toEqual(succeeded('web-01'));
        expect(other).toEqual(unknown(second, { settledAt: 6000 }));
      });

      it('a host that is none of the run is left out', async () => {
        const store = await withRun();
        await settle(store, [succeeded('web-99')]);
        expect((await find(store))?.results).toEqual(both);
      });

      it('an unknown run cannot be settled', async () => {
        const store = await withRun();
        const error = failure(await store.settle(reqid('b'), [succeeded('web-01')], 5000));
        expect(error).toMatchObject({ code: 'run_unknown', id: reqid('b') });
        expect(await find(store, 'b')).toBeUndefined();
      });

      it('whoever waits no longer says so, and that changes nothing else', async () => {
        const store = await withRun();
        await settle(store, [succeeded('web-01')], 6000, 'left');
        const found = await find(store);
        expect(found).toMatchObject({ underWay: false, completedAt: undefined });
        expect(found?.results).toEqual([succeeded('web-01'), begun(second)]);
      });
    });

    it('a purge removes what ended or started earlier, hosts included, and nothing that somebody waits for', async () => {
      const store = await withRun(999);
      await begin(store, { ...run('b', 1000, 'async'), script: 'backup' });
      await begin(store, { ...run('c', 1), script: 'waited-for' });
      await settle(store, [succeeded('web-01'), succeeded(second)], 5000, 'left');
      value(await store.settle(reqid('b'), [], 5000, 'left'));
      const purge = async (endedBefore: number, startedBefore: number, silentBefore = 9000) =>
        value(await store.purge({ endedBefore, startedBefore, silentBefore }));
      expect(await purge(5000, 999)).toBe(0);
      // The hosts of b are locks as long as they count.
      expect(await purge(5000, 2000, begunAt)).toBe(1);
      await begin(store, run('a', 999));
      await settle(store, [succeeded('web-01'), succeeded(second)], 5000, 'left');
      expect(await purge(5001, 0)).toBe(1);
      expect(await find(store)).toBeUndefined();
      expect(await find(store, 'b')).toBeDefined();
      await begin(store, run('a'));
      expect((await find(store))?.results).toEqual(both);
      expect(await purge(0, 1001)).toBe(1);
      expect(await find(store, 'c')).toBeDefined();
    });

    describe('a list of runs', () => {
      const list = async (store: RunStore, listing: Partial<RunListing> = {}) =>
        value(await store.list({ limit: 100, now: 6000, ...listing }));
      const digits = async (store: RunStore, listing: Partial<RunListing> = {}) =>
        (await list(store, listing)).map((each) => each.reqid[0]).join('');

      it('says of each how it stands, without arguments and output', async () => {
        const store = await withRun();
        const { args: __, ...told } = asked;
        const hosts = ['web-01', second];
        const running = { outcome: 'running', counts: { running: 2 }, failed: [] };
        expect(await list(store)).toEqual([{ ...told, hosts, ...running }]);
        await settle(store, [
          succeeded('web-01', { stdout: 'secret' }),
          failed(second, { stderr: 'secret' }),
        ]);
        const ended = { outcome: 'failed', counts: { succeeded: 1, failed: 1 }, failed: [second] };
        expect(await list(store)).toEqual([{ ...told, hosts, completedAt: 6000, ...ended }]);
        await begin(store, { ...run('b', 2000), retryOf: reqid('a') });
        expect((await list(store))[0]).toMatchObject({ retryOf: reqid('a'), startedAt: 2000 });
      });

      it.each<[HostState, HostState, string, readonly string[]]>([
        ['succeeded', 'succeeded', 'succeeded', []],
        ['failed', 'succeeded', 'failed', ['web-01']],
        ['refused', 'succeeded', 'failed', ['web-01']],
        ['unreachable', 'denied', 'failed', ['web-01', second]],
        ['cancelled', 'lost', 'failed', ['web-01', second]],
        ['unknown', 'succeeded', 'unknown', []],
        ['unknown', 'failed', 'unknown', [second]],
        ['running', 'failed', 'running', [second]],
        ['running', 'unknown', 'running', []],
      ])('a run that is %s on one host and %s on the other is %s', async (one, other, outcome, failures) => {
        const store = await withRun();
        await settle(store, [begun('web-01', 'a', { state: one }), begun(second, 'a', { state: other })]);
        const [summary] = await list(store);
        expect(summary).toMatchObject({ outcome, failed: failures });
        for (const state of ['running', 'succeeded', 'failed', 'refused', 'unknown', 'lost'] as const)
          expect(await digits(store, { state })).toBe(state === one || state === other ? 'a' : '');
      });

      it('a host that nobody waits for and that says nothing for 15 minutes is unknown', async () => {
        const place = openPlace();
        const { store, end } = await place();
        await begin(store, run('a'));
        await settle(store, [begun(second, 'a', { seenAt: begunAt + 60_000 })]);
        const now = begunAt + 15 * 60_000 + 1;
        expect(await list(store, { now })).toMatchObject([{ counts: { running: 2 } }]);
        await end();
        const other = (await place()).store;
        expect(await list(other, { now })).toMatchObject([{ counts: { running: 1, unknown: 1 } }]);
        expect(await digits(other, { now, state: 'unknown' })).toBe('a');
        expect(await digits(other, { now: begunAt + 1, state: 'unknown' })).toBe('');
        expect(await digits(other, { now: now + 60_000, state: 'running' })).toBe('');
      });

      it('can hold the runs alone of which something may be learnt', async () => {
        const store = await withRun();
        await begin(store, { ...run('b'), script: 'backup' });
        await settle(store, [succeeded('web-01'), failed(second)]);
        expect(await digits(store, { open: true })).toBe('b');
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
          await begin(store, { ...run(digit, at), hosts: named([`web-${digit}`]) });
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
          begin(store, { ...run(digit, startedAt), hosts: named(['web-01', `web-${digit}`]), ...change });
        await at('1', 1, { script: 'backup' });
        await at('2', 2, { username: 'bob', script: 'sync' });
        await at('3', 3, { hosts: named(['db-01']) });
        await at('4', 4);
        expect(await digits(store, { script: 'backup' })).toBe('1');
        expect(await digits(store, { username: 'bob' })).toBe('2');
        expect(await digits(store, { hosts: ['db-01', 'DB-01'] })).toBe('3');
        expect(await digits(store, { hosts: ['web-01'] })).toBe('421');
        expect(await digits(store, { startedAfter: 2, startedBefore: 4 })).toBe('32');
        expect(await digits(store, { startedAfter: 2, username: 'ann', hosts: ['web-01'] })).toBe('4');
        for (const script of ['%', "' OR 1=1 --", 'deploy%', ''])
          expect(await digits(store, { script })).toBe('');
      });
    });
  });
}
