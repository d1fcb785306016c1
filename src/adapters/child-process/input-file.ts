import { randomUUID } from 'node:crypto';
import { closeSync, constants, openSync, unlinkSync, writeSync } from 'node:fs';
import { memoryDirectory } from './memory-directory.js';

const writeAll = (descriptor: number, bytes: Uint8Array): void => {
  for (let offset = 0; offset < bytes.length; ) offset += writeSync(descriptor, bytes, offset);
};

/**
 * A descriptor from which `bytes` can be read, then end-of-file: a file without a name that lives in memory only, for it
 * may hold a token. Unlike a socket, and unlike a FIFO whose writer is gone, it can be opened as /dev/stdin, and nobody has
 * to wait for its reader. Undefined where the system has no such place or no room in it.
 */
export const inputFile = (bytes: Uint8Array): number | undefined => {
  const directory = memoryDirectory();
  if (directory === undefined) return undefined;
  let writer: number | undefined;
  let reader: number | undefined;
  try {
    const path = `${directory}/ctrl-exec-${randomUUID()}`;
    writer = openSync(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600);
    try {
      reader = openSync(path, constants.O_RDONLY);
    } finally {
      unlinkSync(path);
    }
    writeAll(writer, bytes);
    return reader;
  } catch {
    if (reader !== undefined) closeSync(reader);
    return undefined;
  } finally {
    if (writer !== undefined) closeSync(writer);
  }
};
