import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { supervisedJobs } from '../../src/adapters/child-process/jobs/supervised.js';
import { fileJobs } from '../../src/adapters/files/jobs/jobs.js';
import { actionRunner } from '../../src/adapters/in-process/runner.js';
import { memoryEventLog } from '../../src/adapters/memory/event-log.js';
import { type MemoryJobShelf, memoryJobs } from '../../src/adapters/memory/jobs.js';
import { memoryProcessRunner, processOutcome } from '../../src/adapters/memory/process-runner.js';
import type { Jobs } from '../../src/ports/jobs.js';
import type { ProcessRunner } from '../../src/ports/process-runner.js';
import { jobsWithActions } from '../../src/sdk/agent/runs/actions.js';
import { jobSupervisor } from '../support/processes/job-supervisor.js';
import { scriptDirectory } from '../unit/adapters/child-process/scripts.js';
import { jobsContract } from './jobs.contract.js';
import { value } from './result.js';

const numbers = Array.from({ length: 100_000 }, (_, index) => `${String(index).padStart(5, '0')}\n`).join('');

const names = ['copy', 'exit', 'count', 'endless', 'held', 'missing'] as const;
const pathsOf = (prefix = '') =>
  Object.fromEntries(names.map((name) => [name, `${prefix}${name}`])) as Record<
    (typeof names)[number],
    string
  >;

/** What `held` waits for, and how often it did. */
function gate() {
  let starts = 0;
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const held = async () => {
    starts += 1;
    await released;
  };
  return { held, starts: () => starts, release };
}

const memoryPrograms = ({ held }: ReturnType<typeof gate>) =>
  memoryProcessRunner({
    copy: ({ stdin }) => processOutcome(0, stdin),
    exit: ({ args }) => processOutcome(Number(args[0])),
    count: () => processOutcome(0, numbers),
    endless: () => new Promise(() => undefined),
    held: async () => {
      await held();
      return processOutcome(0);
    },
  });

jobsContract('memory', async () => {
  const held = gate();
  const runner = memoryPrograms(held);
  const shelf: MemoryJobShelf = new Map();
  const open = () => memoryJobs({ runner, shelf, capacity: 6 });
  let jobs = open();
  return {
    jobs,
    programs: pathsOf(),
    starts: held.starts,
    release: held.release,
    restart: async () => {
      await jobs.close();
      jobs = open();
      return jobs;
    },
    dispose: () => jobs.close(),
  };
});

/** Jobs of this process, in files of a directory of their own. */
const inFiles = (
  runnerOver: (held: ReturnType<typeof gate>) => ProcessRunner,
  prefix: string,
  around: (jobs: Jobs) => Jobs,
) => {
  return async () => {
    const home = mkdtempSync(join(tmpdir(), 'jobs-'));
    const directory = join(home, 'runs', 'actions');
    const held = gate();
    const runner = runnerOver(held);
    const open = () => around(fileJobs({ directory, runner, capacity: 6 }));
    let jobs = open();
    return {
      jobs,
      programs: pathsOf(prefix),
      starts: held.starts,
      release: held.release,
      restart: async () => {
        await jobs.close();
        jobs = open();
        return jobs;
      },
      dispose: async () => {
        await jobs.close();
        expect(
          existsSync(directory)
            ? readdirSync(directory).filter((name) => !/^[0-9a-f]{32}\.job$/.test(name))
            : [],
        ).toEqual([]);
        rmSync(home, { recursive: true });
      },
    };
  };
};

jobsContract(
  'files',
  inFiles(memoryPrograms, '', (jobs) => jobs),
  { outlive: false },
);

const actions = ({ held }: ReturnType<typeof gate>): ProcessRunner =>
  actionRunner({
    events: memoryEventLog(),
    actions: {
      copy: ({ token }) => JSON.stringify({ token }),
      exit: ({ args }) => Number(args[0]),
      count: () => numbers,
      endless: ({ signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason));
        }),
      held,
    },
  });
const noScripts = memoryJobs({ runner: memoryProcessRunner({}) });

jobsContract(
  'actions beside scripts',
  inFiles(actions, 'action:', (jobs) => jobsWithActions(jobs, noScripts)),
  {
    outlive: false,
  },
);

const { shell, node } = scriptDirectory();
const supervisor = jobSupervisor();

jobsContract('supervised', async () => {
  const home = mkdtempSync(join(tmpdir(), 'jobs-'));
  const directory = join(home, 'runs', 'jobs');
  const [log, gate] = [join(home, 'starts'), join(home, 'gate')];
  const open = () => supervisedJobs({ directory, supervisor, capacity: 6 });
  let jobs = open();
  return {
    jobs,
    programs: {
      copy: shell('exec /bin/cat'),
      exit: shell('exit "$1"'),
      count: node(
        `process.stdout.write(Array.from({ length: 100000 }, (_, i) => String(i).padStart(5, '0') + '\\n').join(''))`,
      ),
      endless: shell('echo up; exec sleep 1000'),
      held: shell(`echo x >>${log}; while [ ! -e ${gate} ]; do sleep 0.05; done`),
      missing: join(home, 'missing'),
    },
    starts: () => (existsSync(log) ? readFileSync(log, 'utf8').split('\n').length - 1 : 0),
    release: () => {
      if (existsSync(home)) writeFileSync(gate, '');
    },
    restart: async () => {
      await jobs.close();
      jobs = open();
      return jobs;
    },
    dispose: async () => {
      const last = open();
      for (const job of value(await last.running())) {
        await last.cancel(job);
        await last.wait(job);
      }
      await last.close();
      await jobs.close();
      expect(readdirSync(join(home, 'runs'))).toEqual(['jobs']);
      rmSync(home, { recursive: true });
    },
  };
});
