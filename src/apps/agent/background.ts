import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { type ExitCode, exitCodes } from '../command-line.js';

/** Set for the process that goes on in the background. */
const mark = 'CTRL_EXEC_AGENT_BACKGROUND';

/** Whether this is the process that was left waiting. */
export const inBackground = (): boolean => process.env[mark] === '1';

/**
 * Starts this very command again as a process of its own session, passes on what it prints, and leaves it alone once it
 * says that it waits: exit 0. If it ends before that, its exit code.
 */
export function continueInBackground(): Promise<ExitCode> {
  const [, script = '', ...args] = process.argv;
  const child = spawn(process.execPath, [...process.execArgv, script, ...args], {
    detached: true,
    env: { ...process.env, [mark]: '1' },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  child.stdout?.pipe(process.stdout);
  child.stderr?.pipe(process.stderr);
  return new Promise((resolve) => {
    let waits = false;
    child.once('message', () => {
      waits = true;
    });
    child.once('error', () => resolve(exitCodes.failed));
    // Its output ends when it has been let go, or with it.
    child.once('close', (code) => resolve(code ?? exitCodes.failed));
    child.stdout?.once('end', () => {
      if (!waits) return;
      child.unref();
      resolve(exitCodes.ok);
    });
  });
}

/** In the background: what had to be shown has been shown, whoever started this may go. */
export function letParentGo(): void {
  if (!inBackground() || !process.connected) return;
  process.send?.('waiting', () => {
    process.disconnect();
    // Both streams stay open, on nothing, so that a later line harms nobody.
    for (const descriptor of [1, 2]) {
      closeSync(descriptor);
      openSync('/dev/null', 'w');
    }
  });
}
