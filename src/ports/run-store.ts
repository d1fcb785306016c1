import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { HostResult, HostState, RunRecord, Submission } from '../domain/runs/record.js';
import type { RunOutcome, RunSummary } from '../domain/runs/summary.js';

type StoreResult<T, Code extends CtrlExecError['code'] = never> = ResultAsync<
  T,
  CtrlExecError<'store_failed' | Code>
>;

/** A run as it begins. */
export type RunStart = Omit<RunRecord, 'args' | 'completedAt' | 'results' | 'states' | 'submissions'> & {
  readonly args: readonly string[];
};

/** What was learnt of single hosts, of a run in either mode. */
export interface RunNews {
  readonly results?: readonly HostResult[];
  readonly states?: readonly HostState[];
  /** Of an async run: what its caller was told of every host. Kept once. */
  readonly submissions?: readonly Submission[];
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

/** Which runs are listed: those that meet all that is given. */
export interface RunListing {
  /** Runs on one of these. */
  readonly hosts?: readonly string[];
  readonly script?: string;
  readonly username?: string;
  readonly outcome?: RunOutcome;
  /** Epoch milliseconds: started then or later. */
  readonly startedAfter?: number;
  /** Epoch milliseconds: started earlier. */
  readonly startedBefore?: number;
  /** Only what comes behind this run in the list, whether it is there (still) or not. */
  readonly behind?: Pick<RunRecord, 'startedAt' | 'reqid'>;
  readonly limit: number;
}

/**
 * Runs and their results. Tokens are not kept.
 *
 * Contract: a reqid is written once by `start` (again: `store_failed`); Ok is durable. What is known of a host as its end is
 * never replaced by `note`, whoever comes first of several processes. An idempotency key belongs to one run for as long as
 * that is kept, whichever of several processes comes first.
 */
export interface RunStore {
  /** False: another run has the idempotency key, and nothing was written. */
  start(run: RunStart): StoreResult<boolean>;
  /** Records the results of a sync run, one per host in the order of the hosts, and the end. Unknown reqid: `request_unknown`. */
  complete(
    reqid: string,
    results: readonly HostResult[],
    completedAt: number,
  ): StoreResult<void, 'request_unknown'>;
  /** Records what was learnt of single hosts; what is no host of the run is left out. Unknown reqid: `request_unknown`. */
  note(reqid: string, news: RunNews): StoreResult<void, 'request_unknown'>;
  /** The record of a run; undefined where there is none, or it was purged. */
  find(reqid: string): StoreResult<RunRecord | undefined>;
  /** The run that this key belongs to, while it is kept. */
  findByIdempotencyKey(key: string): StoreResult<RunRecord | undefined>;
  /** By start, the latest first; of one moment by reqid, the highest first. */
  list(listing: RunListing): StoreResult<readonly RunSummary[]>;
  /** Removes runs; returns how many. */
  purge(limits: PurgeLimits): StoreResult<number>;
}
