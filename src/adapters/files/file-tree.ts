import { constants, type Dirent } from 'node:fs';
import { type FileHandle, open, opendir, realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { decodeUtf8 } from '../../domain/core/bytes.js';
import type { FileTree, TreeEntry, TreeWalk } from '../../ports/file-tree.js';
import { codeOf, systemFailure } from './system-failure.js';

interface Walk extends TreeWalk {
  /** The directories that were given, without links. */
  readonly roots: readonly string[];
  /** Directories that were visited, without links. */
  readonly visited: Set<string>;
}

/** A directory by the path that is told, and by the one without links. */
interface Place {
  readonly path: string;
  readonly real: string;
}

/** Node gives names as text, in which every byte that is no UTF-8 is the same: such a file could not be opened. */
const asBytes = { encoding: 'buffer' as BufferEncoding };

const notUtf8 = Object.assign(new Error('a name that is not UTF-8'), { code: 'EILSEQ' });

const escaped = (name: Buffer): string =>
  name.toString('latin1').replace(/[\x80-\xff]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16)}`);

/** The file system of this host. */
export const nodeFileTree = (): FileTree => ({
  async *walk(directories, options) {
    const places: Place[] = [];
    for (const path of directories) {
      try {
        places.push({ path, real: await realpath(path) });
      } catch (thrown) {
        yield failed(path, 'resolve', thrown);
      }
    }
    const walk = { ...options, roots: places.map(({ real }) => real), visited: new Set<string>() };
    for (const place of places) yield* below(place, walk);
  },
});

async function* below(top: Place, walk: Walk): AsyncGenerator<TreeEntry> {
  // A list, not a recursion: how deep the directories are is up to others.
  const open: Place[] = [top];
  for (let place = open.pop(); place !== undefined; place = open.pop()) {
    if (walk.visited.has(place.real)) continue;
    walk.visited.add(place.real);
    try {
      for await (const entry of await opendir(place.real, asBytes)) {
        if (walk.signal?.aborted) return;
        const bytes = Buffer.from(entry.name);
        const name = decodeUtf8(bytes);
        if (name === undefined) {
          const shown = join(place.path, escaped(bytes));
          const isRead = entry.isDirectory() || entry.isFile() || entry.isSymbolicLink();
          if (isRead && (entry.isDirectory() || walk.wanted(shown))) yield failed(shown, 'read', notUtf8);
          continue;
        }
        const path = join(place.path, name);
        const real = join(place.real, name);
        if (entry.isDirectory()) open.push({ path, real });
        else if (walk.wanted(path)) yield* file(entry, { path, real }, walk);
      }
    } catch (thrown) {
      yield failed(place.path, 'list', thrown);
    }
  }
}

async function* file(entry: Dirent, place: Place, walk: Walk): AsyncGenerator<TreeEntry> {
  try {
    const target = entry.isFile()
      ? place.real
      : entry.isSymbolicLink()
        ? await within(place.real, walk)
        : undefined;
    const bytes = target === undefined ? undefined : await contentOf(target, walk.maxBytes);
    if (bytes) yield { kind: 'file', path: place.path, bytes };
  } catch (thrown) {
    // What has gone since the directory was read, and links that lead to nothing or to themselves.
    if (!['ENOENT', 'ELOOP'].includes(codeOf(thrown))) yield failed(place.path, 'read', thrown);
  }
}

/** The regular file that a link leads to, if it is below one of the directories. */
async function within(link: string, walk: Walk): Promise<string | undefined> {
  const bytes = await realpath(link, 'buffer');
  const target = bytes.toString();
  const inside = walk.roots.some((root) => target.startsWith(root.endsWith(sep) ? root : root + sep));
  if (inside && decodeUtf8(bytes) === undefined) throw notUtf8;
  return inside && (await stat(target)).isFile() ? target : undefined;
}

async function contentOf(path: string, limit: number): Promise<Uint8Array | undefined> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  try {
    const stats = await handle.stat();
    return stats.isFile() && stats.size <= limit ? await readUpTo(handle, limit) : undefined;
  } finally {
    await handle.close();
  }
}

/** Undefined when there is more than `limit`, whatever the size was said to be. */
async function readUpTo(handle: FileHandle, limit: number): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  for (let total = 0; ; ) {
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(65_536));
    if (bytesRead === 0) return new Uint8Array(Buffer.concat(chunks));
    total += bytesRead;
    if (total > limit) return undefined;
    chunks.push(buffer.subarray(0, bytesRead));
  }
}

const failed = (path: string, operation: string, thrown: unknown): TreeEntry => ({
  kind: 'failed',
  path,
  reason: systemFailure(path, operation, codeOf(thrown), thrown === notUtf8 ? notUtf8.message : undefined)
    .message,
});
