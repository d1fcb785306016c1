import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { FileFault } from '../domain/core/file-trust.js';

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
  /**
   * Who else than root and the account of this process decides what is at a path: by the thing itself, by a directory on the way
   * or by a link. Links are followed, and both the ways to them and the ways that they lead are judged. Of what is
   * missing, or out of reach, the way is judged as far as it goes: who may write there may put something there. What is neither file nor directory is not opened:
   * reason `EINVAL`.
   *
   * Without a fault no other account can put something else at the path afterwards either: it would need the right to write in a
   * directory that was judged. So a path that was judged may be read by its name.
   * @param owners more user ids that may decide
   */
  faults(path: string, owners?: readonly number[]): FileResult<readonly FileFault[]>;
  /**
   * Makes the account of this process the owner of a file or directory, and takes the right to write from everybody else. A file
   * keeps its content and its group. What is missing: `ENOENT`; a link: `ELOOP`.
   */
  takeOwnership(path: string): FileResult<void>;
  /** Puts `text` in place of what was there; `mode` is that of a file that is new. */
  replace(path: string, text: string, mode: number): FileResult<void>;
  /** Makes a directory, and with the same mode what is missing above it; one that is there stays as it is. */
  makeDirectory(path: string, mode: number): FileResult<void>;
}
