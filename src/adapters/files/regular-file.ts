import { constants, type Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { enter, leave } from './followed-path.js';

export const systemError = (code: string) => Object.assign(new Error(code), { code });

/** Throws `EISDIR`, of a link `ELOOP`, of a device or a pipe `EINVAL`. */
export function requireRegular(stats: Stats): void {
  if (stats.isDirectory()) throw systemError('EISDIR');
  if (stats.isSymbolicLink()) throw systemError('ELOOP');
  if (!stats.isFile()) throw systemError('EINVAL');
}

/** Everything up to the end. The size is not trusted: a file may grow meanwhile, and those of /proc claim to be empty. Throws `EFBIG`. */
export async function readUpTo(handle: FileHandle, limit: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for (let total = 0; ; ) {
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(65_536));
    if (bytesRead === 0) return new Uint8Array(Buffer.concat(chunks));
    total += bytesRead;
    // defence: reading-is-bounded
    if (total > limit) throw systemError('EFBIG');
    chunks.push(buffer.subarray(0, bytesRead));
  }
}

/** Something that was entered or followed, and not opened yet. */
interface Seen {
  readonly reference: string;
  readonly stats: Stats;
}

/** Opens what was seen, if it is a regular file: neither a device nor a pipe notices. */
async function withOpened<T>(
  { reference, stats }: Seen,
  flags: number,
  use: (handle: FileHandle, stats: Stats) => Promise<T>,
): Promise<T> {
  requireRegular(stats);
  // By its descriptor it is a link of /proc, and the very thing that was seen.
  const noLink = reference.startsWith('/proc/self/fd/') ? 0 : constants.O_NOFOLLOW;
  const handle = await open(reference, flags | constants.O_NONBLOCK | noLink);
  try {
    return await use(handle, stats);
  } finally {
    await handle.close();
  }
}

/** Opens a regular file by its path. A link is not followed. */
export async function withRegular<T>(
  path: string,
  flags: number,
  use: (handle: FileHandle, stats: Stats) => Promise<T>,
): Promise<T> {
  const found = enter(path);
  try {
    return await withOpened(found, flags, use);
  } finally {
    leave(found);
  }
}

const whole =
  (limit: number) =>
  async (handle: FileHandle, { size }: Stats) => {
    if (size > limit) throw systemError('EFBIG');
    return readUpTo(handle, limit);
  };

/** The content of a regular file that was seen. */
export const readOpened = (seen: Seen, limit: number): Promise<Uint8Array> =>
  withOpened(seen, constants.O_RDONLY, whole(limit));

/** The content of a regular file. A link is not followed. */
export const readRegular = (path: string, limit: number): Promise<Uint8Array> =>
  withRegular(path, constants.O_RDONLY, whole(limit));
