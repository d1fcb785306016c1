import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { directoryName } from '../../../src/adapters/child-process/jobs/layout.js';
import { encodeOrder } from '../../../src/adapters/child-process/jobs/order.js';
import { supervisedJobs } from '../../../src/adapters/child-process/jobs/supervised.js';
import { identityOf, ownIdentity } from '../../../src/adapters/shared/process-identity.js';
import type { Job, Jobs } from '../../../src/ports/jobs.js';
import type { Program } from '../../../src/ports/process-runner.js';
import { failure, value } from '../../contract/result.js';
import { fill, mayMount, mountDisk } from '../../support/kill/disk.js';
import { jobSupervisor } from '../../support/processes/job-supervisor.js';
import { eventually, isAlive, scriptDirectory, text } from '../../unit/adapters/child-process/scripts.js';

const { shell } = scriptDirectory();
const supervisor = jobSupervisor();

let home: string;
let directory: string;
let jobs: Jobs;
const decoys: ChildProcess[] = [];
const open = (changes: Partial<Parameters<typeof supervisedJobs>[0]> = {}) =>
  supervisedJobs({ directory, supervisor, killAfter: 200, ...changes });

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'jobs-'));
  directory = join(home, 'jobs');
  jobs = open();
});
afterEach(async () => {
  for (const job of (await jobs.running()).unwrapOr([])) {
    await jobs.cancel(job);
    await jobs.wait(job, AbortSignal.timeout(10_000));
  }
  await jobs.close();
  for (const decoy of decoys.splice(0)) decoy.kill('SIGKILL');
  rmSync(home, { recursive: true, force: true });
});

const key = (reqid = 'r1') => ({ owner: 'dispatcher-1', reqid });
const jobDirectory = (reqid?: string) => join(directory, directoryName(key(reqid)));
const record = (name: string, reqid?: string) =>
  JSON.parse(readFileSync(join(jobDirectory(reqid), name), 'utf8')) as Record<string, unknown>;
const write = (name: string, content: object, reqid?: string) =>
  writeFileSync(join(jobDirectory(reqid), name), JSON.stringify(content));
const order = (path: string, changes: Partial<Program> = {}): Program => ({
  path,
  args: [],
  stdin: new TextEncoder().encode('{"token":"s3cret"}'),
  env: { PATH: '/usr/bin:/bin' },
  stdinTimeout: 10_000,
  timeout: 0,
  maxOutput: 100_000,
  ...changes,
});
const submit = (path: string, reqid = 'r1', changes: Partial<Program> = {}, of = jobs, script = reqid) =>
  of.start({ ...key(reqid), script, startedAt: 1000, program: order(path, changes) });
const start = async (path: string, reqid?: string, changes?: Partial<Program>) =>
  expect(value(await submit(path, reqid, changes))).toEqual({ kind: 'accepted' });
const find = async (reqid?: string) => value(await jobs.find(key(reqid)));
const wait = async (reqid?: string) => value(await jobs.wait(key(reqid), AbortSignal.timeout(20_000)));
const printed = (job: Job | undefined): string => {
  if (job === undefined || job.status === 'running') throw new Error('it has not ended');
  if (job.status === 'lost') return text(job.stdout.bytes);
  return 'notRun' in job.result ? job.result.notRun : text(job.result.stdout.bytes);
};
const reason = (job: Job | undefined) => (job?.status === 'lost' ? job.reason : JSON.stringify(job));
const watcherOf = (reqid?: string) => (record('watcher', reqid)['watcher'] as { pid: number }).pid;
const programOf = (reqid?: string) => (record('program', reqid)['process'] as { pid: number }).pid;
const lines = (path: string): string[] =>
  existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n') : [];
const decoy = async (): Promise<number> => {
  const child = spawn('/bin/sleep', ['1000'], { detached: true, stdio: 'ignore' });
  decoys.push(child);
  await new Promise((resolve) => child.once('spawn', resolve));
  return child.pid ?? 0;
};
/** A program that is up: it has written its id, and what watches over it has noted the process. */
const up = async (body: string, reqid?: string, changes?: Partial<Program>) => {
  const pids = join(home, `pids-${reqid ?? 'r1'}`);
  await start(shell(body.replaceAll('PIDS', pids)), reqid, changes);
  await eventually(() => /^\d+\n$/m.test(existsSync(pids) ? readFileSync(pids, 'utf8') : ''));
  await eventually(() => record('program', reqid)['process'] !== undefined);
  return pids;
};

describe('what a job finds and leaves', () => {
  test('umask 022, /, a session of its own, three descriptors, the given environment', async () => {
    const before = process.umask(0o077);
    try {
      await start(
        shell(
          'umask; pwd; cut -d" " -f1,5,6 /proc/$$/stat; ls /proc/self/fd | tr "\\n" " "; echo; env | sort',
        ),
        'r1',
        { env: { PATH: '/usr/bin:/bin', TZ: 'UTC' } },
      );
    } finally {
      process.umask(before);
    }
    const [umask, cwd, stat = '', descriptors, ...env] = printed(await wait())
      .trim()
      .split('\n');
    expect([umask, cwd]).toEqual(['0022', '/']);
    expect(new Set(stat.split(' ')).size).toBe(1);
    // 3 is that of `ls` itself.
    expect(descriptors?.trim()).toBe('0 1 2 3');
    expect(env.filter((line) => !/^(_|PWD|OLDPWD|SHLVL)=/.test(line))).toEqual([
      'PATH=/usr/bin:/bin',
      'TZ=UTC',
    ]);
  });

  test('directories are 0700, files 0600, also where they lay open before', async () => {
    mkdirSync(directory, { mode: 0o755 });
    chmodSync(directory, 0o755);
    const before = process.umask(0);
    try {
      await start(shell('exit 0'));
    } finally {
      process.umask(before);
    }
    await wait();
    const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);
    expect([mode(directory), mode(jobDirectory())]).toEqual(['700', '700']);
    for (const name of readdirSync(jobDirectory()))
      expect([name, mode(join(jobDirectory(), name))]).toEqual([name, '600']);
  });

  test('a token shows in no file, argument or variable of whoever watches', async () => {
    await up('echo $$ >PIDS; exec sleep 1000');
    const watcher = watcherOf();
    for (const name of ['cmdline', 'environ'])
      expect(readFileSync(`/proc/${watcher}/${name}`, 'utf8')).not.toContain('s3cret');
    for (const name of readdirSync(jobDirectory()))
      expect(readFileSync(join(jobDirectory(), name), 'utf8')).not.toContain('s3cret');
    expect(readFileSync(`/proc/${watcher}/environ`, 'utf8').split('\0').filter(Boolean)).toEqual([
      'PATH=/usr/sbin:/usr/bin:/sbin:/bin',
    ]);
  });

  test('an end leaves no process, and no file but the record and the output', async () => {
    await start(shell('echo out'));
    const watcher = watcherOf();
    await wait();
    await eventually(() => !isAlive(watcher));
    expect(readdirSync(directory)).toEqual([directoryName(key())]);
    expect(readdirSync(jobDirectory()).sort()).toEqual(
      ['cancel.room', 'end', 'job', 'program', 'stderr', 'stdout', 'watcher'].sort(),
    );
  });

  test('a daemonised grandchild that holds the output does not hold up the end, and is named', async () => {
    const daemon = join(home, 'daemon');
    await start(
      shell(`setsid sh -c 'echo $$ >${daemon}; exec sleep 1000' & while [ ! -s ${daemon} ]; do :; done`),
    );
    const job = await wait();
    const pid = Number(readFileSync(daemon, 'utf8'));
    process.kill(pid, 'SIGKILL');
    expect(job).toMatchObject({ status: 'done', result: { pipesHeldBy: [pid] } });
  });

  test('what a job leaves behind can go on writing when nobody watches any more', async () => {
    const [daemon, trace] = [join(home, 'daemon'), join(home, 'trace')];
    await start(
      shell(
        `setsid sh -c 'echo $$ >${daemon}; while :; do echo tick; echo alive >>${trace}; sleep 0.02; done' & while [ ! -s ${daemon} ]; do :; done`,
      ),
    );
    const watcher = watcherOf();
    const job = await wait();
    const pid = Number(readFileSync(daemon, 'utf8'));
    try {
      if (job?.status !== 'done' || 'notRun' in job.result) throw new Error('it was not done');
      expect(job.result.pipesHeldBy).toContain(pid);
      const { bytes, total } = job.result.stdout;
      expect([text(bytes), total]).toEqual([expect.stringMatching(/^(tick\n)+$/), bytes.length]);
      expect(value(await jobs.running())).toEqual([]);
      await eventually(() => !isAlive(watcher));
      const soFar = lines(trace).length;
      await eventually(() => lines(trace).length > soFar + 10);
    } finally {
      process.kill(pid, 'SIGKILL');
    }
  });
});

describe('cancelling', () => {
  test('what ignores SIGTERM gets SIGKILL, its children, too', async () => {
    const pids = await up(
      `trap '' TERM; (trap '' TERM; sh -c 'echo $$ >PIDS; while :; do sleep 1000; done') & while :; do sleep 1000; done`,
    );
    expect(value(await jobs.cancel(key()))).toBe('cancelling');
    expect(await wait()).toMatchObject({
      status: 'cancelled',
      result: { end: { kind: 'signalled', signal: 'SIGKILL' }, stopped: 'cancelled' },
    });
    await eventually(() => lines(pids).every((pid) => !isAlive(Number(pid))));
  });

  test('children that ignore SIGTERM are killed, also when the program itself obeyed', async () => {
    const pids = await up(`(trap '' TERM; sh -c 'echo $$ >PIDS; while :; do sleep 1000; done') & wait`);
    const watcher = watcherOf();
    await jobs.cancel(key());
    expect(await wait()).toMatchObject({ status: 'cancelled', result: { end: { signal: 'SIGTERM' } } });
    await eventually(() => !isAlive(Number(lines(pids)[0])));
    await eventually(() => !isAlive(watcher));
  });

  test('a program that cleans up and exits with 0 was cancelled all the same', async () => {
    await up(`trap 'echo cleaned; exit 0' TERM; echo $$ >PIDS; sleep 1000 & wait`);
    await jobs.cancel(key());
    const job = await wait();
    expect(job).toMatchObject({ status: 'cancelled', result: { end: { kind: 'exited', code: 0 } } });
    expect(printed(job)).toBe('cleaned\n');
  });

  test('one who is told to end by the system ends its program and says so', async () => {
    const pids = await up('echo before; echo $$ >PIDS; exec sleep 1000');
    process.kill(watcherOf(), 'SIGTERM');
    const job = await wait();
    expect(reason(job)).toBe('SIGTERM ended what watched over it, and the program with it');
    expect(printed(job)).toBe('before\n');
    await eventually(() => !isAlive(Number(lines(pids)[0])));
  });
});

describe('when what watches over a job is killed', () => {
  test('the job is lost once its program is ended, stubborn children included; what it printed is kept', async () => {
    const pids = await up(
      `echo before; echo $$ >PIDS; (trap '' TERM; sh -c 'echo $$ >>PIDS; while :; do sleep 1000; done') & wait`,
    );
    await eventually(() => lines(pids).length === 2);
    await eventually(() => lines(join(jobDirectory(), 'stdout'))[0] === 'before');
    process.kill(watcherOf(), 'SIGKILL');
    const job = await wait();
    expect(reason(job)).toBe('what watched over it was killed; the program was ended');
    expect(printed(job)).toBe('before\n');
    await eventually(() => lines(pids).every((pid) => !isAlive(Number(pid))));
    expect(await find()).toEqual(job);
    await jobs.close();
    jobs = open();
    expect(await find()).toEqual(job);
  });

  test('children that outlived their leader are found by the output that they hold', async () => {
    const pids = await up(`(trap '' TERM; sh -c 'echo $$ >PIDS; while :; do sleep 1000; done') & wait`);
    process.kill(watcherOf(), 'SIGKILL');
    process.kill(programOf(), 'SIGKILL');
    expect(reason(await wait())).toBe('what watched over it was killed; the program was ended');
    await eventually(() => !isAlive(Number(lines(pids)[0])));
  });

  test('what moved to another session is left alone and named', async () => {
    const pids = await up(`setsid sh -c 'echo $$ >PIDS; exec sleep 1000' & wait`);
    const [daemon] = lines(pids).map(Number);
    process.kill(watcherOf(), 'SIGKILL');
    expect(reason(await wait())).toBe(`what watched over it was killed; still running: process ${daemon}`);
    expect(isAlive(daemon ?? 0)).toBe(true);
    process.kill(daemon ?? 0, 'SIGKILL');
  });

  test('what was killed before it knew the process finds it by its pipes', async () => {
    const pids = await up(`(trap '' TERM; sh -c 'echo $$ >PIDS; while :; do sleep 1000; done') & wait`);
    const { process: _, ...program } = record('program');
    process.kill(watcherOf(), 'SIGSTOP');
    write('program', program);
    process.kill(watcherOf(), 'SIGKILL');
    expect(reason(await wait())).toBe('what watched over it was killed; the program was ended');
    await eventually(() => !isAlive(Number(lines(pids)[0])));
  });

  test('of more output than is kept only the beginning is certain', async () => {
    const pids = await up('yes | head -c 500000; echo $$ >PIDS; exec sleep 1000', 'r1', { maxOutput: 1000 });
    expect(lines(pids)).toHaveLength(1);
    process.kill(watcherOf(), 'SIGKILL');
    const job = await wait();
    expect(job).toMatchObject({ status: 'lost', stdout: { total: 1000 } });
    expect(printed(job)).toBe('y\n'.repeat(250));
  });

  test('another job of its script may run', async () => {
    await up('echo $$ >PIDS; exec sleep 1000');
    process.kill(watcherOf(), 'SIGKILL');
    await wait();
    const again = await submit(shell('exit 0'), 'r2', {}, jobs, 'r1');
    expect(value(again)).toEqual({ kind: 'accepted' });
  });
});

describe('after the machine went down', () => {
  /** The records of a job that runs, as if written in an earlier boot or by processes whose ids others have by now. */
  const pretend = async (changes: { boot?: string; started?: string }) => {
    await up('echo $$ >PIDS; exec sleep 1000');
    const [watcher, program] = [await decoy(), await decoy()];
    const [realWatcher, realProgram] = [watcherOf(), programOf()];
    process.kill(realWatcher, 'SIGKILL');
    process.kill(-realProgram, 'SIGKILL');
    await eventually(() => !isAlive(realWatcher) && !isAlive(realProgram));
    write('watcher', { format: 1, watcher: { ...identityOf(watcher), ...changes } });
    write('program', { format: 1, pipes: [], process: { ...identityOf(program), ...changes } });
    await jobs.close();
    jobs = open();
    return [watcher, program];
  };

  test('a job that ran is lost, and processes that have its ids now are left alone', async () => {
    const others = await pretend({ boot: '00000000-0000-0000-0000-000000000000' });
    expect(reason(await find())).toBe('the machine went down while it ran');
    expect(others.every(isAlive)).toBe(true);
  });

  test('ids that the same boot gave out again are not taken for theirs', async () => {
    const others = await pretend({ started: '1' });
    expect(reason(await wait())).toBe(
      'what watched over it was killed; nothing of the program is left that can be identified',
    );
    expect(others.every(isAlive)).toBe(true);
  });

  test.each([{ namespace: '1' }, { boot: '0' }])(
    'a watcher that cannot be seen (%j) runs as long as it shows life',
    async (unknown) => {
      await pretend({ started: '1' });
      write('watcher', { format: 1, watcher: { ...ownIdentity(), ...unknown } });
      expect(await find()).toMatchObject({ status: 'running' });
      const { utimesSync } = await import('node:fs');
      utimesSync(join(jobDirectory(), 'watcher'), 1, 1);
      expect(reason(await find())).toBe('what watched over it is gone, in another container');
    },
  );
});

describe('a start that was interrupted', () => {
  const recorded = async (path: string) => {
    await start(path);
    await wait();
    const target = jobDirectory('r2');
    mkdirSync(target, { mode: 0o700 });
    const job = record('job');
    write('job', { ...job, reqid: 'r2', starter: { ...ownIdentity(), started: '1' } }, 'r2');
    return target;
  };

  test('is lost, and whoever comes late to run it does not', async () => {
    const log = join(home, 'log');
    const path = shell(`echo ran >>${log}`);
    const target = await recorded(path);
    expect(reason(await find('r2'))).toBe('it was not started: the agent went down before');
    const late = spawn(process.execPath, [supervisor], { stdio: ['pipe', 'ignore', 'ignore'] });
    late.stdin.end(encodeOrder({ directory: target, program: order(path) }));
    expect(await new Promise((resolve) => late.once('exit', resolve))).toBe(0);
    expect(lines(log)).toEqual(['ran']);
    expect(await find('r2')).toMatchObject({ status: 'lost' });
    expect(await submit(path, 'r2').map(({ kind }) => kind)).toEqual(
      expect.objectContaining({ value: 'known' }),
    );
  });

  test('whose watcher was there in time is a job like any other', async () => {
    const log = join(home, 'log');
    const path = shell(`echo ran >>${log}`);
    const target = await recorded(path);
    const watcher = spawn(process.execPath, [supervisor], { stdio: ['pipe', 'ignore', 'ignore'] });
    watcher.stdin.end(encodeOrder({ directory: target, program: order(path) }));
    expect(await new Promise((resolve) => watcher.once('exit', resolve))).toBe(0);
    expect(await find('r2')).toMatchObject({ status: 'done' });
    expect(lines(log)).toEqual(['ran', 'ran']);
  });
});

describe('what cannot be started', () => {
  test.each<[string, () => Partial<Parameters<typeof supervisedJobs>[0]>, string]>([
    ['no Node', () => ({ node: '/no/such/node' }), 'no such file (ENOENT)'],
    ['a Node that fails', () => ({ node: shell('echo first >&2; echo it broke >&2; exit 3') }), 'it broke'],
    ['a Node that is killed', () => ({ node: shell('kill -9 $$') }), 'SIGKILL'],
    [
      'one that does nothing',
      () => ({ node: shell('exec sleep 1000'), patience: 200 }),
      'it did not begin within 0.2 s',
    ],
  ])('%s: said so, and the key is as good as new', async (_what, changes, why) => {
    const broken = open(changes());
    const error = failure(await submit(shell('exit 0'), 'r1', {}, broken));
    expect(error).toMatchObject({
      code: 'spawn_failed',
      reason: `nothing could be started to watch over it: ${why}`,
    });
    expect(readdirSync(directory)).toEqual([]);
    await broken.close();
    await start(shell('exit 0'));
    expect(await wait()).toMatchObject({ status: 'done' });
  });

  test('a directory that cannot be made', async () => {
    writeFileSync(join(home, 'file'), '');
    const broken = open({ directory: join(home, 'file', 'jobs') });
    const error = failure(await submit(shell('exit 0'), 'r1', {}, broken));
    expect(error).toMatchObject({ code: 'file_failed', reason: 'ENOTDIR' });
  });
});

describe('strange things in the directory', () => {
  test('harm nothing and are left alone', async () => {
    mkdirSync(join(directory, 'lost+found'), { recursive: true });
    writeFileSync(join(directory, 'notes.txt'), 'x');
    mkdirSync(join(directory, 'a'.repeat(40)));
    symlinkSync('/etc', join(directory, 'b'.repeat(40)));
    writeFileSync(join(directory, 'c'.repeat(40)), '');
    await start(shell('exit 0'));
    expect(await wait()).toMatchObject({ status: 'done' });
    expect(value(await jobs.purge(Date.now() + 1000))).toBe(1);
    expect(readdirSync(directory).sort()).toEqual(
      ['lost+found', 'notes.txt', 'a'.repeat(40), 'b'.repeat(40), 'c'.repeat(40)].sort(),
    );
  });

  test('in the place of a job: an error, and nothing is run', async () => {
    mkdirSync(directory);
    writeFileSync(jobDirectory(), '');
    const error = failure(await submit(shell('exit 0')));
    expect(error).toMatchObject({ code: 'file_failed', reason: 'EEXIST' });
  });

  test.each(['', '{', '[]', '{"format":2}', '{"format":1,"owner":5}', 'null'])(
    'a record of a job that reads %j is a job that is lost',
    async (content) => {
      mkdirSync(jobDirectory(), { recursive: true });
      writeFileSync(join(jobDirectory(), 'job'), content);
      expect(await find()).toMatchObject({ ...key(), status: 'lost', reason: 'its record is damaged' });
      expect(await submit(shell('exit 0')).map(({ kind }) => kind)).toEqual(
        expect.objectContaining({ value: 'known' }),
      );
      expect(value(await jobs.purge(Date.now() + 1000))).toBe(1);
    },
  );

  test.each(['end', 'watcher'])('a damaged %s is a job that is lost', async (name) => {
    await start(shell('exit 0'));
    await wait();
    for (const damaged of ['', '{"format":1,"status":"done"}', 'x'.repeat(2_000_000)]) {
      cpSync(jobDirectory(), jobDirectory('r2'), { recursive: true });
      if (name === 'watcher') rmSync(join(jobDirectory('r2'), 'end'));
      writeFileSync(join(jobDirectory('r2'), name), damaged);
      await jobs.close();
      jobs = open();
      expect(await find('r2')).toMatchObject({ status: 'lost' });
      expect(await find()).toMatchObject({ status: 'done' });
      rmSync(jobDirectory('r2'), { recursive: true });
    }
  });

  test('output that somebody removed is missing, the record stays', async () => {
    await start(shell('echo out'));
    await wait();
    rmSync(join(jobDirectory(), 'stdout'));
    expect(await find()).toMatchObject({
      status: 'done',
      result: { stdout: { total: 4, bytes: new Uint8Array() } },
    });
  });
});

describe('two agents that share a directory by mistake', () => {
  test('run no key twice, and one script once at a time', async () => {
    const log = join(home, 'log');
    const path = shell(`echo ran >>${log}; exec sleep 0.2`);
    const other = open();
    for (let round = 0; round < 5; round += 1) {
      const before = lines(log).length;
      const answers = await Promise.all(
        [jobs, other, jobs, other].map((each) => submit(path, `same-${round}`, {}, each)),
      );
      expect(answers.map((each) => value(each).kind).sort()).toEqual(['accepted', 'known', 'known', 'known']);
      await jobs.wait(key(`same-${round}`));
      expect(lines(log).length).toBe(before + 1);
      const kinds = await Promise.all(
        [jobs, other].map((each, index) => submit(path, `${round}-${index}`, {}, each, 'script')),
      );
      expect(kinds.filter((each) => value(each).kind === 'accepted').length).toBeLessThanOrEqual(1);
      await Promise.all([0, 1].map((index) => jobs.wait(key(`${round}-${index}`))));
    }
    await other.close();
  });
});

const skipped = mayMount() ? '' : ' (skipped: this user may not mount)';

describe.skipIf(skipped !== '')(`a full disk${skipped}`, () => {
  let unmount: () => void;
  beforeEach(() => {
    mkdirSync(directory);
    unmount = mountDisk(directory);
  });
  afterEach(() => unmount());

  test('a start fails, leaves nothing, and succeeds when there is room', async () => {
    const log = join(home, 'log');
    const path = shell(`echo ran >>${log}`);
    for (const pages of [0, 1, 2, 3, 4]) {
      const free = fill(directory, pages);
      const answer = await submit(path, `r-${pages}`);
      free();
      if (answer.isErr()) {
        expect(answer.error.message).toContain('ENOSPC');
        expect(await find(`r-${pages}`)).toBeUndefined();
        await start(path, `r-${pages}`);
      }
      expect(await wait(`r-${pages}`)).toMatchObject({ status: 'done' });
    }
    expect(lines(log)).toHaveLength(5);
    expect(readdirSync(directory)).toHaveLength(5);
  });

  test('a job that runs is cancelled and its end recorded; output that had no room is said to be lost', async () => {
    const go = join(home, 'go');
    await up(
      `echo $$ >PIDS; while [ ! -e ${go} ]; do sleep 0.02; done; yes | head -c 90000; echo >>PIDS; exec sleep 1000`,
    );
    const free = fill(directory, 0);
    writeFileSync(go, '');
    await eventually(
      () =>
        lines(join(home, 'pids-r1')).length === 1 &&
        readFileSync(join(home, 'pids-r1'), 'utf8').endsWith('\n\n'),
    );
    expect(value(await jobs.cancel(key()))).toBe('cancelling');
    const job = await wait();
    free();
    expect(job).toMatchObject({
      status: 'cancelled',
      outputLost: 'output could not be kept: ENOSPC',
      result: { stdout: { total: 90_000 } },
    });
  });
});
