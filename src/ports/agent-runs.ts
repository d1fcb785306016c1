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
 * What is known of a request id. `lost`: the agent went down while it ran. `answer` is the body that was answered, JSON;
 * undefined where it was dropped to make room. `void`: it was settled before it came, and is never run.
 */
export type KnownRun = VoidRun | ClaimedRun;

/** An id under which nothing was begun, and nothing will be. */
export interface VoidRun {
  readonly state: 'void';
}

/** A run that was claimed. */
export type ClaimedRun =
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
  /** No place for a further run of this owner, all are younger than they may be forgotten. */
  | { readonly kind: 'full' };

/** What became of a `settle`. */
export type SettledRun =
  | { readonly kind: 'known'; readonly run: ClaimedRun }
  /**
   * The id is entered, and was never begun if it was asked for within the last `completeFor` milliseconds: since then this
   * store has forgotten no claim of this owner.
   */
  | { readonly kind: 'void'; readonly completeFor: number }
  /** No place for a further void; nothing was entered. */
  | { readonly kind: 'full' };

/**
 * The runs of an agent: what makes a request id run at most once (wire-protocol 2.3).
 *
 * Contract: of several `begin` for one key, concurrent or not, also across `kill -9` and restart, exactly one is `begun`, until the key
 * is forgotten by `purge`. What ran when the process ended is `lost` for the next one. Times are epoch milliseconds.
 * At most `agentRunCapacity` ids, of which one owner has at most half, and `voidCapacity` voids; answers are kept up to a limit
 * of bytes in all, the oldest are dropped first and leave their run `done` without an answer.
 *
 * Of `begin` and `settle` for one key whichever is first decides: after `void` none is `begun` for `voidLife` milliseconds, also
 * across `kill -9` and restart, and after `begun` none is `void`. What `completeFor` counts is real time, whatever becomes of the
 * clock: it is never more than the age of the youngest claim that was forgotten or lost.
 */
export interface AgentRuns {
  /** Claims a run; whoever gets `begun` executes it. */
  begin(key: AgentRunKey, script: string, startedAt: number): StoreResult<RunClaim>;
  /** Asks how a run stands, and enters an id that nobody began: it is never begun. A void that is settled again counts anew. */
  settle(key: AgentRunKey): StoreResult<SettledRun>;
  /** Keeps the answer of a run that has ended; durable when it returns Ok. */
  end(key: AgentRunKey, finishedAt: number, answer: Uint8Array): StoreResult<void>;
  /** Undefined: nobody began it, or it was forgotten. */
  find(key: AgentRunKey): StoreResult<KnownRun | undefined>;
  /** Forgets runs that began before this moment and are not running, and voids that are old enough; returns how many. */
  purge(startedBefore: number): StoreResult<number>;
  /** Gives up what the process holds; what is kept stays. */
  close(): Promise<void>;
}

/** Runs and voids that are remembered at most. */
export const agentRunCapacity = 262_144;

/** Voids of one owner that are remembered at most. */
export const voidCapacity = 8192;

/** Milliseconds that a void is remembered at least: nobody accepts a request for longer (wire-protocol 2.3). */
export const voidLife = 600_000;
