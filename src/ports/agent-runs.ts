import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';

type StoreResult<T> = ResultAsync<T, CtrlExecError<'file_failed'>>;

/** A run as an agent remembers it, by the dispatcher that asked for it. */
export interface AgentRunKey {
  /** `dispatcher_id` of the caller. */
  readonly owner: string;
  readonly reqid: string;
}

/**
 * What is known of a run. `lost`: the agent went down while it ran. `answer` is the body that was answered, JSON;
 * undefined where it was dropped to make room.
 */
export type KnownRun =
  | { readonly state: 'running'; readonly script: string; readonly startedAt: number }
  | { readonly state: 'lost'; readonly script: string; readonly startedAt: number }
  | {
      readonly state: 'done';
      readonly script: string;
      readonly startedAt: number;
      readonly finishedAt: number;
      readonly answer: Uint8Array | undefined;
    };

/** What became of a `begin`: the run is the caller's to execute, or it is known already. */
export type RunClaim =
  | { readonly kind: 'begun' }
  | { readonly kind: 'known'; readonly run: KnownRun }
  /** No place for a further run, all are younger than they may be forgotten. */
  | { readonly kind: 'full' };

/**
 * The runs of an agent: what makes a request id run at most once (wire-protocol 2.3).
 *
 * Contract: of several `begin` for one key, concurrent or not, also across `kill -9` and restart, exactly one is `begun`, until the key
 * is forgotten by `purge`. What ran when the process ended is `lost` for the next one. Times are epoch milliseconds.
 * At most `agentRunCapacity` runs; answers are kept up to a limit of bytes in all, the oldest are dropped first and leave
 * their run `done` without an answer.
 */
export interface AgentRuns {
  /** Claims a run; whoever gets `begun` executes it. */
  begin(key: AgentRunKey, script: string, startedAt: number): StoreResult<RunClaim>;
  /** Keeps the answer of a run that has ended; durable when it returns Ok. */
  end(key: AgentRunKey, finishedAt: number, answer: Uint8Array): StoreResult<void>;
  /** Undefined: nobody began it, or it was forgotten. */
  find(key: AgentRunKey): StoreResult<KnownRun | undefined>;
  /** Forgets runs that began before this moment and are not running; returns how many. */
  purge(startedBefore: number): StoreResult<number>;
  /** Gives up what the process holds; what is kept stays. */
  close(): Promise<void>;
}

/** Runs that are remembered at most. */
export const agentRunCapacity = 262_144;
