import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, expect } from 'vitest';

/**
 * Everything that the tests of this file make for a time lies below one directory. Whatever becomes of them, also when
 * they are interrupted or killed, the processes that they started are ended, what they mounted is unmounted, and the
 * directory is removed. When they end in peace there must be nothing left to do so with.
 */
export function leaveNothingBehind(): void {
  const root = mkdtempSync(join(realpathSync(tmpdir()), 'ctrl-exec-full-'));
  const program = fileURLToPath(new URL('sweeper.mjs', import.meta.url));
  // Detached, so that what interrupts the tests does not reach it.
  const sweeper = spawn(process.execPath, [program, root], {
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  process.env['TMPDIR'] = root;
  // When the runner is interrupted, its workers would go on without it; `process.exit` is the runner's own here.
  process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'));
  afterAll(async () => {
    const said = text(sweeper.stdout);
    const ended = once(sweeper, 'close');
    sweeper.stdin.end();
    await ended;
    expect(JSON.parse(await said), 'what the tests have left').toEqual({
      processes: [],
      mounts: [],
      files: [],
    });
  });
}
