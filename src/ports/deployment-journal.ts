import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { Command } from '../domain/deploy/command.js';
import type { FileState } from '../domain/deploy/plan.js';

type FileResult<T> = ResultAsync<T, CtrlExecError<'file_failed'>>;

/** A file that a deployment is about to replace. */
export interface RecordedFile {
  /** Every link resolved. */
  readonly path: string;
  readonly before: FileState | undefined;
  /** SHA-256 of what it is replaced with, lower-case hex. */
  readonly after: string;
  /** It is written in place: after a crash it may hold a part of that. */
  readonly inPlace?: boolean;
}

/** What a deployment is about to do, as far as its way back needs it. */
export interface DeploymentRecord {
  readonly targetType: string;
  /** With an absolute program. */
  readonly reload: Command | undefined;
  readonly files: readonly RecordedFile[];
}

/** A deployment whose process has gone before its end. */
export interface PendingDeployment {
  readonly id: string;
  readonly record: DeploymentRecord;
  /** How often a reload was noted: as often the service may have been told to read the files, or that was cut off. */
  readonly reloads: number;
}

/** A record that is damaged, or that others may have written. Nothing in it is believed, and it stays where it is. */
export interface UnusableDeployment {
  readonly id: string;
  /** One line: where it is, what is wrong, and what heals it. */
  readonly problem: string;
}

/**
 * Keeps what deployments replace, and which of them have not come to an end.
 *
 * Contract: every Ok is durable. Contents are readable by their owner only, at every instant. A deployment is pending from
 * `begin` until `end` or `forget`, also across a crash at any moment; one that is not written completely never was.
 * Deployments of other ids do not disturb each other. What others than root and the account of this process could have written is
 * not believed: a journal in such a place is an error, a record is unusable.
 */
export interface DeploymentJournal {
  /** Answers with an id. A pending deployment of the same files, whose end failed, is superseded. */
  begin(record: DeploymentRecord): FileResult<string>;
  /** The service is about to be reloaded: noted once for every time. */
  noteReload(id: string): FileResult<void>;
  /** It holds: what it replaced becomes a backup, of which `backups` are kept for these files, newest first. */
  end(id: string, backups: number): FileResult<void>;
  /** It was undone: nothing of it is kept. */
  forget(id: string): FileResult<void>;
  /** Deployments whose process is gone, oldest first. One that cannot be used does not hide the others. */
  pending(): FileResult<readonly (PendingDeployment | UnusableDeployment)[]>;
  /** Whether a deployment that holds, and of which the backup is kept, has put this content there. `after`: SHA-256, lower-case hex. */
  wrote(path: string, after: string): FileResult<boolean>;
  /** Where the backups of a deployment are, for messages. */
  location(id: string): string;
}
