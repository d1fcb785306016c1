import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';

type StoreResult<T> = ResultAsync<T, CtrlExecError<'store_failed'>>;

/** A certificate that is not to be accepted any more. */
export interface Revocation {
  /** Canonical serial. */
  readonly serial: string;
  /** The agent or dispatcher that it was issued to, where that is known. */
  readonly name: string | undefined;
  /** Epoch milliseconds. */
  readonly revokedAt: number;
}

/**
 * What this dispatcher has revoked. `revision` counts the changes, from 0, and is the number of the revocation lists that
 * are made from them: nothing else needs to be kept of a list.
 *
 * Contract: `add` is one transaction; serials that are there already keep what they have, and where all are, the
 * revision stays. Entries are sorted by serial. Ok survives a power cut.
 */
export interface Revocations {
  /** Everything that was revoked, and the revision that this is. */
  current(): StoreResult<{ readonly revision: number; readonly entries: readonly Revocation[] }>;
  /** The number of the list that would be made now; 0: none was needed yet. */
  revision(): StoreResult<number>;
  /** Whether this serial was revoked. */
  has(serial: string): StoreResult<boolean>;
  /** Makes the revision at least this: an agent holds a list of that number, of before a backup was restored. */
  raise(revision: number): StoreResult<{ readonly revision: number }>;
  /** Adds revocations; the revision moves by one where any is new. */
  add(entries: readonly Revocation[]): StoreResult<{ readonly revision: number }>;
}
