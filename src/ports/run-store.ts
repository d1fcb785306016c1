import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError, Lock } from '../domain/core/errors.js';
import type { HostResult, HostState } from '../domain/runs/host-result.js';
import type { RunRecord } from '../domain/runs/record.js';
import type { RunSummary } from '../domain/runs/summary.js';

type StoreResult<T, Code extends CtrlExecError['code'] = never> = ResultAsync<
  T,
  CtrlExecError<'store_failed' | Code>
>;

/** A host of a run that begins. */
export interface HostStart {
  /** The registry name, else the argument as it was given. */
  readonly host: string;
  /** Runs of the script that the agent allows at a time, this one included. Default 1. */
  readonly concurrency?: number;
}

/** A run as it begins; a host that is named twice counts once. */
export interface RunStart extends Omit<RunRecord, 'args' | 'completedAt' | 'results' | 'underWay'> {
  readonly args: readonly string[];
  readonly principal: string;
  readonly hosts: readonly HostStart[];
}

/** What became of a `begin`. */
export type RunBegin =
  | { readonly kind: 'begun' }
  /** There is a run with this idempotency key, or this very id. Nothing was written. */
  | { readonly kind: 'repeated'; readonly run: RunRecord }
  /** Locks are in the way, sorted by host. Nothing was written. */
  | { readonly kind: 'locked'; readonly conflicts: readonly Lock[] };

/** Which runs are forgotten; all moments in epoch milliseconds. */
export interface PurgeLimits {
  /** Runs that had ended before this one. */
  readonly endedBefore: number;
  /** Runs that started before this one, ended or not. */
  readonly startedBefore: number;
  /** Locks without a sign since this one keep no run. */
  readonly silentBefore: number;
}

/** Which runs are listed: those that meet all that is given. */
export interface RunListing {
  /** Runs on one of these. */
  readonly hosts?: readonly string[];
  readonly script?: string;
  readonly username?: string;
  /** Runs of which a host is in this state at `now`. */
  readonly state?: HostState;
  /** Runs that may still be learnt something of. */
  readonly open?: true;
  /** Epoch milliseconds: started then or later. */
  readonly startedAfter?: number;
  /** Epoch milliseconds: started earlier. */
  readonly startedBefore?: number;
  /** Only what comes behind this run in the list, whether it is there (still) or not. */
  readonly behind?: Pick<RunRecord, 'startedAt' | 'reqid'>;
  /** Epoch milliseconds: states are as `asOf` has them. */
  readonly now: number;
  readonly limit: number;
}

/**
 * Runs, their hosts, and the locks that these are. Tokens are not kept.
 *
 * Contract: a lock is a host that has begun and is not settled; it belongs to its run and to no process, and outlives both. `begin`
 * takes all locks of a run or none, whichever of several processes comes first, never waits, and begins one run per
 * idempotency key as long as that is kept. A host without a sign for `knownFor` whose process does not wait is in nobody's way.
 * `settle` keeps what `later` says of each host, so an end is never taken back. A run is under way as long as the process that
 * began it lives, however it dies (also `kill -9`), and has not said that it waits no longer. Ok is durable.
 */
export interface RunStore {
  /** Records a run whose hosts are all `running`, and takes its locks. @param now epoch milliseconds */
  begin(run: RunStart, now: number): StoreResult<RunBegin>;
  /**
   * Records what was learnt of hosts; what is no host of the run is left out. The run has ended (`completedAt`) once nothing
   * more is to be learnt of any host. Unknown reqid: `run_unknown`.
   * @param left nobody waits for its agents any more
   */
  settle(
    reqid: string,
    hosts: readonly HostResult[],
    now: number,
    left?: 'left',
  ): StoreResult<void, 'run_unknown'>;
  /** Locks, sorted by host, then script. */
  locks(now: number): StoreResult<readonly Lock[]>;
  /**
   * Settles whatever is not settled on this host, of this script or of all, as it stands; a `running` one is `unknown` then.
   * Returns the locks that were freed.
   */
  release(host: string, script: string | undefined, now: number): StoreResult<readonly Lock[]>;
  /** The record of a run; undefined where there is none, or it was purged. */
  find(reqid: string): StoreResult<RunRecord | undefined>;
  /** Ids of runs that begin with this text of letters, digits, `_` and `-`, sorted, ten at most. */
  idsWith(prefix: string): StoreResult<readonly string[]>;
  /** The run that this key belongs to, while it is kept. */
  findByIdempotencyKey(key: string): StoreResult<RunRecord | undefined>;
  /** By start, the latest first; of one moment by reqid, the highest first. */
  list(listing: RunListing): StoreResult<readonly RunSummary[]>;
  /** Removes runs, but none that is under way or has a lock; returns how many. */
  purge(limits: PurgeLimits): StoreResult<number>;
}
