import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';

/** A signed request that must not be accepted again. */
export interface ReplayEntry {
  /** As in the signature's parameters. */
  readonly keyid: string;
  readonly nonce: string;
  /** Epoch milliseconds until which the request itself would still be accepted; afterwards it may be forgotten. */
  readonly until: number;
}

/** `full`: nothing was entered, for all places, or all that this certificate may have, are held by entries that are still live. */
export type ReplayVerdict = 'fresh' | 'replayed' | 'full';

/**
 * Remembers the nonces of requests that were accepted (wire-protocol 2.3).
 *
 * Contract: of several `enter` with the same keyid and nonce, also across processes that follow each other and across
 * `kill -9`, one is `fresh` and all others are `replayed`, as long as `until` has not passed. At most `replayCapacity`
 * live entries, of which one keyid has at most a quarter, those of earlier processes included; a live one is never dropped for another. `fresh` is answered once the entry would survive the process.
 */
export interface ReplayCache {
  /**
   * Whether every live entry of earlier processes is known. False after a reboot and where the record was missing or
   * damaged: requests made before this process began must then be refused, for they may have been seen.
   */
  complete(): ResultAsync<boolean, CtrlExecError<'file_failed'>>;
  /**
   * Enters a request that is about to be accepted.
   * @param now epoch milliseconds
   */
  enter(entry: ReplayEntry, now: number): ResultAsync<ReplayVerdict, CtrlExecError<'file_failed'>>;
  /**
   * Begins an empty record that counts as complete: for a key that has just been made, nothing can have been signed
   * before. Called when an agent is paired.
   */
  begin(): ResultAsync<void, CtrlExecError<'file_failed'>>;
  /** Gives up what the process holds; the record stays. */
  close(): Promise<void>;
}

/** Live entries at most. */
export const replayCapacity = 262_144;
