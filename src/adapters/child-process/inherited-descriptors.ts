import { closeSync, readdirSync, readFileSync } from 'node:fs';

import { restoreOpenFiles } from './open-files.js';

const closeOnExec = 0o2000000;

/** What is not known for want of a descriptor must not be taken for a no. */
const unlessExhausted = <T>(error: unknown, otherwise: T): T => {
  if (['EMFILE', 'ENFILE'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  return otherwise;
};

const passesExec = (descriptor: number): boolean => {
  try {
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, 'utf8'))?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & closeOnExec) === 0;
  } catch (error) {
    return unlessExhausted(error, false);
  }
};

/**
 * The descriptors above 2 that a program started from here would see. Node opens everything close-on-exec and marks what
 * it was born with, but only up to the first gap above 15; what lies beyond was handed down by whoever started this process.
 * Empty where there is no `/proc`. Throws where no descriptor is left to look with.
 */
export const inheritedDescriptors = (): number[] => {
  try {
    return readdirSync('/proc/self/fdinfo')
      .map(Number)
      .filter((descriptor) => descriptor > 2 && passesExec(descriptor));
  } catch (error) {
    return unlessExhausted(error, []);
  }
};

/** Those of `known` that are still open and still not close-on-exec. */
export const stillInherited = (known: readonly number[]): number[] => known.filter(passesExec);

/**
 * What a daemon does first, before it opens anything, for the programs that it will run, and what a library must not do to
 * the process of its host: umask 022, the limit of open files that this process was started with, and no descriptor but 0–2 of those
 * handed down that exec would pass on.
 */
export const prepareDaemon = (): void => {
  process.umask(0o022);
  restoreOpenFiles();
  for (const descriptor of inheritedDescriptors()) closeSync(descriptor);
};
