import { errAsync, okAsync, ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../../domain/core/errors.js';
import type { JudgedPath } from '../../domain/core/file-trust.js';
import { inDirectory } from '../../domain/settings/fields.js';
import type { FileSystem } from '../../ports/file-system.js';

/** What there is against each of these paths. */
export function judge(
  files: Pick<FileSystem, 'faults'>,
  paths: Iterable<string>,
): ResultAsync<readonly JudgedPath[], CtrlExecError<'file_failed'>> {
  return ResultAsync.combine(
    [...new Set(paths)].map((path) => files.faults(path).map((faults) => ({ path, faults }))),
  );
}

/**
 * As `judge`, of a state directory and what lies in it. A socket is no file, and decides nothing.
 * @param depth how many directories deep
 */
export function judgeBelow(
  files: FileSystem,
  directory: string,
  depth: number,
): ResultAsync<readonly JudgedPath[], CtrlExecError<'file_failed'>> {
  return files
    .faults(directory)
    .map((faults) => [{ path: directory, faults }])
    .orElse((error) => (error.reason === 'EINVAL' ? okAsync([]) : errAsync(error)))
    .andThen((own) => {
      if (depth === 0 || own.length === 0) return okAsync(own);
      return files
        .list(directory)
        .orElse((error) =>
          ['ENOTDIR', 'EACCES'].includes(error.reason) ? okAsync(undefined) : errAsync(error),
        )
        .andThen((names = []) =>
          ResultAsync.combine(
            names.map((name) => judgeBelow(files, inDirectory(directory, name), depth - 1)),
          ),
        )
        .map((below) => [...own, ...below.flat()]);
    });
}
