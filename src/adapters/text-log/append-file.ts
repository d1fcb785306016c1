import { closeSync, constants, fchmodSync, openSync, writeSync } from 'node:fs';
import type { EventLevel } from '../../domain/core/event.js';

const { O_APPEND, O_CREAT, O_EXCL, O_NOCTTY, O_NONBLOCK, O_WRONLY } = constants;
/** Not waiting for anybody who reads, should it be a pipe. */
const appending = O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK;

/** A new file gets mode 0640, whatever the umask; an old one keeps its own. */
function open(path: string): number {
  try {
    const descriptor = openSync(path, appending | O_CREAT | O_EXCL, 0o600);
    fchmodSync(descriptor, 0o640);
    return descriptor;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown;
    return openSync(path, appending);
  }
}

/** Where lines go that cannot be written, and who is told why, once for each time that it begins to fail. */
export interface InsteadOfFile {
  readonly write: (line: string, level: EventLevel) => void;
  readonly failed: (reason: string) => void;
}

/** Appends lines to a file that several processes may append to. It is opened by the first line. */
export function appendFile(
  path: string,
  instead: InsteadOfFile,
): { write(line: string, level: EventLevel): void; close(): void } {
  let descriptor: number | undefined;
  let torn = false;
  let failing = false;
  const append = (line: string) => {
    descriptor ??= open(path);
    const bytes = Buffer.from(`${torn ? '\n' : ''}${line}\n`);
    const written = writeSync(descriptor, bytes);
    // What a full disk cut off stands alone, not in front of the next line.
    torn = written < bytes.length;
    if (torn) throw Object.assign(new Error('written in part'), { code: 'ENOSPC' });
  };
  return {
    write(line, level) {
      try {
        append(line);
        failing = false;
      } catch (thrown) {
        const { code = 'unknown' } = thrown as NodeJS.ErrnoException;
        if (!failing) instead.failed(`${path}: ${code}`);
        failing = true;
        instead.write(line, level);
      }
    },
    close() {
      if (descriptor !== undefined) closeSync(descriptor);
      descriptor = undefined;
    },
  };
}
