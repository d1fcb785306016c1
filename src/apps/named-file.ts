import { closeSync, openSync, readSync } from 'node:fs';

/** Bytes of a secret that a person names a file for. */
const largest = 64 * 1024;

/**
 * The text of a file that an option names. It may be a pipe (`<(…)`, `/dev/stdin`), so no size is asked for: reading stops beyond 64 KiB.
 * Throws what the system says, or `EFBIG`.
 */
export function readNamedFile(path: string): string {
  const descriptor = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(largest + 1);
    let total = 0;
    for (let read = -1; read !== 0 && total <= largest; total += read)
      read = readSync(descriptor, buffer, total, buffer.length - total, null);
    if (total > largest) throw Object.assign(new Error('larger than 64 KiB'), { code: 'EFBIG' });
    return buffer.toString('utf8', 0, total);
  } finally {
    closeSync(descriptor);
  }
}
