import {
  type BigIntStats,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  openSync,
  statSync,
  writeSync,
} from 'node:fs';
import type { EventLevel } from '../../domain/core/event.js';
import { errorCode } from '../../domain/core/thrown.js';

const { O_APPEND, O_CREAT, O_EXCL, O_NOCTTY, O_NONBLOCK, O_WRONLY } = constants;
/** Not waiting for anybody who reads, should it be a pipe. */
const appending = O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK;

interface OpenedFile {
  readonly descriptor: number;
  readonly stats: BigIntStats;
}

const opened = (descriptor: number): OpenedFile => ({
  descriptor,
  stats: fstatSync(descriptor, { bigint: true }),
});

/** A new file gets mode 0640, whatever the umask; an old one keeps its own. */
function open(path: string): OpenedFile {
  try {
    const descriptor = openSync(path, appending | O_CREAT | O_EXCL, 0o600);
    fchmodSync(descriptor, 0o640);
    return opened(descriptor);
  } catch (thrown) {
    if (errorCode(thrown) !== 'EEXIST') throw thrown;
    return opened(openSync(path, appending));
  }
}

/** Whether the file has another name now, or none: a descriptor keeps writing to what was rotated away. */
function wasMoved({ stats }: OpenedFile, path: string): boolean {
  const named = statSync(path, { bigint: true, throwIfNoEntry: false });
  return named?.dev !== stats.dev || named.ino !== stats.ino;
}

/** Where lines go that cannot be written, and who is told why, once for each time that it begins to fail. */
export interface InsteadOfFile {
  readonly write: (line: string, level: EventLevel) => void;
  readonly failed: (reason: string) => void;
}

/**
 * Appends lines to a file that several processes may append to. It is opened by the first line, and anew by the next one after it
 * was moved away or removed: whoever rotates it need not tell anybody.
 */
export function appendFile(
  path: string,
  instead: InsteadOfFile,
): { write(line: string, level: EventLevel): void; close(): void } {
  let file: OpenedFile | undefined;
  let torn = false;
  let failing = false;
  const close = () => {
    if (file !== undefined) closeSync(file.descriptor);
    file = undefined;
  };
  const append = (line: string) => {
    if (file !== undefined && wasMoved(file, path)) {
      close();
      torn = false;
    }
    file ??= open(path);
    const bytes = Buffer.from(`${torn ? '\n' : ''}${line}\n`);
    const written = writeSync(file.descriptor, bytes);
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
        if (!failing) instead.failed(`${path}: ${errorCode(thrown) ?? 'unknown'}`);
        failing = true;
        instead.write(line, level);
      }
    },
    close,
  };
}
