import { readFile } from 'node:fs/promises';
import { unless } from '../../shared/system-code.js';

const unescaped = (field: string): string =>
  field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** Whether something is mounted at this path, which is without links. Nothing can be renamed over it then. */
export async function isMountPoint(path: string): Promise<boolean> {
  const mounts = (await unless(['ENOENT'], readFile('/proc/self/mountinfo', 'latin1'))) ?? '';
  const bytes = Buffer.from(path).toString('latin1');
  return mounts.split('\n').some((line) => unescaped(line.split(' ')[4] ?? '') === bytes);
}
