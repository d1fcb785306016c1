import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { Acl } from '../domain/deploy/acl.js';
import type { FileState } from '../domain/deploy/plan.js';

type FileResult<T> = ResultAsync<T, CtrlExecError<'file_failed'>>;

/** What is, or can be, at a path. */
export interface FoundFile {
  /** The path with every link resolved: what is to be replaced. */
  readonly path: string;
  /** Undefined: there is no file yet, but a directory for it. */
  readonly state: FileState | undefined;
}

/** A file as it is to be. */
export interface NewFile {
  /** Every link resolved. */
  readonly path: string;
  readonly content: Uint8Array;
  /** Permission bits. */
  readonly mode: number;
  /** Name or number; undefined: that of this process. */
  readonly owner: string | number | undefined;
  readonly group: string | number | undefined;
  /** The access control list that it gets beside its mode; undefined: none. */
  readonly acl?: Acl;
  /** A mount point, which nothing can be renamed over, may be written in place. Any other file is replaced all the same. */
  readonly inPlace?: boolean;
}

/** A complete file beside the place that it is for. */
export interface StagedFile {
  readonly path: string;
  readonly temporary: string;
  /** It is written over what is there when it is placed. There is nothing beside it until then. */
  readonly inPlace?: NewFile;
}

/**
 * The files of services, replaced one by one.
 *
 * Directories of files, everything on the way to them, and links belong to root or to the account of this process, and nobody
 * else can write there: anything else is `EPERM`, with what heals it. The files themselves may be anybody's.
 * Contract: `reason` of an error is the system's code. Links are followed. Only regular files of at most 1 MiB are looked
 * at and replaced (`EISDIR`, `EINVAL`, `EFBIG`); a missing directory and a link to nothing are `ENOENT`. A staged file is durable, and readable by its owner only
 * until all of it is written and it has its owner; an unknown owner or group is `EINVAL`, one that this process may not
 * give is the system's refusal. What `stage` could not complete it removes. `place` is one rename; when it fails nothing has changed.
 * A mount point is `EBUSY` for `stage`, unless it may be written in place: then a `place` that fails, or that a crash cuts off, may leave a part
 * of the new content. An access control list is kept as it is told, and a file has none that it was not given.
 */
export interface DeploymentFiles {
  /** The same files for one deployment: directories are opened once, and what becomes of their names meanwhile changes nothing. */
  hold(): HeldFiles;
  /** The same text for the same place, whatever path leads there (a bind mount shows one directory under several). Nothing is read. */
  identify(path: string): FileResult<string>;
  /** What is at a path. */
  look(path: string): FileResult<FoundFile>;
  /** The directory with every link resolved. */
  realDirectory(path: string): FileResult<string>;
  /** Writes a file beside its place. Names of such files begin with a dot. */
  stage(file: NewFile): FileResult<StagedFile>;
  /** Puts it in its place. */
  place(staged: StagedFile): FileResult<void>;
  /** Removes a file that was staged and not placed; one that is gone is no error. */
  discard(staged: StagedFile): FileResult<void>;
  /** Removes the file at a path, if there is one. */
  remove(path: string): FileResult<void>;
  /** Makes what was placed and removed at these paths survive a power cut. */
  sync(paths: readonly string[]): FileResult<void>;
  /** Removes what processes that are gone have staged beside these paths and left. Failing is no error. */
  sweep(paths: readonly string[]): FileResult<void>;
}

/** Files whose directories stay open until they are released. */
export interface HeldFiles extends DeploymentFiles {
  /** Closes the directories; nothing is done with these files afterwards. */
  release(): void;
}
