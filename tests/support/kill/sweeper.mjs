// Clears away everything that a suite has made below a directory, once standard input ends: when the suite says so, or
// when its process is gone, however that came about. Then says what was left, as JSON.

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const [root = ''] = process.argv.slice(2);

/** @param {string} path */
const textOf = (path) => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // The process has ended, is somebody else's, or there is no /proc here.
    return '';
  }
};

/** Those who were started there: by a home on their command line, or by what they inherited. */
const processes = () =>
  (existsSync('/proc') ? readdirSync('/proc') : [])
    .filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid)
    .map((pid) => ({
      pid: Number(pid),
      command: textOf(`/proc/${pid}/cmdline`),
      environment: textOf(`/proc/${pid}/environ`),
    }))
    .filter(({ command, environment }) => command.includes(root) || environment.includes(root));

/** The last one first: mounts lie on one another. */
const mounts = () =>
  textOf('/proc/self/mountinfo')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((place) => place.startsWith(`${root}/`))
    .reverse();

const sweep = async () => {
  const left = {
    processes: processes().map(({ command }) => command.replaceAll('\0', ' ').trim()),
    mounts: mounts(),
    files: existsSync(root) ? readdirSync(root) : [],
  };
  for (let found = processes(); found.length > 0; found = processes()) {
    for (const { pid } of found) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended since.
      }
    }
    await delay(20);
  }
  for (const place of mounts()) spawnSync('umount', ['--lazy', place], { stdio: 'ignore' });
  rmSync(root, { recursive: true, force: true });
  // Nobody may be there to read it.
  process.stdout.on('error', () => undefined).write(JSON.stringify(left));
};

// A keyboard's SIGINT goes to everybody; whoever ends by it is what this process waits for.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => undefined);
process.stdin.resume().once('close', () => void sweep());
