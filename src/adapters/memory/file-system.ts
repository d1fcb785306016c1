import { posix } from 'node:path';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { fileFault } from '../../domain/core/file-trust.js';
import type { FileSystem } from '../../ports/file-system.js';

type FileFailure = CtrlExecError<'file_failed'>;

interface MemoryFile {
  readonly bytes: Uint8Array;
  readonly mode: number;
  readonly uid?: number;
}

/**
 * Files in memory, `initial` with mode 0644, under absolute paths. A directory exists as long as a file is somewhere below it;
 * the root always does, and all of them are root's. A file is executable when its mode has an execute bit: set one through `files`.
 */
export const memoryFileSystem = (
  initial: Readonly<Record<string, string>> = {},
): FileSystem & { readonly files: Map<string, { bytes: Uint8Array; mode: number; uid?: number }> } => {
  const files = new Map<string, { bytes: Uint8Array; mode: number; uid?: number }>();
  for (const [path, text] of Object.entries(initial)) {
    files.set(posix.resolve('/', path), { bytes: new TextEncoder().encode(text), mode: 0o644 });
  }

  const made = new Set<string>();
  const isDirectory = (path: string) =>
    path === '/' || made.has(path) || [...files.keys()].some((file) => file.startsWith(`${path}/`));

  const absence = (path: string): string => {
    if (isDirectory(path)) return 'EISDIR';
    return [...files.keys()].some((file) => path.startsWith(`${file}/`)) ? 'ENOTDIR' : 'ENOENT';
  };

  const read = (path: string, limit: number): Result<MemoryFile, FileFailure> => {
    const file = files.get(posix.resolve('/', path));
    if (file === undefined) return refused(path, 'read', absence(posix.resolve('/', path)));
    return file.bytes.length > limit ? refused(path, 'read', 'EFBIG') : ok(file);
  };

  const replace = (path: string, text: string, mode: number): Result<void, FileFailure> => {
    const target = posix.resolve('/', path);
    const why = files.has(target) ? undefined : absence(target);
    if (why === 'EISDIR' || why === 'ENOTDIR') return refused(path, 'write', why);
    if (!isDirectory(posix.dirname(target))) return refused(path, 'write', 'ENOENT');
    files.set(target, {
      ...files.get(target),
      bytes: new TextEncoder().encode(text),
      mode: files.get(target)?.mode ?? mode,
    });
    return ok(undefined);
  };

  return {
    files,
    read: (path, limit) => later(read(path, limit).map(({ bytes }) => bytes.slice())),
    readText: (path, limit) =>
      later(
        read(path, limit)
          .map(({ bytes }): string | undefined => new TextDecoder().decode(bytes))
          .orElse((error) => (error.reason === 'ENOENT' ? ok(undefined) : err(error))),
      ),
    head: (path, length) =>
      later(read(path, Number.POSITIVE_INFINITY).map(({ bytes }) => bytes.slice(0, length))),
    list: (path) => {
      const directory = posix.resolve('/', path);
      if (!isDirectory(directory)) {
        const why = files.has(directory) ? 'ENOTDIR' : absence(directory);
        return later(why === 'ENOENT' ? ok(undefined) : refused(path, 'list', why));
      }
      const prefix = directory === '/' ? '/' : `${directory}/`;
      const below = [...files.keys(), ...made].filter((each) => each.startsWith(prefix) && each !== prefix);
      return later(
        ok([...new Set(below.map((each) => each.slice(prefix.length).split('/', 1)[0] ?? ''))].sort()),
      );
    },
    realPath: (path) => {
      const resolved = posix.resolve('/', path);
      if (files.has(resolved) || isDirectory(resolved)) return later(ok(resolved));
      return later(refused(path, 'resolve', absence(resolved)));
    },
    isExecutable: (path) => later(ok(((files.get(posix.resolve('/', path))?.mode ?? 0) & 0o111) !== 0)),
    faults: (path, owners = []) => {
      const resolved = posix.resolve('/', path);
      const file = files.get(resolved);
      if (file === undefined) return later(ok([]));
      const { mode, uid = 0 } = file;
      const fault = fileFault({ path: resolved, kind: 'file', uid, mode }, [0, ...owners]);
      return later(ok(fault === undefined ? [] : [fault]));
    },
    takeOwnership: (path) => {
      const resolved = posix.resolve('/', path);
      const file = files.get(resolved);
      if (file !== undefined) files.set(resolved, { bytes: file.bytes, mode: file.mode & 0o7755 });
      else if (!isDirectory(resolved)) return later(refused(path, 'take ownership', absence(resolved)));
      return later(ok(undefined));
    },
    replace: (path, text, mode) => later(replace(path, text, mode)),
    makeDirectory: (path) => {
      const target = posix.resolve('/', path);
      if (files.has(target)) return later(refused(path, 'create directory', 'EEXIST'));
      if (!isDirectory(target) && absence(target) === 'ENOTDIR')
        return later(refused(path, 'create directory', 'ENOTDIR'));
      for (let each = target; each !== '/'; each = posix.dirname(each)) made.add(each);
      return later(ok(undefined));
    },
  };
};

const later = <T>(result: Result<T, FileFailure>): ResultAsync<T, FileFailure> =>
  new ResultAsync(Promise.resolve(result));

const refused = (path: string, operation: string, reason: string): Result<never, FileFailure> =>
  err(failure('file_failed', `cannot ${operation} ${path}: ${reason}`, { path, operation, reason }));
