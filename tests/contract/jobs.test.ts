import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { supervisedJobs } from '../../src/adapters/child-process/jobs/supervised.js';
import { type MemoryJobShelf, memoryJobs } from '../../src/adapters/memory/jobs.js';
import { memoryProcessRunner, processOutcome } from '../../src/adapters/memory/process-runner.js';
import { jobSupervisor } from '../support/job-supervisor.js';
import { scriptDirectory } from '../unit/child-process/scripts.js';
import { jobsContract } from './jobs.contract.js';

const numbers = Array.from({ length: 100_000 }, (_, index) => `${String(index).padStart(5, '0')}\n`).join('');

jobsContract('memory', async () => {
  let starts = 0;
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const runner = memoryProcessRunner({
    copy: ({ stdin }) => processOutcome(0, stdin),
    exit: ({ args }) => processOutcome(Number(args[0])),
    count: () => processOutcome(0, numbers),
    endless: () => new Promise(() => undefined),
    held: async () => {
      starts += 1;
      await released;
      return processOutcome(0);
    },
  });
  const shelf: MemoryJobShelf = new Map();
  const open = () => memoryJobs({ runner, shelf, capacity: 3 });
  let jobs = open();
  const paths = ['copy', 'exit', 'count', 'endless', 'held', 'missing'] as const;
  return {
    jobs,
    programs: Object.fromEntries(paths.map((path) => [path, path])) as Record<(typeof paths)[number], string>,
    starts: () => starts,
    release,
    restart: async () => {
      await jobs.close();
      jobs = open();
      return jobs;
    },
    dispose: () => jobs.close(),
  };
});

const { shell, node } = scriptDirectory();
const supervisor = jobSupervisor();

jobsContract('supervised', async () => {
  const home = mkdtempSync(join(tmpdir(), 'jobs-'));
  const directory = join(home, 'runs', 'jobs');
  const [log, gate] = [join(home, 'starts'), join(home, 'gate')];
  const open = () => supervisedJobs({ directory, supervisor, capacity: 3 });
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
      for (const job of (await last.running())._unsafeUnwrap()) {
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
