import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { JoinTokenRecord } from '../domain/pairing/join-token.js';

type StoreResult<T> = ResultAsync<T, CtrlExecError<'store_failed'>>;

/**
 * Join tokens that were issued: one host, one use.
 *
 * Contract: each call is one transaction and durable when it returns Ok; of two CSRs that bind at once exactly one wins.
 */
export interface JoinTokens {
  /** A second token with the same id is `store_failed`. */
  add(token: JoinTokenRecord): StoreResult<void>;
  /** The token, also where it has expired or is burnt: judging is the domain's. */
  find(id: string): StoreResult<JoinTokenRecord | undefined>;
  /** All that are kept, the oldest first; of one moment by id. */
  list(): StoreResult<readonly JoinTokenRecord[]>;
  /** Binds an unbound token to a CSR; whether the token is now bound to this very CSR. False for an unknown one. */
  bind(id: string, csrSha256: string): StoreResult<boolean>;
  /** Marks every bound token of this host as used; one that is burnt already keeps its moment. */
  burnBound(name: string, at: number): StoreResult<void>;
  /** Removes tokens that expired before this moment (epoch ms); returns how many. */
  purge(expiredBefore: number): StoreResult<number>;
}
