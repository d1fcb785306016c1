import { join } from 'node:path';
import { childProcessRunner } from '../../src/adapters/child-process/runner.js';
import { actionRunner } from '../../src/adapters/in-process/runner.js';
import { memoryEventLog } from '../../src/adapters/memory/event-log.js';
import { memoryProcessRunner, processOutcome } from '../../src/adapters/memory/process-runner.js';
import { scriptDirectory } from '../unit/adapters/child-process/scripts.js';
import { processRunnerContract } from './process-runner.contract.js';

const numbers = Array.from({ length: 100_000 }, (_, index) => `${String(index).padStart(5, '0')}\n`).join('');

processRunnerContract('memory', () => ({
  runner: memoryProcessRunner({
    argv: ({ args }) => processOutcome(0, JSON.stringify(args)),
    env: ({ env }) => processOutcome(0, JSON.stringify(env)),
    copy: ({ stdin }) => processOutcome(0, stdin),
    exit: ({ args }) => processOutcome(Number(args[0])),
    raw: () => processOutcome(0, new Uint8Array([0xff, 0xfe, 0x00, 0x80]), 'oops'),
    count: () => processOutcome(0, numbers),
    killed: () => processOutcome({ kind: 'signalled', signal: 'SIGKILL' }),
    endless: () => new Promise(() => undefined),
  }),
  programs: {
    argv: 'argv',
    env: 'env',
    copy: 'copy',
    exit: 'exit',
    raw: 'raw',
    count: 'count',
    killed: 'killed',
    endless: 'endless',
    missing: 'missing',
  },
}));

const { directory, node, shell } = scriptDirectory();
const programs = {
  argv: node('process.stdout.write(JSON.stringify(process.argv.slice(2)))'),
  env: node('process.stdout.write(JSON.stringify(process.env))'),
  copy: shell('exec /bin/cat'),
  exit: shell('exit "$1"'),
  raw: shell("printf '\\377\\376\\000\\200'; printf oops >&2"),
  count: node(
    `process.stdout.write(Array.from({ length: 100000 }, (_, i) => String(i).padStart(5, '0') + '\\n').join(''))`,
  ),
  killed: shell('kill -9 $$'),
  endless: shell('exec /bin/sleep 1000'),
  missing: join(directory, 'missing'),
};

processRunnerContract('child process', () => ({ runner: childProcessRunner(), programs }));
processRunnerContract('child process, over sockets', () => ({
  runner: childProcessRunner({
    streams: { input: () => undefined, outputs: { take: async () => undefined } },
  }),
  programs,
}));

processRunnerContract('actions', () => ({
  runner: actionRunner({
    events: memoryEventLog(),
    actions: {
      argv: ({ args }) => JSON.stringify(args),
      exit: ({ args }) => Number(args[0]),
      raw: async ({ stdout, stderr }) => {
        await stdout.write(new Uint8Array([0xff, 0xfe, 0x00, 0x80]));
        await stderr.write('oops');
      },
      count: async ({ stdout }) => {
        for (let at = 0; at < numbers.length; at += 40_000)
          await stdout.write(numbers.slice(at, at + 40_000));
      },
      endless: ({ signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason));
        }),
    },
  }),
  programs: {
    argv: 'action:argv',
    // A function has this process's environment, reads what it is told in its context, and cannot be killed.
    env: undefined,
    copy: undefined,
    killed: undefined,
    exit: 'action:exit',
    raw: 'action:raw',
    count: 'action:count',
    endless: 'action:endless',
    missing: 'action:missing',
  },
  noSuch: 'there is no such action',
}));
