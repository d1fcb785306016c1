import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Job, Jobs } from '../../src/ports/jobs.js';
import type { Program } from '../../src/ports/process-runner.js';
import { value } from './result.js';

/** What a program of the suite does; the binding provides one of each. */
export interface JobPrograms {
  /** Copies standard input to standard output. */
  readonly copy: string;
  /** Exits with its first argument. */
  readonly exit: string;
  /** Prints 00000 to 99999, each followed by a line end. */
  readonly count: string;
  /** Prints `up`, then runs until SIGTERM. */
  readonly endless: string;
  /** Runs until `release` is called; says so to `starts`. */
  readonly held: string;
  /** A path at which nothing is. */
  readonly missing: string;
}

/** Jobs for one test. */
export interface JobsSubject {
  readonly jobs: Jobs;
  readonly programs: JobPrograms;
  /** How often `held` was started. */
  starts(): number;
  /** Lets all `held` end. */
  release(): void;
  /** Closes the jobs and opens them anew, as a restart does. */
  restart(): Promise<Jobs>;
  /** Called after the test; ends what still runs. */
  dispose(): Promise<void>;
}

/**
 * What holds for every `Jobs`. `create` makes jobs with 3 places.
 */
export function jobsContract(
  name: string,
  create: () => Promise<JobsSubject>,
  {
    outlive = true,
  }: {
    /** Whether jobs outlive who started them, as the port asks. Default true. */
    readonly outlive?: boolean;
  } = {},
): void {
  describe(`jobs contract: ${name}`, () => {
    let subject: JobsSubject;
    let jobs: Jobs;
    beforeEach(async () => {
      subject = await create();
      jobs = subject.jobs;
    });
    afterEach(async () => {
      subject.release();
      await subject.dispose();
    });

    const key = (reqid: string, owner = 'dispatcher-1') => ({ owner, reqid });
    const program = (which: keyof JobPrograms, changes: Partial<Program> = {}): Program => ({
      path: subject.programs[which],
      args: [],
      stdin: new Uint8Array(),
      env: { PATH: '/usr/bin:/bin' },
      stdinTimeout: 10_000,
      timeout: 0,
      maxOutput: 1024 * 1024,
      ...changes,
    });
    const start = async (
      reqid: string,
      which: keyof JobPrograms,
      changes: Partial<Program> = {},
      { script = reqid, owner = 'dispatcher-1', startedAt = 1000 } = {},
    ) => {
      const header = { ...key(reqid, owner), script, startedAt };
      return value(await jobs.start({ ...header, program: program(which, changes) }));
    };
    const find = async (reqid: string, owner?: string) => value(await jobs.find(key(reqid, owner)));
    const wait = async (reqid: string, owner?: string) => value(await jobs.wait(key(reqid, owner)));
    const cancel = async (reqid: string, owner?: string) => value(await jobs.cancel(key(reqid, owner)));
    const running = async () => value(await jobs.running());
    const resultOf = (job: Job | undefined) => {
      if (job === undefined || !('result' in job)) throw new Error(`no result: ${JSON.stringify(job)}`);
      if ('notRun' in job.result) throw new Error(job.result.notRun);
      return job.result;
    };
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

    it('a job that nobody submitted is unknown', async () => {
      expect(await find('r1')).toBeUndefined();
      expect(await wait('r1')).toBeUndefined();
      expect(await cancel('r1')).toBe('unknown');
      expect(await running()).toEqual([]);
    });

    it('a job runs, then is done with its output, and stays so', async () => {
      const before = Date.now();
      const stdin = new TextEncoder().encode('{"token":"t"}');
      expect(await start('r1', 'copy', { stdin })).toEqual({ kind: 'accepted' });
      const job = await wait('r1');
      expect(job).toMatchObject({
        ...key('r1'),
        script: 'r1',
        startedAt: 1000,
        status: 'done',
        result: { end: { kind: 'exited', code: 0 }, stopped: undefined, pipesHeldBy: undefined },
        outputLost: undefined,
      });
      expect(text(resultOf(job).stdout.bytes)).toBe('{"token":"t"}');
      expect(resultOf(job).stderr).toEqual({ bytes: new Uint8Array(), total: 0 });
      if (job?.status === 'done') {
        expect(job.finishedAt).toBeGreaterThanOrEqual(before);
        expect(job.finishedAt).toBeLessThanOrEqual(Date.now());
      }
      expect(await find('r1')).toEqual(job);
      expect(await cancel('r1')).toBe('ended');
    });

    it('while it runs it is found, listed, and neither waited for nor shown to others', async () => {
      await start('r1', 'held', {}, { startedAt: 5 });
      await start('r2', 'held', {}, { startedAt: 4 });
      const header = { ...key('r1'), script: 'r1', startedAt: 5 };
      expect(await find('r1')).toEqual({ ...header, status: 'running' });
      expect((await running()).map(({ reqid }) => reqid)).toEqual(['r2', 'r1']);
      expect(await find('r1', 'other')).toBeUndefined();
      expect(await cancel('r1', 'other')).toBe('unknown');
      const aborted = await jobs.wait(key('r1'), AbortSignal.abort());
      expect(value(aborted)).toMatchObject({ status: 'running' });
      const waiting = wait('r1');
      subject.release();
      expect(await waiting).toMatchObject({ status: 'done' });
    });

    it.each([0, 1, 126, 255])('exit code %i is kept as it is', async (code) => {
      await start('r1', 'exit', { args: [String(code)] });
      expect(resultOf(await wait('r1')).end).toEqual({ kind: 'exited', code });
    });

    it('output beyond the limit keeps head and tail and the true total', async () => {
      await start('r1', 'count', { maxOutput: 24 });
      const { stdout } = resultOf(await wait('r1'));
      expect([text(stdout.bytes), stdout.total]).toEqual(['00000\n00001\n99998\n99999\n', 600_000]);
    });

    it('output within the limit is whole', async () => {
      await start('r1', 'count', { maxOutput: 600_000 });
      const { stdout } = resultOf(await wait('r1'));
      expect([stdout.bytes.length, stdout.total]).toEqual([600_000, 600_000]);
      expect(text(stdout.bytes.subarray(-6))).toBe('99999\n');
    });

    it('a program that does not exist is a job that is done, with the reason', async () => {
      expect(await start('r1', 'missing')).toEqual({ kind: 'accepted' });
      expect(await wait('r1')).toMatchObject({
        status: 'done',
        result: { notRun: expect.stringMatching(/^(no such file \(ENOENT\)|there is no such action)$/) },
      });
    });

    it('a job that runs beyond its time is ended, and is done', async () => {
      await start('r1', 'endless', { timeout: 300 });
      expect(await wait('r1')).toMatchObject({
        status: 'done',
        result: { end: { kind: 'signalled', signal: 'SIGTERM' }, stopped: 'timeout' },
      });
    });

    it('a job is cancelled, which is no timeout', async () => {
      await start('r1', 'endless', { timeout: 600_000 });
      expect(await cancel('r1')).toBe('cancelling');
      expect(await cancel('r1')).toMatch(/cancelling|ended/);
      expect(await wait('r1')).toMatchObject({ status: 'cancelled' });
      expect(await cancel('r1')).toBe('ended');
      expect(await running()).toEqual([]);
    });

    it('a key runs once, whatever is asked for with it, also after its end and a restart', async () => {
      const claims = await Promise.all(
        Array.from({ length: 8 }, (_, index) => start('r1', 'held', {}, { script: `script-${index}` })),
      );
      expect(claims.map(({ kind }) => kind).sort()).toEqual(['accepted', ...Array(7).fill('known')]);
      subject.release();
      const job = await wait('r1');
      expect(job).toMatchObject({ status: 'done' });
      expect(await start('r1', 'held')).toEqual({ kind: 'known', job });
      jobs = await subject.restart();
      expect(await start('r1', 'held')).toEqual({ kind: 'known', job });
      expect(subject.starts()).toBe(1);
    });

    it('a key belongs to its owner, and names do not run into each other', async () => {
      const own = (owner: string) => ({ owner, script: owner });
      expect(await start('bc', 'exit', { args: ['1'] }, own('a'))).toEqual({ kind: 'accepted' });
      expect(await start('c', 'exit', { args: ['2'] }, own('ab'))).toEqual({ kind: 'accepted' });
      expect(await start('bc', 'exit', { args: ['3'] }, own('b'))).toEqual({ kind: 'accepted' });
      for (const [owner, reqid, code] of [
        ['a', 'bc', 1],
        ['ab', 'c', 2],
        ['b', 'bc', 3],
      ] as const)
        expect(resultOf(value(await jobs.wait(key(reqid, owner)))).end).toEqual({
          kind: 'exited',
          code,
        });
    });

    it('names cannot reach anything outside', async () => {
      for (const reqid of ['../../escape', '/etc/passwd', '', '.', 'a\0b']) {
        expect(await start(reqid, 'exit', { args: ['0'] })).toEqual({ kind: 'accepted' });
        expect(await wait(reqid)).toMatchObject({ ...key(reqid), status: 'done' });
        expect(value(await jobs.purge(Date.now() + 1000))).toBe(1);
      }
    });

    it.runIf(outlive)('of the jobs of one script one runs at a time, across a restart, too', async () => {
      const at = { script: 'backup' };
      const claims = await Promise.all(
        ['r1', 'r2', 'r3', 'r4'].map((reqid) => start(reqid, 'held', {}, { ...at })),
      );
      expect(claims.map(({ kind }) => kind).sort()).toEqual(['accepted', 'busy', 'busy', 'busy']);
      const [first] = await running();
      expect(claims.find(({ kind }) => kind === 'busy')).toEqual({ kind: 'busy', running: first });
      jobs = await subject.restart();
      expect(await start('r5', 'held', {}, at)).toEqual({ kind: 'busy', running: first });
      subject.release();
      await wait(first?.reqid ?? '');
      expect(await start('r5', 'exit', { args: ['0'] }, at)).toEqual({ kind: 'accepted' });
      expect(await wait('r5')).toMatchObject({ status: 'done' });
    });

    it.runIf(outlive)('what runs survives a restart: it is found, waited for and cancelled', async () => {
      await start('r1', 'held');
      await start('r2', 'endless');
      jobs = await subject.restart();
      expect((await running()).map(({ reqid }) => reqid).sort()).toEqual(['r1', 'r2']);
      expect(await cancel('r2')).toBe('cancelling');
      expect(await wait('r2')).toMatchObject({ status: 'cancelled' });
      subject.release();
      expect(await wait('r1')).toMatchObject({ status: 'done', script: 'r1', startedAt: 1000 });
      expect(subject.starts()).toBe(1);
    });

    it.runIf(outlive)('whoever waits when they are closed is told how it is', async () => {
      await start('r1', 'held');
      const waiting = wait('r1');
      jobs = await subject.restart();
      expect(await waiting).toMatchObject({ status: 'running' });
    });

    it.skipIf(outlive)('of the jobs of one script one runs at a time', async () => {
      const at = { script: 'backup' };
      const claims = await Promise.all(
        ['r1', 'r2', 'r3'].map((reqid) => start(reqid, 'held', {}, { ...at })),
      );
      expect(claims.map(({ kind }) => kind).sort()).toEqual(['accepted', 'busy', 'busy']);
      const [first] = await running();
      expect(claims.find(({ kind }) => kind === 'busy')).toEqual({ kind: 'busy', running: first });
      subject.release();
      await wait(first?.reqid ?? '');
      expect(await start('r5', 'exit', { args: ['0'] }, at)).toEqual({ kind: 'accepted' });
    });

    it.skipIf(outlive)('what runs is ended when they are closed, and lost from then on', async () => {
      await start('r1', 'endless');
      const waiting = wait('r1');
      jobs = await subject.restart();
      const reason = 'the agent was stopped before it ended';
      expect(await waiting).toMatchObject({ status: 'lost', reason });
      expect(await find('r1')).toMatchObject({ ...key('r1'), status: 'lost', reason, script: 'r1' });
      expect(await running()).toEqual([]);
      expect(await cancel('r1')).toBe('ended');
      expect(await start('r1', 'exit', { args: ['0'] })).toMatchObject({ kind: 'known' });
      expect(await start('r2', 'exit', { args: ['0'] }, { script: 'r1' })).toEqual({ kind: 'accepted' });
    });

    it('jobs are forgotten by their end, never while they run; one owner has half of the shelf, others the rest', async () => {
      await start('r1', 'exit', { args: ['0'] });
      const first = await wait('r1');
      await start('r2', 'held');
      await start('r3', 'exit', { args: ['0'] });
      await wait('r3');
      expect(await start('r4', 'exit')).toEqual({ kind: 'full' });
      expect(await start('r1', 'exit')).toMatchObject({ kind: 'known' });
      const others = { script: 'others', owner: 'dispatcher-2' };
      expect(await start('r4', 'exit', { args: ['0'] }, others)).toEqual({ kind: 'accepted' });
      await wait('r4', 'dispatcher-2');
      if (first?.status !== 'done') throw new Error('it is not done');
      expect(value(await jobs.purge(first.finishedAt))).toBe(0);
      expect(value(await jobs.purge(Date.now() + 1000))).toBe(3);
      expect(await find('r1')).toBeUndefined();
      expect(await find('r2')).toMatchObject({ status: 'running' });
      expect(await start('r1', 'exit', { args: ['7'] })).toEqual({ kind: 'accepted' });
      expect(resultOf(await wait('r1')).end).toEqual({ kind: 'exited', code: 7 });
    });
  });
}
