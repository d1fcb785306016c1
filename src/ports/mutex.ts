import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';

/** Exclusive work that this process may do. */
export interface Held {
  /** Grows with every holder of this name. */
  readonly term: number;
  /** Aborted when somebody else may hold it although it was not released. */
  readonly lost: AbortSignal;
  /** Idempotent. */
  release(): ResultAsync<void, CtrlExecError<'store_failed'>>;
}

/**
 * Work that only one process of all does at a time: pairing, replacing the identity, a maintenance pass, renewing one agent.
 *
 * Contract: of several `acquire` of one name, across processes and across instances in one process, one is Ok until it is released;
 * the others are `held` at once and never wait. A holder that died, however (also `kill -9`), holds nothing. `close` releases
 * everything that this instance holds.
 */
export interface Mutex {
  /** `held` names the holder as a person finds it (`process 1234`). @param now epoch milliseconds, for `since` */
  acquire(name: string, now: number): ResultAsync<Held, CtrlExecError<'held' | 'store_failed'>>;
  /** Releases what this instance holds. */
  close(): ResultAsync<void, CtrlExecError<'store_failed'>>;
}
