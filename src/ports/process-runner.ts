import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';

/** What is run, with what, and within which limits. */
export interface Program {
  /** Absolute path; executed directly, no shell, no PATH search. */
  readonly path: string;
  readonly args: readonly string[];
  /** Written to standard input, then end-of-file. */
  readonly stdin: Uint8Array;
  /** The whole environment of the process. */
  readonly env: Readonly<Record<string, string>>;
  /** Milliseconds after which an unread standard input is closed. */
  readonly stdinTimeout: number;
  /** Milliseconds, 0: none. Then the process group gets SIGTERM, 5 s later SIGKILL. */
  readonly timeout: number;
  /** Bytes kept of each stream: head and tail, half each. */
  readonly maxOutput: number;
}

/** Which of the two streams of a process. */
export type OutputStream = 'stdout' | 'stderr';

/**
 * Is given output as it comes: all of it, also what is not kept, in the order of its stream, at most one call of a stream
 * at a time (those of the two may overlap). Until a call is answered nothing more is read from that stream, so a slow
 * reader slows the program and costs no memory. False, a rejection, and no answer for 30 s say that the reader is gone:
 * there are no further calls, and the program runs on as if there had been no sink. The chunk, at most 64 KiB, is the
 * receiver's own.
 */
export type OutputSink = (stream: OutputStream, chunk: Uint8Array) => Promise<boolean>;

/** A program to run, and how to follow or end it. */
export interface ProcessRequest extends Program {
  /** Cancels: the process group gets SIGTERM, 5 s later SIGKILL. */
  readonly signal?: AbortSignal;
  readonly onOutput?: OutputSink;
}

/** What was kept of a stream. */
export interface CapturedStream {
  /** What was kept, head then tail. */
  readonly bytes: Uint8Array;
  /** Bytes in all. More than `bytes` holds: it was cut. */
  readonly total: number;
}

/** How a process ended; `signal` by its name (`SIGKILL`). */
export type ProcessEnd =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signalled'; readonly signal: string };

/** How a run ended, and what it wrote. */
export interface ProcessOutcome {
  readonly end: ProcessEnd;
  /**
   * Why the process group was told to end while its leader ran: its time was up, or `signal` was aborted, whichever came
   * first. Also where the program then chose its own exit code. Undefined: it ended by itself.
   */
  readonly stopped: 'timeout' | 'cancelled' | undefined;
  readonly stdout: CapturedStream;
  readonly stderr: CapturedStream;
  /**
   * Ids of the processes that still held standard output or error when the answer was given: left behind. They live on,
   * and what they write from now on is lost. Empty where some do but cannot be seen. Undefined: both streams had ended.
   */
  readonly pipesHeldBy: readonly number[] | undefined;
  /**
   * Only of what cannot be killed, a function of this process: it was told to end and goes on. Resolves when it has ended;
   * never rejects. What it writes is lost, and `end` is what would have become of a process.
   */
  readonly goesOn?: Promise<void>;
}

/**
 * Runs one program to its end.
 *
 * Contract: arguments arrive byte for byte; the process leads its own session and group, cwd is `/`, umask 022, no
 * descriptor but 0–2 is inherited. A child that ignores or closes its standard input is not harmed and does not fail the
 * call. The answer comes when the process has exited and its output is drained, at most a second later (not counted:
 * waiting for `onOutput`, at most 30 s in all after the exit), also when a daemonised grandchild keeps the pipes open. What could not be started is `spawn_failed` with the system's reason.
 */
export interface ProcessRunner {
  /** Resolves when the process has ended and its output is drained. */
  run(request: ProcessRequest): ResultAsync<ProcessOutcome, CtrlExecError<'spawn_failed'>>;
}
