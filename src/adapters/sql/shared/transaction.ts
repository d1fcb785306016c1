import type { Compilable, Expression, Kysely, SqlBool } from 'kysely';
import type { Result, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import type { Guard } from './shape.js';
import type { Tables } from './tables.js';

export type StoreFailed = CtrlExecError<'store_failed'>;

/** Makes the error for something that this adapter itself found wrong. */
export const storeFailed = (operation: string, reason: string, message: string): StoreFailed =>
  failure('store_failed', message, { operation, reason });

/** What a unit of work may do. Synchronous on purpose: nothing else of this process comes in between. */
export interface Transaction {
  /** Builds statements; they run when they are handed to `rows` or `change`. */
  readonly query: Kysely<Tables>;
  /** Reads; `json` names the columns that hold JSON. A row that is not what it should be is `store_failed`. */
  rows<T>(
    statement: Compilable,
    guard: Guard<T>,
    json?: readonly string[],
  ): Result<readonly T[], StoreFailed>;
  /** Condition: the JSON object in this column has each of these members, with just this text. */
  holds(column: 'tags' | 'standing', members: Readonly<Record<string, string>>): Expression<SqlBool>;
  /** Writes; how many rows it touched. */
  change(statement: Compilable): Result<number, StoreFailed>;
  /** The error for rows that are each well formed but do not fit together. */
  damaged(): StoreFailed;
}

export type Work<T, E> = (tx: Transaction) => Result<T, E>;

/** One connection to the file. An Err from the work rolls back; contention is waited out, for `patience` at most. */
export interface Database {
  /** Sees one state of the file throughout. */
  read<T, E>(operation: string, work: Work<T, E>): ResultAsync<T, E | StoreFailed>;
  /** Excludes every other writer; durable when it returns Ok. The work is run again after contention. */
  write<T, E>(operation: string, work: Work<T, E>): ResultAsync<T, E | StoreFailed>;
  close(): void;
}
