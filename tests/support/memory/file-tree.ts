import type { FileTree, TreeEntry } from '../../../src/ports/file-tree.js';

/** A file, a link to a path, or something that cannot be read. */
export type MemoryTreeFile = Uint8Array | { readonly link: string } | { readonly reason: string };

/** Files in memory, by absolute path. A directory exists where a file is below it. */
export const memoryFileTree = (files: ReadonlyMap<string, MemoryTreeFile>): FileTree => ({
  async *walk(directories, { wanted, maxBytes, signal }): AsyncGenerator<TreeEntry> {
    const told = new Set<string>();
    for (const directory of directories) {
      const inside = [...files].filter(([path]) => path.startsWith(`${directory}/`));
      if (inside.length === 0)
        yield {
          kind: 'failed',
          path: directory,
          reason: `cannot resolve ${directory}: no such file or directory (ENOENT)`,
        };
      for (const [path, found] of inside) {
        if (signal?.aborted) return;
        if (told.has(path) || !wanted(path)) continue;
        told.add(path);
        if ('reason' in found) yield { kind: 'failed', path, reason: found.reason };
        const target = 'link' in found ? wanted(found.link) && linked(files, directories, found.link) : found;
        if (target instanceof Uint8Array && target.length <= maxBytes)
          yield { kind: 'file', path, bytes: target.slice() };
      }
    }
  },
});

const linked = (
  files: ReadonlyMap<string, MemoryTreeFile>,
  directories: readonly string[],
  target: string,
): MemoryTreeFile | undefined =>
  directories.some((directory) => target.startsWith(`${directory}/`)) ? files.get(target) : undefined;
