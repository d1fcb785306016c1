import { dirname } from 'node:path';
import { codeOf } from '../../shared/system-code.js';
import type { FollowedPath } from '../followed-path.js';
import { ExplainedFailure } from '../system-failure.js';
import { trustedDirectory } from '../trusted-directory.js';

/** The directories of files, trusted and opened: what becomes of their names does not matter while they are open. */
export interface Directories {
  /** Does something with the opened directory of a file. Throws. */
  of<T>(path: string, use: (directory: FollowedPath) => Promise<T>): Promise<T>;
}

/** Whoever runs the service makes it, with the owner and the mode that the service needs. */
export const missingDirectory = 'it does not exist: create it first';

function openDirectory(path: string): FollowedPath {
  try {
    return trustedDirectory(path);
  } catch (thrown) {
    const what = { ENOENT: missingDirectory, ENOTDIR: 'not a directory' }[codeOf(thrown)];
    if (what === undefined) throw thrown;
    throw new ExplainedFailure(codeOf(thrown), what, { path, operation: 'use directory' });
  }
}

/** Opens a directory anew for every call. */
export const openedForEachCall: Directories = {
  of: async (path, use) => {
    const directory = openDirectory(dirname(path));
    try {
      return await use(directory);
    } finally {
      directory.close();
    }
  },
};

/** Opens a directory once, and keeps it until it is released. */
export function heldDirectories(): Directories & { release(): void } {
  const held = new Map<string, FollowedPath>();
  return {
    of: async (path, use) => {
      const name = dirname(path);
      // defence: directory-is-held-during-deployment
      const directory = held.get(name) ?? openDirectory(name);
      held.set(name, directory);
      return use(directory);
    },
    release: () => {
      for (const directory of held.values()) directory.close();
      held.clear();
    },
  };
}
