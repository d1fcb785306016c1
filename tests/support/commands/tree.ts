import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Everything below a directory: path, mode, time of the last change to the nanosecond, and a digest of the content. */
export function treeDigest(directory: string): readonly string[] {
  return ['', ...readdirSync(directory, { recursive: true, encoding: 'utf8' })].sort().map((name) => {
    const path = join(directory, name);
    const stats = lstatSync(path, { bigint: true });
    const content = stats.isFile() ? createHash('sha256').update(readFileSync(path)).digest('hex') : '-';
    return `${name} ${stats.mode.toString(8)} ${stats.uid}:${stats.gid} ${stats.mtimeNs} ${content}`;
  });
}
