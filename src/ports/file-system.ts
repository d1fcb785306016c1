import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';

type FileResult<T> = ResultAsync<T, CtrlExecError<'file_failed'>>;

/**
 * Files that people write and that this product reads: configuration, allowlists, sidecars, what another installation has left.
 *
 * Contract: `reason` of an error is the system's code (`ENOENT`, `EACCES`, `EISDIR`, …). `replace` writes a temporary file
 * in the same directory, syncs it, renames it and syncs the directory, keeping the mode of a file that was there.
 */
export interface FileSystem {
  /** Whole content of a regular file; above `limit` bytes: `file_failed` with reason `EFBIG`. */
  read(path: string, limit: number): FileResult<Uint8Array>;
  /** As `read`, UTF-8 decoded; undefined when the file does not exist. */
  readText(path: string, limit: number): FileResult<string | undefined>;
  /** The first bytes of a regular file, at most `length`. */
  head(path: string, length: number): FileResult<Uint8Array>;
  /** Names of everything in a directory, sorted; undefined when there is no such directory. What is not a directory: `ENOTDIR`. */
  list(path: string): FileResult<readonly string[] | undefined>;
  /** The path with every link resolved. */
  realPath(path: string): FileResult<string>;
  /** Whether it is a regular file that this process may execute. */
  isExecutable(path: string): FileResult<boolean>;
  /** Whether everybody may write it. */
  isWritableByAll(path: string): FileResult<boolean>;
  /** Puts `text` in place of what was there; `mode` is that of a file that is new. */
  replace(path: string, text: string, mode: number): FileResult<void>;
  /** Makes a directory, and with the same mode what is missing above it; one that is there stays as it is. */
  makeDirectory(path: string, mode: number): FileResult<void>;
}
