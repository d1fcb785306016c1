import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ok, okAsync, ResultAsync } from 'neverthrow';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { withLock } from '../../../../src/adapters/files/lock.js';
import { ownerIsThere, ownerToken } from '../../../../src/adapters/shared/temporary.js';
import { failure, value } from '../../../contract/result.js';
import { compileAdapter, temporaryDirectory } from './identity/key-store-fixture.js';

/** A token of this process with some of its fields exchanged: pid, start time, boot, namespace, random. */
const tokenWith = (fields: Record<number, string>): string =>
  ownerToken()
    .split('-')
    .map((field, index) => fields[index] ?? field)
    .join('-');

/** The pid of a process that has ended. */
const endedPid = async (): Promise<string> => {
  const child = spawn(process.execPath, ['-e', '']);
  const pid = String(child.pid);
  await once(child, 'close');
  return pid;
};

const hasProc = process.platform === 'linux';

describe('lock', () => {
  let directory: string;
  let lock: string;
  beforeEach(() => {
    directory = temporaryDirectory();
    lock = join(directory, 'lock');
  });
  afterEach(() => rm(directory, { recursive: true }));

  const plant = async (token: string) => {
    await mkdir(lock);
    await writeFile(join(lock, token), '');
  };
  const take = (patience: number) => withLock(lock, () => okAsync('inside'), patience);

  it('gives the result of its body and leaves nothing behind', async () => {
    expect(value(await take(100))).toBe('inside');
    expect(await readdir(directory)).toEqual([]);
  });

  it('is let go when the body fails', async () => {
    const failed = await withLock(lock, () => ResultAsync.fromPromise(Promise.reject('no'), () => 'no'));
    expect(failure(failed)).toBe('no');
    expect((await take(0)).isOk()).toBe(true);
  });

  it('admits one at a time within a process', async () => {
    let inside = 0;
    let entered = 0;
    const body = () =>
      ResultAsync.fromSafePromise(
        (async () => {
          inside += 1;
          entered += 1;
          expect(inside).toBe(1);
          await readdir(directory);
          inside -= 1;
        })(),
      );
    const results = await Promise.all(Array.from({ length: 30 }, () => withLock(lock, body, 20_000)));
    expect(results.every((result) => result.isOk())).toBe(true);
    expect(entered).toBe(30);
  });

  it('a holder that lives is waited for, then ELOCKED', async () => {
    await plant(ownerToken());
    const error = failure(await take(80));
    expect(error).toMatchObject({ code: 'file_failed', path: lock, reason: 'ELOCKED' });
    expect(await readdir(directory)).toEqual(['lock']);
  });

  it('a holder that died does not block', async () => {
    await plant(tokenWith({ 0: await endedPid() }));
    expect((await take(0)).isOk()).toBe(true);
  });

  it.skipIf(!hasProc)(
    'a holder whose pid is another process by now does not block (needs /proc)',
    async () => {
      await plant(tokenWith({ 1: '1' }));
      expect((await take(0)).isOk()).toBe(true);
    },
  );

  it.skipIf(!hasProc)(
    'a holder from before the machine was started does not block (needs /proc)',
    async () => {
      await plant(tokenWith({ 2: '0123456789abcdef0123456789abcdef' }));
      expect((await take(0)).isOk()).toBe(true);
    },
  );

  it.skipIf(!hasProc)(
    'a holder in another pid namespace is believed for a minute (needs /proc)',
    async () => {
      const token = tokenWith({ 3: '1' });
      await plant(token);
      expect(failure(await take(0)).reason).toBe('ELOCKED');
      const before = new Date(Date.now() - 61_000);
      await utimes(join(lock, token), before, before);
      expect((await take(0)).isOk()).toBe(true);
    },
  );

  it.skipIf(!hasProc)('a killed process that nobody has waited for is dead (needs /proc)', async () => {
    const parent = spawn(
      '/bin/sh',
      ['-c', `"${process.execPath}" -e 'process.stdin.resume()' <&0 & echo $!; exec sleep 60`],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    );
    try {
      const [line] = await once(parent.stdout, 'data');
      const pid = String(line).trim();
      const stat = async () => (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
      const token = tokenWith({ 0: pid, 1: (await stat())[19] ?? '' });
      expect(ownerIsThere(token)).toBe('yes');
      // Until then the parent is a shell, which would wait for the child.
      while ((await readFile(`/proc/${parent.pid}/comm`, 'utf8')).trim() !== 'sleep')
        await readdir(directory);
      process.kill(Number(pid), 'SIGKILL');
      while ((await stat())[0] !== 'Z' || (await stat())[17] !== '1') await readdir(directory);
      expect(ownerIsThere(token)).toBe('no');
    } finally {
      const closed = once(parent, 'close');
      parent.kill('SIGKILL');
      parent.stdin.destroy();
      await closed;
    }
  });

  it.skipIf(!hasProc)('a holder with no boot id is believed while it shows life (needs /proc)', async () => {
    const token = tokenWith({ 2: '0' });
    await plant(token);
    expect(failure(await take(0)).reason).toBe('ELOCKED');
    const before = new Date(Date.now() - 61_000);
    await utimes(join(lock, token), before, before);
    expect((await take(0)).isOk()).toBe(true);
  });

  it('a holder shows life for as long as it is inside', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    try {
      const body = async () => {
        const holder = join(lock, (await readdir(lock))[0] ?? '');
        await utimes(holder, 0, 0);
        vi.advanceTimersByTime(20_000);
        await vi.waitFor(async () => expect((await stat(holder)).mtimeMs).toBeGreaterThan(0));
        return ok('seen');
      };
      expect(value(await withLock(lock, () => new ResultAsync(body())))).toBe('seen');
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it('a directory that is not there is ENOENT', async () => {
    const error = failure(await withLock(join(directory, 'none', 'lock'), () => okAsync(0)));
    expect(error).toMatchObject({ code: 'file_failed', operation: 'lock', reason: 'ENOENT' });
  });

  it('four processes that start at a dead lock count to 100 together without losing one', async () => {
    const { lock: module } = compileAdapter(join(directory, 'built'));
    const counter = join(directory, 'counter');
    const work = join(directory, 'work.mjs');
    await writeFile(counter, '0');
    await writeFile(
      work,
      `
      import { readFileSync, writeFileSync } from 'node:fs';
      import { readdir } from 'node:fs/promises';
      const { withLock } = await import(${JSON.stringify(module)});
      const counter = ${JSON.stringify(counter)};
      const body = async () => {
        const before = Number(readFileSync(counter, 'utf8'));
        await readdir('/');
        writeFileSync(counter, String(before + 1));
        return { isErr: () => false };
      };
      console.log('ready');
      await new Promise((resolve) => process.stdin.once('end', resolve).resume());
      for (let n = 0; n < 25; n += 1) {
        const result = await withLock(${JSON.stringify(lock)}, body, 30000);
        if (result.isErr()) throw new Error(result.error.message);
      }
      `,
    );
    const children = Array.from({ length: 4 }, () =>
      spawn(process.execPath, [work], { stdio: ['pipe', 'pipe', 'inherit'] }),
    );
    await Promise.all(children.map((child) => once(child.stdout, 'data')));
    await plant(tokenWith({ 0: await endedPid() }));
    const codes = children.map(async (child) => (await once(child, 'close'))[0]);
    for (const child of children) child.stdin.end();
    expect(await Promise.all(codes)).toEqual([0, 0, 0, 0]);
    expect(await readFile(counter, 'utf8')).toBe('100');
    await chmod(directory, 0o700);
    expect((await readdir(directory)).sort()).toEqual(['built', 'counter', 'work.mjs']);
  }, 60_000);
});
