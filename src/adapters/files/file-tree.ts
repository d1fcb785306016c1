import type { Dirent } from 'node:fs';
import { opendir, realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { decodeUtf8 } from '../../domain/core/bytes.js';
import type { FileTree, TreeEntry, TreeWalk } from '../../ports/file-tree.js';
import { codeOf } from '../shared/system-code.js';
import { enter, type FollowedPath, followPath, leave, type Step } from './followed-path.js';
import { readOpened, readRegular } from './regular-file.js';
import { systemFailure } from './system-failure.js';

interface Walk extends TreeWalk {
  /** The directories that were given, without links. */
  readonly roots: readonly string[];
  /** Directories that were visited, without links. */
  readonly visited: Set<string>;
}

/** A directory that was given. */
interface Root {
  readonly path: string;
  readonly opened: FollowedPath;
}

/** By the path that is told, and by the one without links. */
interface Place {
  readonly path: string;
  readonly real: string;
}

const passedOver = ['ENOENT', 'ELOOP', 'EISDIR', 'EINVAL', 'EFBIG'];

/** Node gives names as text, in which every byte that is no UTF-8 is the same: such a file could not be opened. */
const asBytes = { encoding: 'buffer' as BufferEncoding };

const notUtf8 = Object.assign(new Error('a name that is not UTF-8'), { code: 'EILSEQ' });

const escaped = (name: Buffer): string =>
  name.toString('latin1').replace(/[\x80-\xff]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16)}`);

/** The file system of this host. */
export const nodeFileTree = (): FileTree => ({
  async *walk(directories, options) {
    const roots: Root[] = [];
    try {
      for (const path of directories) {
        try {
          roots.push({ path, opened: followPath(path) });
        } catch (thrown) {
          yield failed(path, 'resolve', thrown);
        }
      }
      const walk = { ...options, roots: roots.map(({ opened }) => opened.path), visited: new Set<string>() };
      for (const root of roots) yield* below(root, walk);
    } finally {
      for (const { opened } of roots) opened.close();
    }
  },
});

async function* below(root: Root, walk: Walk): AsyncGenerator<TreeEntry> {
  // A list, not a recursion: how deep the directories are is up to others.
  const open: (readonly string[])[] = [[]];
  for (let names = open.pop(); names !== undefined; names = open.pop()) {
    const place = { path: join(root.path, ...names), real: join(root.opened.path, ...names) };
    if (walk.visited.has(place.real)) continue;
    walk.visited.add(place.real);
    let directory: Step | undefined;
    try {
      directory = /* defence: discovery-follows-no-swapped-directory */ enterBelow(root, names);
      // What was a directory and is a link now is passed over, as other links are.
      if (!directory.stats.isDirectory()) continue;
      for await (const entry of await opendir(directory.reference, asBytes)) {
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
        if (entry.isDirectory()) open.push([...names, name]);
        else if (walk.wanted(path)) {
          const file = { path, real: join(place.real, name), here: join(directory.reference, name) };
          yield* content(entry, file, walk);
        }
      }
    } catch (thrown) {
      yield failed(place.path, 'list', thrown);
    } finally {
      if (directory !== undefined) leave(directory);
    }
  }
}

/** Step by step from an opened directory: no link on the way is followed, whatever has become of the names. */
function enterBelow({ opened }: Root, names: readonly string[]): Step {
  let here = enter(`${opened.reference}/.`);
  for (const name of names) {
    const above = here;
    try {
      here = enter(`${above.reference}/${name}`);
    } finally {
      leave(above);
    }
    if (!here.stats.isDirectory()) break;
  }
  return here;
}

async function* content(
  entry: Dirent,
  { path, real, here }: Place & { readonly here: string },
  walk: Walk,
): AsyncGenerator<TreeEntry> {
  try {
    const bytes = entry.isFile()
      ? await readRegular(here, walk.maxBytes)
      : entry.isSymbolicLink()
        ? await readLinked(real, walk)
        : undefined;
    if (bytes) yield { kind: 'file', path, bytes };
  } catch (thrown) {
    // What has gone since the directory was read or is something else now, links that lead to nothing or to themselves, and what is too large.
    if (!passedOver.includes(codeOf(thrown))) yield failed(path, 'read', thrown);
  }
}

/** What a link leads to, if it is below one of the directories, and wanted by its own name. */
async function readLinked(link: string, walk: Walk): Promise<Uint8Array | undefined> {
  const isInside = (path: string) =>
    walk.roots.some((root) => path.startsWith(root.endsWith(sep) ? root : root + sep));
  const bytes = await realpath(link, 'buffer');
  if (!isInside(bytes.toString())) return undefined;
  if (decodeUtf8(bytes) === undefined) throw notUtf8;
  const target = followPath(link);
  try {
    // defence: discovery-judges-what-a-link-leads-to
    if (!isInside(target.path) || !walk.wanted(target.path)) return undefined;
    return await readOpened(target, walk.maxBytes);
  } finally {
    target.close();
  }
}

const failed = (path: string, operation: string, thrown: unknown): TreeEntry => ({
  kind: 'failed',
  path,
  reason: systemFailure(path, operation, codeOf(thrown), thrown === notUtf8 ? notUtf8.message : undefined)
    .message,
});
