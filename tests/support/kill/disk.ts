import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const mount = (...args: string[]): void => void execFileSync('mount', args, { stdio: 'ignore' });
const unmount = (directory: string): void =>
  void execFileSync('umount', ['--lazy', directory], { stdio: 'ignore' });

/** A small disk at a directory. */
export function mountDisk(directory: string): () => void {
  mount('-t', 'tmpfs', '-o', 'size=4m,mode=755', 'tmpfs', directory);
  return () => unmount(directory);
}

/** Whether this user may mount here. */
export function mayMount(): boolean {
  const directory = mkdtempSync(join(tmpdir(), 'ctrl-exec-mount-'));
  try {
    mountDisk(directory)();
    return true;
  } catch {
    return false;
  } finally {
    rmdirSync(directory);
  }
}

const page = 4096;

/** Fills the disk below a directory but for so many pages. The returned function frees all again. */
export function fill(directory: string, freePages: number): () => void {
  const ballast = join(directory, 'ballast');
  const file = openSync(ballast, 'w');
  const block = Buffer.alloc(page);
  let pages = 0;
  try {
    for (; ; pages += 1) writeSync(file, block, 0, page, pages * page);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOSPC') throw thrown;
    ftruncateSync(file, Math.max(0, pages - freePages) * page);
  } finally {
    closeSync(file);
  }
  return () => rmSync(ballast);
}

/** Which directories of a home cannot be written. */
export type ReadOnly = 'home and state' | 'home' | 'state';

/** Makes directories of a home read-only, also for root. The returned function takes it back. */
export function makeReadOnly(home: string, what: ReadOnly): () => void {
  const state = join(home, 'state');
  const undo: (() => void)[] = [];
  const bind = (directory: string, mode: 'ro' | 'rw') => {
    mount('--bind', directory, directory);
    undo.unshift(() => unmount(directory));
    mount('-o', `remount,${mode},bind`, directory);
  };
  if (what !== 'state') bind(home, 'ro');
  if (what === 'state') bind(state, 'ro');
  if (what === 'home' && existsSync(state)) bind(state, 'rw');
  return () => {
    for (const each of undo) each();
  };
}

/** Whether system calls of a program can be made to fail here. */
export const mayInject = (): boolean =>
  spawnSync('strace', ['-D', '-f', '-o', '/dev/null', '-e', 'inject=rename:error=EROFS', 'true'], {
    stdio: 'ignore',
  }).status === 0;

/** System calls by which what lies in a home is changed: counted each by itself. */
export const changes = ['mkdir', 'rename', 'unlink', 'rmdir', 'pwrite64'] as const;

export type Change = (typeof changes)[number];

/** Shell commands for a program for which the disk is read-only for the `nth` such change and all later ones. `log`: a file elsewhere. */
export const readOnlyFrom = (nth: number, change: Change, log: string): string =>
  // Counted by thread, too: all that Node does in the background is done by one.
  `export UV_THREADPOOL_SIZE=1; set -- strace -D -f -qq -o '${log}' -e trace=${change} -e inject=${change}:error=EROFS:when=${nth}+ "$@"`;

/** Whether the program came to where it was read-only. */
export const wasReadOnly = (log: string): boolean => readFileSync(log, 'utf8').includes('(INJECTED)');
