import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';

/** A lock is the pair of host (registry name, else the literal argument) and script. */
export interface LockKey {
  readonly host: string;
  readonly script: string;
}

/** A lock and who holds it. */
export interface HeldLock extends LockKey {
  readonly reqid: string;
  /** Process id of the holder. */
  readonly pid: number;
  /** Epoch milliseconds. */
  readonly since: number;
}

/**
 * Keeps one script from running twice on one host at the same time.
 *
 * Contract: `acquire` takes all keys or none, across processes and across several instances in one process, never waits,
 * and names the conflicts as `<host>:<script>`, sorted; asking twice for one key within a call is one lock. A holder
 * that died, however (also `kill -9`), holds nothing: its locks are free for the next `acquire` and absent from `list`.
 * `release` frees what `reqid` holds and is idempotent; `close` frees everything that this instance holds.
 */
export interface Locks {
  /** Takes locks for a run; `locked` names the conflicts. `now` in epoch milliseconds, for `since`. */
  acquire(
    keys: readonly LockKey[],
    reqid: string,
    now: number,
  ): ResultAsync<void, CtrlExecError<'locked' | 'store_failed'>>;
  /** Frees what a run holds. */
  release(reqid: string): ResultAsync<void, CtrlExecError<'store_failed'>>;
  /** Held locks of living holders, sorted by host, then script. */
  list(): ResultAsync<readonly HeldLock[], CtrlExecError<'store_failed'>>;
  /** Frees everything that this instance holds, and gives up its store. */
  close(): ResultAsync<void, CtrlExecError<'store_failed'>>;
}
