import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { fileJobs } from '../../../../../src/adapters/files/jobs/jobs.js';
import { memoryProcessRunner, processOutcome } from '../../../../../src/adapters/memory/process-runner.js';
import type { Jobs } from '../../../../../src/ports/jobs.js';
import type { ProcessRunner, Program } from '../../../../../src/ports/process-runner.js';
import { failure, value } from '../../../../contract/result.js';
import { deferred } from '../../../../support/network/network.js';

const program = (path: string): Program => ({
  path,
  ...{ args: [], stdin: new Uint8Array(), env: {}, stdinTimeout: 0, timeout: 0, maxOutput: 1024 },
});
const key = { owner: 'control', reqid: 'r1' };
const header = { ...key, script: 'it', startedAt: 5 };

function place() {
  const home = mkdtempSync(join(tmpdir(), 'file-jobs-'));
  onTestFinished(() => rmSync(home, { recursive: true }));
  const directory = join(home, 'actions');
  let starts = 0;
  const programs = memoryProcessRunner({
    quick: () => {
      starts += 1;
      return processOutcome(0, 'out', 'err');
    },
    endless: () => {
      starts += 1;
      return new Promise(() => undefined);
    },
  });
  const open = (more: { runner?: ProcessRunner; now?: () => number; patience?: number } = {}) => {
    const jobs = fileJobs({ directory, runner: programs, ...more });
    onTestFinished(() => jobs.close());
    return jobs;
  };
  const start = async (jobs: Jobs, path: string) =>
    value(await jobs.start({ ...header, program: program(path) }));
  const record = () => join(directory, readdirSync(directory).find((name) => name.endsWith('.job')) ?? '');
  return { directory, open, start, record, starts: () => starts };
}

const find = async (jobs: Jobs) => value(await jobs.find(key));

describe('jobs in files', () => {
  it('records a job for its owner alone before it is started', async () => {
    const { directory, open, record } = place();
    const seen: string[] = [];
    const inner = memoryProcessRunner({ quick: () => processOutcome(0) });
    const jobs = open({
      runner: {
        run: (request) => {
          seen.push(readFileSync(record(), 'latin1'));
          return inner.run(request);
        },
      },
    });
    await jobs.start({
      ...header,
      program: { ...program('quick'), stdin: new TextEncoder().encode('sesame') },
    });
    await jobs.wait(key);
    expect(seen).toEqual([expect.stringContaining('"status":"running"')]);
    expect(readFileSync(record(), 'latin1')).not.toContain('sesame');
    expect([statSync(directory).mode & 0o777, statSync(record()).mode & 0o777]).toEqual([0o700, 0o600]);
  });

  it('a record that was cut off, or is something else, is a job that is lost and never started again', async () => {
    for (const harm of [
      (path: string) => truncateSync(path, 20),
      (path: string) => truncateSync(path, statSync(path).size - 1),
      (path: string) => writeFileSync(path, 'what is this'),
      (path: string) => {
        rmSync(path);
        mkdirSync(path);
      },
    ]) {
      const { open, start, record, starts } = place();
      const jobs = open();
      await start(jobs, 'quick');
      await jobs.wait(key);
      await jobs.close();
      harm(record());
      const next = open();
      expect(await find(next)).toMatchObject({ ...key, status: 'lost', reason: 'its record is damaged' });
      expect(await start(next, 'quick')).toMatchObject({ kind: 'known' });
      expect(starts()).toBe(1);
    }
  });

  it('strange files are left alone', async () => {
    const { directory, open, start } = place();
    mkdirSync(directory);
    writeFileSync(join(directory, 'notes.txt'), 'mine');
    const jobs = open();
    expect(await start(jobs, 'quick')).toEqual({ kind: 'accepted' });
    await jobs.wait(key);
    expect(value(await jobs.purge(Date.now() + 1000))).toBe(1);
    expect(readFileSync(join(directory, 'notes.txt'), 'utf8')).toBe('mine');
  });

  it('a job that cannot be recorded is not started, and its key is as good as new', async () => {
    const { directory, open, start, starts } = place();
    const jobs = open();
    await jobs.running();
    rmSync(directory, { recursive: true });
    const refused = await jobs.start({ ...header, program: program('quick') });
    expect(failure(refused)).toMatchObject({ code: 'file_failed', reason: 'ENOENT' });
    expect(starts()).toBe(0);
    mkdirSync(directory);
    expect(await start(jobs, 'quick')).toEqual({ kind: 'accepted' });
    await jobs.wait(key);
    expect(starts()).toBe(1);
  });

  it('an end that cannot be recorded is still told here', async () => {
    const { directory, open, start } = place();
    const end = deferred<void>();
    const runner = memoryProcessRunner({
      quick: async () => {
        await end.promise;
        return processOutcome(3, 'out');
      },
    });
    const jobs = open({ runner });
    await start(jobs, 'quick');
    rmSync(directory, { recursive: true });
    end.resolve();
    expect(value(await jobs.wait(key))).toMatchObject({
      status: 'done',
      result: { end: { kind: 'exited', code: 3 }, stdout: { total: 3 } },
    });
    mkdirSync(directory);
  });

  it('what goes on although it was told to end runs, and keeps its script from running twice', async () => {
    const { open, start } = place();
    const over = deferred<void>();
    const inner = memoryProcessRunner({ endless: () => new Promise(() => undefined) });
    const jobs = open({
      runner: {
        run: (request) => inner.run(request).map((outcome) => ({ ...outcome, goesOn: over.promise })),
      },
    });
    await start(jobs, 'endless');
    expect(value(await jobs.cancel(key))).toBe('cancelling');
    await new Promise((resolve) => setImmediate(resolve));
    expect(await find(jobs)).toMatchObject({ status: 'running' });
    const other = { ...header, reqid: 'r2', program: program('endless') };
    expect(value(await jobs.start(other))).toMatchObject({ kind: 'busy' });
    over.resolve();
    expect(value(await jobs.wait(key))).toMatchObject({ status: 'cancelled' });
  });

  it('what is closed on while it goes on is lost for the next one, whatever it says later', async () => {
    const { open, start } = place();
    const over = deferred<void>();
    const inner = memoryProcessRunner({ endless: () => new Promise(() => undefined) });
    const jobs = open({
      patience: 10,
      runner: {
        run: (request) => inner.run(request).map((outcome) => ({ ...outcome, goesOn: over.promise })),
      },
    });
    await start(jobs, 'endless');
    await jobs.close();
    const next = open();
    const lost = { status: 'lost', reason: 'the agent went down while it ran' };
    expect(await find(next)).toMatchObject(lost);
    over.resolve();
    // As many synced writes as a late end would need, and some more.
    for (const reqid of ['r2', 'r3', 'r4']) {
      await next.start({ ...header, reqid, program: program('quick') });
      await next.wait({ ...key, reqid });
    }
    expect(await find(next)).toMatchObject(lost);
    expect((await jobs.find({ ...key, reqid: 'r9' })).isOk()).toBe(true);
    expect(failure(await jobs.start({ ...header, reqid: 'r9', program: program('quick') }))).toMatchObject({
      reason: 'EBADF',
    });
  });

  it('a loss keeps its time through further restarts', async () => {
    const { directory, open, start } = place();
    const first = open({ now: () => 10 });
    await start(first, 'endless');
    // As a kill leaves it: the record is the one of the start.
    const [name = ''] = readdirSync(directory).filter((each) => each.endsWith('.job'));
    const running = readFileSync(join(directory, name));
    await first.close();
    writeFileSync(join(directory, name), running);
    chmodSync(join(directory, name), 0o600);
    for (const now of [20, 30]) {
      const next = open({ now: () => now });
      expect(await find(next)).toMatchObject({ status: 'lost', finishedAt: 20 });
      await next.close();
    }
  });
});
