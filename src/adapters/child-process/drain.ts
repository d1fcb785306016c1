import { spawn } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';

/**
 * Has a process of its own, `cat`, read a pipe to nowhere until its last writer has closed it: a writer whose pipe nobody
 * reads is killed by SIGPIPE, and this process may end before it. False: that could not be started.
 * @param beyond what its descriptors from 3 on are to be, given /dev/null
 */
export const drainElsewhere = (
  readEnd: number,
  beyond: (blank: number) => readonly (number | 'pipe' | 'ignore')[],
): boolean => {
  const opened: number[] = [];
  try {
    // Opened anew: libuv makes what it hands down blocking, and a `cat` that cannot be started must not leave that here.
    const pipe = openSync(`/proc/self/fd/${readEnd}`, constants.O_RDONLY | constants.O_NONBLOCK);
    opened.push(pipe);
    const blank = openSync('/dev/null', 'r+');
    opened.push(blank);
    const child = spawn('cat', [], {
      cwd: '/',
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', NODE_V8_COVERAGE: undefined },
      detached: true,
      stdio: [pipe, blank, blank, ...beyond(blank)],
    });
    child.on('error', () => undefined);
    child.unref();
    return child.pid !== undefined;
  } catch {
    return false;
  } finally {
    for (const descriptor of opened) closeSync(descriptor);
  }
};
