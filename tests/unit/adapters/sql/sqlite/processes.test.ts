import { lstatSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { RunStart } from '../../../../../src/ports/run-store.js';
import { failure, value } from '../../../../contract/result.js';
import { buildChild } from './processes.js';
import { openStores, temporaryDirectory } from './temporary-stores.js';

const start = buildChild();

const deploy = (reqid: string): RunStart => ({
  reqid,
  script: 'deploy',
  hosts: [{ host: 'web-01' }],
  args: [],
  mode: 'sync',
  principal: 'os:root',
  username: 'ann',
  sourceIp: '',
  startedAt: 1000,
});

/** A process that holds `pairing` and has begun `deploy` on web-01 as run r1. */
const holding = async (directory: string) => {
  const holder = start('hold', directory, 'r1');
  expect(await holder.next()).toBe('held');
  const kill = async () => {
    holder.process.kill('SIGKILL');
    await holder.ended();
  };
  return { ...holder, kill };
};

const files = (directory: string) => readdirSync(join(directory, 'locks'));

describe('one file and several processes', () => {
  it('opened by several at once for the first time, it is made once and every one of them can use it', async () => {
    const directory = temporaryDirectory();
    const children = Array.from({ length: 6 }, () => start('open', directory));
    for (const child of children) expect(await child.next()).toBe('ready');
    for (const child of children) child.process.stdin?.write('go\n');
    for (const child of children) expect(await child.next()).toBe('open');
    for (const child of children) await child.ended();
    const stores = await openStores(directory);
    expect(value(await stores.registry.list())).toEqual([]);
    for (const name of readdirSync(directory).filter((entry) => entry.startsWith('state.db'))) {
      expect([name, lstatSync(join(directory, name)).mode & 0o777]).toEqual([name, 0o600]);
    }
  });

  it('what was acknowledged is there after kill -9', async () => {
    const directory = temporaryDirectory();
    const child = start('write', directory, 'w');
    const acknowledged = [];
    for (let line = 0; line < 25; line++) acknowledged.push(await child.next());
    child.process.kill('SIGKILL');
    await child.ended();
    const stores = await openStores(directory);
    const names = value(await stores.registry.list()).map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(acknowledged));
  });
});

describe('exclusive work of other processes', () => {
  it('is held against this one, which sees by whom', async () => {
    const directory = temporaryDirectory();
    const holder = await holding(directory);
    const { mutex } = await openStores(directory);
    expect(failure(await mutex.acquire('pairing', 5000))).toMatchObject({
      code: 'held',
      what: 'pairing',
      by: `process ${holder.process.pid}`,
      since: new Date(1000),
    });
  });

  it('is held while its process is stopped', async () => {
    const directory = temporaryDirectory();
    const holder = await holding(directory);
    holder.process.kill('SIGSTOP');
    const { mutex } = await openStores(directory);
    expect(failure(await mutex.acquire('pairing', 5000)).code).toBe('held');
  });

  it('that was killed is in nobody’s way, whoever asks first', async () => {
    const directory = temporaryDirectory();
    const [first, second] = [await openStores(directory), await openStores(directory)];
    // The first has a session of its own before the holder dies, so it does not meet it when it comes to life.
    value(await first.mutex.acquire('maintain', 0));
    const holder = await holding(directory);
    await holder.kill();
    expect(value(await first.mutex.acquire('pairing', 2000)).term).toBe(2);
    expect(failure(await second.mutex.acquire('pairing', 3000))).toMatchObject({
      by: `process ${process.pid}`,
      since: new Date(2000),
    });
  });

  it('of many that meet a dead holder at once, one succeeds it', async () => {
    const directory = temporaryDirectory();
    const holder = await holding(directory);
    const instances = [];
    for (let index = 0; index < 5; index++) instances.push((await openStores(directory)).mutex);
    await holder.kill();
    const outcomes = await Promise.all(
      [...instances, ...instances].map((mutex) => mutex.acquire('pairing', 2000)),
    );
    expect(outcomes.filter((outcome) => outcome.isOk())).toHaveLength(1);
  });
});

describe('runs of other processes', () => {
  const openRuns = async (directory: string) => (await openStores(directory)).runStore;
  const locked = { kind: 'locked', conflicts: [{ host: 'web-01', script: 'deploy', runId: 'r1' }] };

  it('are locks, and under way as long as their process lives, stopped or not', async () => {
    const directory = temporaryDirectory();
    const holder = await holding(directory);
    const runs = await openRuns(directory);
    for (const signal of ['SIGCONT', 'SIGSTOP'] as const) {
      holder.process.kill(signal);
      expect(value(await runs.begin(deploy('r2'), 2000))).toMatchObject(locked);
      expect(value(await runs.find('r1'))).toMatchObject({ underWay: true, completedAt: undefined });
    }
  });

  it('that were killed are not under way, and their locks stay', async () => {
    const directory = temporaryDirectory();
    const holder = await holding(directory);
    const runs = await openRuns(directory);
    await holder.kill();
    expect(value(await runs.find('r1'))).toMatchObject({ underWay: false, results: [{ state: 'running' }] });
    expect(value(await runs.begin(deploy('r2'), 2000))).toMatchObject(locked);
    expect(value(await runs.locks(2000))).toEqual([
      { host: 'web-01', script: 'deploy', runId: 'r1', since: new Date(1000) },
    ]);
    expect(value(await runs.find('r2'))).toBeUndefined();
  });

  it('that were killed are in nobody’s way after a day without a sign', async () => {
    const directory = temporaryDirectory();
    const [killed, alive] = [await holding(directory), await openRuns(directory)];
    const after = 1000 + 86_400_001;
    expect(value(await alive.begin(deploy('r2'), after))).toMatchObject(locked);
    await killed.kill();
    expect(value(await alive.locks(after))).toEqual([]);
    expect(value(await alive.begin(deploy('r2'), after))).toEqual({ kind: 'begun' });
    expect(value(await alive.find('r1'))).toMatchObject({
      completedAt: after,
      results: [{ state: 'unknown', settledAt: after }],
    });
  });
});

describe('sessions', () => {
  it('what killed ones left goes with the next', async () => {
    const directory = temporaryDirectory();
    const holder = await holding(directory);
    await holder.kill();
    const orphan = join(directory, 'locks', 'owner-00000000-0000-4000-8000-000000000000.db');
    writeFileSync(orphan, 'not a database'.repeat(100));
    expect(files(directory)).toHaveLength(2);
    const { mutex } = await openStores(directory);
    value(await mutex.acquire('maintain', 0));
    expect(files(directory)).toHaveLength(1);
  });

  it('one whose file somebody deleted takes a new one and keeps what it holds', async () => {
    const directory = temporaryDirectory();
    const own = await openStores(directory);
    const held = value(await own.mutex.acquire('pairing', 0));
    value(await own.runStore.begin(deploy('r1'), 1000));
    const [file = ''] = files(directory);
    rmSync(join(directory, 'locks', file));
    value(await own.mutex.acquire('maintain', 0));
    expect(files(directory)).not.toContain(file);
    const other = await openStores(directory);
    expect((await other.mutex.acquire('pairing', 0)).isErr()).toBe(true);
    expect(value(await other.runStore.find('r1'))?.underWay).toBe(true);
    value(await held.release());
    expect((await other.mutex.acquire('pairing', 0)).isOk()).toBe(true);
  });

  it('one that ends in order leaves no file, holds nothing, and waits for no run', async () => {
    const directory = temporaryDirectory();
    const own = await openStores(directory);
    value(await own.mutex.acquire('pairing', 0));
    value(await own.runStore.begin(deploy('r1'), 1000));
    await own.close();
    expect(files(directory)).toEqual([]);
    const other = await openStores(directory);
    expect(value(await other.runStore.find('r1'))?.underWay).toBe(false);
    expect((await other.mutex.acquire('pairing', 0)).isOk()).toBe(true);
  });
});
