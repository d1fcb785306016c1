import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/errors.js';
import type { HostResult, RunRecord } from '../domain/run-record.js';

type StoreResult<T, Code extends CtrlExecError['code'] = never> = ResultAsync<
  T,
  CtrlExecError<'store_failed' | Code>
>;

/**
 * Runs and their results. Arguments and tokens are not kept.
 *
 * Contract: a reqid is written once by `start` (again: `store_failed`); Ok is durable.
 */
export interface RunStore {
  start(run: Pick<RunRecord, 'reqid' | 'script' | 'hosts' | 'username' | 'startedAt'>): StoreResult<void>;
  /** Records the results and the end. Unknown reqid: `request_unknown`. */
  complete(
    reqid: string,
    results: readonly HostResult[],
    completedAt: number,
  ): StoreResult<void, 'request_unknown'>;
  find(reqid: string): StoreResult<RunRecord | undefined>;
  /** Removes runs that started before this moment (epoch ms); returns how many. */
  purge(startedBefore: number): StoreResult<number>;
}
