import { statfsSync } from 'node:fs';

const candidate = '/dev/shm';
const tmpfsMagic = 0x01021994;

/**
 * Where names can be made that touch no disk: quick, and fit for a file that may hold a token. Undefined where the system has
 * no such place.
 */
export const memoryDirectory = (): string | undefined => {
  try {
    return statfsSync(candidate).type === tmpfsMagic ? candidate : undefined;
  } catch {
    return undefined;
  }
};
