import type { Result } from 'neverthrow';
import type { StoreFailed, Transaction } from './transaction.js';

/** One opening of the store by one process: what it does not leave behind in order ends with it, however it dies. */
export interface Sessions {
  /** The id of this one, which comes to life with the first call. Within a writing transaction. */
  own(tx: Transaction): Result<string, StoreFailed>;
  isAlive(id: string): Result<boolean, StoreFailed>;
}
