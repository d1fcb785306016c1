import { execFileSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { prepareDaemon } from '../../../src/adapters/child-process/inherited-descriptors.js';
import { childProcessRunner } from '../../../src/adapters/child-process/runner.js';

// Runs a program that prints `ran`, and text that only a shell would run, while the system has nothing left for this
// process: `<program> <text> descriptors|processes`; prints each outcome as a line.
const [program = '', plainText = '', what] = process.argv.slice(2);
prepareDaemon();
const runner = childProcessRunner();
const run = async (path: string): Promise<string> => {
  const request = { path, args: [], stdin: Buffer.from('in'), env: {}, timeout: 0 };
  const outcome = await runner.run({ ...request, stdinTimeout: 10_000, maxOutput: 1000 });
  return outcome.match(
    ({ end, stdout }) => `${JSON.stringify(end)} ${new TextDecoder().decode(stdout.bytes)}`,
    ({ reason }) => reason,
  );
};
const lines: string[] = [];
// The threads of the pool are there before the system refuses more.
await Promise.all(Array.from({ length: 16 }, () => readFile('/proc/self/stat')));
if (what === 'processes') {
  execFileSync('prlimit', ['--pid', String(process.pid), '--nproc=1:1']);
  lines.push(await run(program), await run(plainText));
} else {
  const held: number[] = [];
  try {
    for (;;) held.push(openSync('/dev/null', 'r'));
  } catch {
    // As many as there are.
  }
  for (let free = 0; free <= 24; free += 1) {
    lines.push(await run(program), await run(plainText));
    const one = held.pop();
    if (one !== undefined) closeSync(one);
  }
  for (const descriptor of held) closeSync(descriptor);
}
process.stdout.write(JSON.stringify(lines));
