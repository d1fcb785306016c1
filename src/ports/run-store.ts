import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/errors.js';
import type { HostResult, HostState, RunRecord } from '../domain/run-record.js';

type StoreResult<T, Code extends CtrlExecError['code'] = never> = ResultAsync<
  T,
  CtrlExecError<'store_failed' | Code>
>;

/** What was learnt of single hosts, of a run in either mode. */
export interface RunNews {
  readonly results?: readonly HostResult[];
  readonly states?: readonly HostState[];
  /** Epoch milliseconds: nothing more is to be learnt of any host. Kept once. */
  readonly completedAt?: number;
}

/** Which runs are forgotten: both moments in epoch milliseconds. */
export interface PurgeLimits {
  /** Runs that had ended before this one. */
  readonly endedBefore: number;
  /** Runs that started before this one, ended or not. */
  readonly startedBefore: number;
}

/**
 * Runs and their results. Arguments and tokens are not kept.
 *
 * Contract: a reqid is written once by `start` (again: `store_failed`); Ok is durable. What is known of a host as its end is
 * never replaced by `note`, whoever comes first of several processes.
 */
export interface RunStore {
  start(
    run: Pick<RunRecord, 'reqid' | 'script' | 'hosts' | 'mode' | 'username' | 'sourceIp' | 'startedAt'>,
  ): StoreResult<void>;
  /** Records the results of a sync run, one per host in the order of the hosts, and the end. Unknown reqid: `request_unknown`. */
  complete(
    reqid: string,
    results: readonly HostResult[],
    completedAt: number,
  ): StoreResult<void, 'request_unknown'>;
  /** Records what was learnt of single hosts; what is no host of the run is left out. Unknown reqid: `request_unknown`. */
  note(reqid: string, news: RunNews): StoreResult<void, 'request_unknown'>;
  find(reqid: string): StoreResult<RunRecord | undefined>;
  /** Removes runs; returns how many. */
  purge(limits: PurgeLimits): StoreResult<number>;
}
