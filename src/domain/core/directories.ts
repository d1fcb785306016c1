import { errorCode } from './thrown.js';

/** The calls of `node:fs` that make directories. */
export interface DirectoryCalls {
  readonly mkdirSync: (path: string, options: { readonly mode: number }) => unknown;
  readonly statSync: (path: string) => { isDirectory(): boolean };
}

/** The path itself where nothing is above it. */
const above = (path: string): string => {
  const end = path.replace(/\/+$/, '').lastIndexOf('/');
  return end < 0 ? path : path.slice(0, end) || '/';
};

/**
 * Makes a directory and what is missing above it, as `mkdir -p` does; throws what the system says. Node's own `recursive` never
 * comes back from a directory in which nothing can be made and everything is missing, as `/proc`.
 * @returns the topmost directory that was made; undefined: it was there
 */
export function makeDirectories(path: string, mode: number, calls: DirectoryCalls): string | undefined {
  const make = (): boolean => {
    try {
      calls.mkdirSync(path, { mode });
      return true;
    } catch (thrown) {
      // Of what is there some file systems say something else than EEXIST.
      if (errorCode(thrown) !== 'ENOENT' && isDirectory(path, calls)) return false;
      throw thrown;
    }
  };
  try {
    return make() ? path : undefined;
  } catch (thrown) {
    if (errorCode(thrown) !== 'ENOENT' || above(path) === path) throw thrown;
  }
  const topmost = makeDirectories(above(path), mode, calls);
  return make() ? (topmost ?? path) : topmost;
}

function isDirectory(path: string, calls: DirectoryCalls): boolean {
  try {
    return calls.statSync(path).isDirectory();
  } catch {
    return false;
  }
}
