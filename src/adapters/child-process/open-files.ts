import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { interpreterOf } from '../../domain/runs/interpreter.js';
import { programStart } from './refusal.js';

/**
 * In the environment of a daemon: the soft limit of open files that it was started with. Node raises its own to the hard limit before
 * anything else happens, so the launcher of the commands says it.
 */
const variable = 'CTRL_EXEC_OPEN_FILES';

/** Of util-linux. */
const prlimit = '/usr/bin/prlimit';

let limit: string | undefined;

/** What this process may open now; 0 where that cannot be seen. */
function raised(): number {
  try {
    return Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** From now on programs get the limit that this process was started with, where it is known, lower, and `prlimit` is there. */
export function restoreOpenFiles(): void {
  const given = process.env[variable];
  delete process.env[variable];
  if (given === undefined || !/^\d{1,10}$/.test(given)) return;
  if (Number(given) < raised() && existsSync(prlimit)) limit = given;
}

/** Tells another daemon of this product the same. */
export const openFilesVariable = (): Record<string, string> =>
  limit === undefined ? {} : { [variable]: limit };

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * How to start a program so that it has the limit: `prlimit` becomes it, with the same process id. What the system will refuse is
 * started by itself, so that the reason is known.
 */
export function withOpenFiles(path: string, args: readonly string[]): readonly [string, readonly string[]] {
  if (limit === undefined || !isExecutable(path)) return [path, args];
  const head = programStart(path);
  const interpreter = head && interpreterOf(head);
  if (head === undefined || (interpreter !== undefined && !isExecutable(interpreter))) return [path, args];
  return [prlimit, [`--nofile=${limit}:`, '--', path, ...args]];
}
