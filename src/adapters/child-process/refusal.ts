import { closeSync, constants, existsSync, fstatSync, openSync, readSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { lacksInterpreter, programHead } from '../../domain/runs/interpreter.js';

/** What says nothing about the file: whether it would go to a shell is not known then. */
const exhausted = ['EMFILE', 'ENFILE', 'ENOMEM'];

const sampleOf = (path: string): Buffer | 'exhausted' | undefined => {
  try {
    const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      if (!fstatSync(descriptor).isFile()) return undefined;
      const sample = Buffer.alloc(programHead);
      return sample.subarray(0, readSync(descriptor, sample, 0, programHead, 0));
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    return exhausted.includes((error as NodeJS.ErrnoException).code ?? '') ? 'exhausted' : undefined;
  }
};

/** The first bytes of a regular file; undefined where it is none or cannot be read. */
export const programStart = (path: string): Buffer | undefined => {
  const sample = sampleOf(path);
  return sample === 'exhausted' ? undefined : sample;
};

/** What the kernel refuses libuv's `execvp` would hand to /bin/sh. */
const wouldGoToShell = (sample: Buffer | undefined): boolean => {
  return /* defence: script-has-interpreter */ sample !== undefined && lacksInterpreter(sample);
};

const unfit = (value: string): string | undefined => {
  if (value.includes('\0')) return 'holds a NUL';
  if (/\p{Surrogate}/u.test(value)) return 'holds half a surrogate pair, which has no bytes';
  return undefined;
};

/** Why this must not be started, decided before the system is asked; undefined: it may. */
export const refusal = (
  path: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): string | undefined => {
  if (!isAbsolute(path)) return 'the path is not absolute';
  const unfitPath = unfit(path);
  if (unfitPath !== undefined) return `the path ${unfitPath}`;
  for (const [index, argument] of args.entries()) {
    const why = unfit(argument);
    if (why !== undefined) return `argument ${index + 1} ${why}`;
  }
  for (const [name, value] of Object.entries(env))
    if (`${name}${value}`.includes('\0')) return `variable ${JSON.stringify(name)} holds a NUL`;
  const sample = sampleOf(path);
  if (sample === 'exhausted') return 'this process has too many open files, or no memory (EMFILE)';
  if (wouldGoToShell(sample)) return 'neither a binary nor a script that begins with #! (ENOEXEC)';
  return undefined;
};

const reasons: Readonly<Record<string, string>> = {
  EACCES: 'not executable, or not a file',
  EPERM: 'the system does not permit it',
  ENOTDIR: 'a part of the path is not a directory',
  ENOEXEC: 'not a format that this system executes',
  ETXTBSY: 'the file is open for writing',
  E2BIG: "arguments exceed the system's limit",
  ELOOP: 'too many symbolic links in the path',
  ENAMETOOLONG: 'the path is too long',
  EAGAIN: 'the system has no room for another process',
  ENOMEM: 'the system has no memory for another process',
  EMFILE: 'this process has too many open files',
  ENFILE: 'the system has too many open files',
};

/** What the system's refusal means, with its code. */
export const spawnReason = (path: string, error: unknown): string => {
  const { code } = error as NodeJS.ErrnoException;
  if (code === undefined) return 'the system gives no reason';
  if (code === 'ENOENT')
    return existsSync(path) ? 'its interpreter does not exist (ENOENT)' : 'no such file (ENOENT)';
  const meaning = reasons[code];
  return meaning === undefined ? code : `${meaning} (${code})`;
};
