import { lstatSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { failure, value } from '../../../../contract/result.js';
import { buildChild } from './processes.js';
import { openStores, temporaryDirectory } from './temporary-stores.js';

const start = buildChild();
const lock = [{ host: 'web-01', script: 'deploy' }];

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

describe('locks of other processes', () => {
  it('a lock is held against other processes, which see by whom', async () => {
    const directory = temporaryDirectory();
    const holder = start('hold', directory, 'r1');
    expect(await holder.next()).toBe('held');
    const { locks } = await openStores(directory);
    const error = failure(await locks.acquire(lock, 'r2', 0));
    expect(error).toMatchObject({ code: 'locked', conflicts: ['web-01:deploy'] });
    expect(value(await locks.list())).toEqual([
      { host: 'web-01', script: 'deploy', reqid: 'r1', pid: holder.process.pid, since: 1000 },
    ]);
  });

  it('a process that is stopped still holds its lock', async () => {
    const directory = temporaryDirectory();
    const holder = start('hold', directory);
    expect(await holder.next()).toBe('held');
    holder.process.kill('SIGSTOP');
    const { locks } = await openStores(directory);
    expect((await locks.acquire(lock, 'r2', 0)).isErr()).toBe(true);
  });

  it('a holder that was killed is not listed and does not stand in the way, for whoever asks first', async () => {
    const directory = temporaryDirectory();
    const [asked, listed] = [await openStores(directory), await openStores(directory)];
    // Both have an owner of their own before the holder dies, so neither meets it when it comes to life.
    value(await asked.locks.acquire([{ host: 'db', script: 'x' }], 'r', 0));
    const holder = start('hold', directory);
    expect(await holder.next()).toBe('held');
    holder.process.kill('SIGKILL');
    await holder.ended();
    expect(value(await listed.locks.list()).map(({ host }) => host)).toEqual(['db']);
    value(await asked.locks.acquire(lock, 'r2', 2000));
    expect(value(await listed.locks.list())).toMatchObject([{ host: 'db' }, { pid: process.pid }]);
    expect(readdirSync(join(directory, 'locks'))).toHaveLength(1);
  });

  it('what killed holders left goes when the next instance takes its first lock', async () => {
    const directory = temporaryDirectory();
    const holder = start('hold', directory);
    expect(await holder.next()).toBe('held');
    holder.process.kill('SIGKILL');
    await holder.ended();
    const orphan = join(directory, 'locks', 'owner-00000000-0000-4000-8000-000000000000.db');
    writeFileSync(orphan, 'not a database'.repeat(100));
    expect(readdirSync(join(directory, 'locks'))).toHaveLength(2);
    const { locks } = await openStores(directory);
    value(await locks.acquire([{ host: 'db', script: 'x' }], 'r', 0));
    expect(readdirSync(join(directory, 'locks'))).toHaveLength(1);
    expect(value(await locks.list())).toHaveLength(1);
  });

  it('many that meet a dead holder at once agree on one successor', async () => {
    const directory = temporaryDirectory();
    const holder = start('hold', directory);
    expect(await holder.next()).toBe('held');
    const instances = [];
    for (let index = 0; index < 5; index++) instances.push((await openStores(directory)).locks);
    holder.process.kill('SIGKILL');
    await holder.ended();
    const outcomes = await Promise.all(
      instances.flatMap((locks, index) => [locks.acquire(lock, `r${index}`, 0), locks.list()]),
    );
    expect(outcomes.filter((outcome) => outcome.isOk())).toHaveLength(1 + instances.length);
  });

  it('a holder whose file somebody deleted takes a new one with its next lock and keeps what it holds', async () => {
    const directory = temporaryDirectory();
    const { locks } = await openStores(directory);
    value(await locks.acquire(lock, 'r1', 0));
    const [file = ''] = readdirSync(join(directory, 'locks'));
    rmSync(join(directory, 'locks', file));
    value(await locks.acquire([{ host: 'db', script: 'x' }], 'r2', 0));
    const other = await openStores(directory);
    expect(value(await other.locks.list())).toHaveLength(2);
    expect((await other.locks.acquire(lock, 'r3', 0)).isErr()).toBe(true);
    value(await locks.release('r1'));
    expect((await other.locks.acquire(lock, 'r3', 0)).isOk()).toBe(true);
  });
});
