import { createInterface } from 'node:readline';
import { supervisedJobs } from '../../../src/adapters/child-process/jobs/supervised.js';

// The part of an agent that starts jobs, as a process that can be killed: `<directory> <supervisor> <script> <log>`. Each
// line on standard input is a request id to start; each answer is a line.
const [directory = '', supervisor = '', script = '', log = ''] = process.argv.slice(2);
const jobs = supervisedJobs({ directory, supervisor });

for await (const reqid of createInterface({ input: process.stdin })) {
  const program = {
    path: script,
    args: [log, reqid],
    stdin: new TextEncoder().encode('{}'),
    env: { PATH: '/usr/bin:/bin' },
    stdinTimeout: 10_000,
    timeout: 0,
    maxOutput: 10_000,
  };
  void jobs.start({ owner: 'dispatcher-1', reqid, script: reqid, startedAt: Date.now(), program }).match(
    ({ kind }) => process.stdout.write(`${reqid} ${kind}\n`),
    ({ message }) => process.stderr.write(`${reqid} ${message}\n`),
  );
}
