import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { CapturedStream, ProcessOutcome, Program } from './process-runner.js';

type JobAnswer<T, Code extends CtrlExecError['code'] = never> = ResultAsync<
  T,
  CtrlExecError<'file_failed' | Code>
>;

/** A job, by the dispatcher that submitted it. */
export interface JobKey {
  /** `dispatcher_id` of the caller. */
  readonly owner: string;
  readonly reqid: string;
}

/** What is known of a job from its beginning. */
export interface JobHeader extends JobKey {
  /** Name in the allowlist. */
  readonly script: string;
  /** Epoch milliseconds, as `start` was told. */
  readonly startedAt: number;
}

/** How a job stands. */
export type JobState =
  | { readonly status: 'running' }
  | {
      /** `cancelled`: it was running, or had not begun, when it was told to end. */
      readonly status: 'done' | 'cancelled';
      /** Epoch milliseconds. */
      readonly finishedAt: number;
      /** How it ended; or why the program could not be executed, one line. */
      readonly result: ProcessOutcome | { readonly notRun: string };
      /** Why output is missing that the limits would have let in (a full disk), one line. */
      readonly outputLost: string | undefined;
    }
  | {
      /** Nobody knows how it ended: the machine or what watched over the job went down. */
      readonly status: 'lost';
      /** Epoch milliseconds: when that was found out. */
      readonly finishedAt: number;
      /** What happened, and whether the program may still be running; one line. */
      readonly reason: string;
      /** What was kept by then: the head only where there was more; `total` is what is known of it. */
      readonly stdout: CapturedStream;
      readonly stderr: CapturedStream;
    };

/** A job and how it stands. */
export type Job = JobHeader & JobState;

/** A job that is to be started. */
export interface NewJob extends JobHeader {
  readonly program: Program;
  /** Jobs of its script that may run at a time, this one included; where programs are processes it is one, whatever this says. Default 1. */
  readonly concurrency?: number;
}

/** What became of a `start`. */
export type JobStart =
  | { readonly kind: 'accepted' }
  /** This key was started before; nothing was started now. */
  | { readonly kind: 'known'; readonly job: Job }
  /** No more jobs of this script may run at a time: this one does. */
  | { readonly kind: 'busy'; readonly running: JobHeader }
  /** `jobCapacity` jobs are kept, or half as many of this owner. */
  | { readonly kind: 'full' };

/**
 * Jobs that outlive the process that started them: asynchronous runs (wire-protocol 1.2: `"async":true`, `/result`, `/v2/cancel`).
 *
 * Contract: of several `start` for one key, concurrent or not, at most one starts the program, also across `kill -9` and a
 * restart in between, until the key is forgotten by `purge`. A job is recorded before it is started; where that is
 * interrupted it is `lost` for the next process, or unknown, and not run. `accepted` says that the record would survive a
 * power cut and that something watches over the job. An end is recorded durably by that watcher, whether or not the
 * starting process still lives. A job without a watcher and without a record of its end becomes `lost` once somebody
 * looks at it, never `running` for ever; what can be identified of its program is ended first, and until then it runs. A
 * program that could not be executed is a job that is `done`. Nobody but the owner finds a job by its key.
 *
 * Errors: `spawn_failed` where nothing could be started to watch over the job, `file_failed` where it could not be
 * recorded: then nothing was started, and the key is as good as new. A damaged record is a job that is `lost`; strange
 * files are left alone and harm nothing.
 */
export interface Jobs {
  /** Records a job and starts its program, whatever becomes of this process. */
  start(job: NewJob): JobAnswer<JobStart, 'spawn_failed'>;
  /** The job with its output, as it is at this moment. */
  find(key: JobKey): JobAnswer<Job | undefined>;
  /** Those that run, of every owner, by `startedAt`. */
  running(): JobAnswer<readonly JobHeader[]>;
  /** The job once it has ended; as it is when `signal` is aborted or `close` is called. */
  wait(key: JobKey, signal?: AbortSignal): JobAnswer<Job | undefined>;
  /**
   * Has a job ended: SIGTERM to the group of its program, 5 s later SIGKILL. Durable: it also reaches a job that is just
   * starting. Answers at once; one that ends by itself meanwhile is `done`.
   */
  cancel(key: JobKey): JobAnswer<'cancelling' | 'ended' | 'unknown'>;
  /** Forgets jobs that ended before this moment, epoch milliseconds, and clears up after crashes; returns how many jobs. */
  purge(finishedBefore: number): JobAnswer<number>;
  /** Jobs run on; this process no longer waits for them. */
  close(): Promise<void>;
}

/** Jobs that are kept at most, running and ended; one owner has at most half. */
export const jobCapacity = 10_000;
