import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/errors.js';

export interface ProcessRequest {
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
  readonly signal?: AbortSignal;
}

export interface CapturedStream {
  /** What was kept, head then tail. */
  readonly bytes: Uint8Array;
  /** Bytes in all. More than `bytes` holds: it was cut. */
  readonly total: number;
}

export type ProcessEnd =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signalled'; readonly signal: string; readonly timedOut: boolean };

export interface ProcessOutcome {
  readonly end: ProcessEnd;
  readonly stdout: CapturedStream;
  readonly stderr: CapturedStream;
}

/**
 * Runs one program to its end.
 *
 * Contract: arguments arrive byte for byte; the process leads its own session and group, cwd is `/`, umask 022, no
 * descriptor but 0–2 is inherited. A child that ignores or closes its standard input is not harmed and does not fail the
 * call. The answer comes when the process has exited and its output is drained, at most a grace of 500 ms later, also when
 * a daemonised grandchild keeps the pipes open. What could not be started is `spawn_failed` with the system's reason.
 */
export interface ProcessRunner {
  run(request: ProcessRequest): ResultAsync<ProcessOutcome, CtrlExecError<'spawn_failed'>>;
}
