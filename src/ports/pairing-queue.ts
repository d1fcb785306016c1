import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { PairingDecision, PairingRequest, PairingState } from '../domain/pairing/request.js';

type StoreResult<T, Code extends CtrlExecError['code'] = never> = ResultAsync<
  T,
  CtrlExecError<'store_failed' | Code>
>;

/**
 * Pairing requests, shared by the process in pairing mode and every terminal that decides on them.
 *
 * Contract: each call is one transaction and durable when it returns Ok; a decision is taken once. Lists are sorted by
 * `createdAt`, then id.
 */
export interface PairingQueue {
  /** Adds a request; an id is used once (again: `store_failed`). */
  add(request: PairingRequest): StoreResult<void>;
  /** The request with this id, in whatever state. */
  find(id: string): StoreResult<PairingRequest | undefined>;
  /** Those in one of these states. */
  list(states: readonly PairingState[]): StoreResult<readonly PairingRequest[]>;
  /** Moves a request on; `code` is set with state `open`. */
  advance(
    id: string,
    state: PairingState,
    change?: { readonly code?: string },
  ): StoreResult<PairingRequest, 'pairing_unknown'>;
  /**
   * Records what an operator decided (a denial sets the state `denied` as well), if the request is `open`, undecided and not expired at `now` (epoch ms); else
   * `not_ready` with its state (`decided` when somebody was faster).
   */
  decide(
    id: string,
    decision: PairingDecision,
    now: number,
  ): StoreResult<PairingRequest, 'pairing_unknown' | 'not_ready'>;
  /** Sets `started` and `open` requests to `expired`: all of them, or those whose `expiresAt` has passed. */
  expire(before?: number): StoreResult<number>;
  /** Removes ended requests created before this moment (epoch ms). */
  purge(createdBefore: number): StoreResult<number>;
}
