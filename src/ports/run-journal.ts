import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { RunResult } from '../domain/protocol/run-messages.js';

type JournalResult<T> = ResultAsync<T, CtrlExecError<'file_failed'>>;

/** A run as an agent remembers it, by the dispatcher that asked for it. */
export interface AgentRunKey {
  /** `dispatcher_id` of the caller. */
  readonly owner: string;
  readonly reqid: string;
}

/** A signed request that must not be accepted again. */
export interface ClaimedNonce {
  /** As in the signature's parameters. */
  readonly keyid: string;
  readonly nonce: string;
  /** Epoch milliseconds until which the request itself would still be accepted; afterwards it may be forgotten. */
  readonly until: number;
}

/** What is claimed in one step: that a request is accepted, that a run begins, or both. */
export interface NewClaim {
  readonly nonce?: ClaimedNonce;
  readonly run?: AgentRunKey & {
    /** Name in the allowlist. */
    readonly script: string;
  };
}

/** What is known of a request id. `void`: it was settled before it came, and is never run. */
export type KnownRun = { readonly state: 'void' } | ClaimedRun;

/** A run that was claimed. `lost`: the agent went down while it ran. Times are epoch milliseconds. */
export type ClaimedRun =
  | { readonly state: 'running'; readonly script: string; readonly startedAt: number }
  | { readonly state: 'lost'; readonly script: string; readonly startedAt: number }
  | {
      readonly state: 'done';
      readonly script: string;
      readonly startedAt: number;
      readonly finishedAt: number;
      /** Undefined: it is not kept here, because it was dropped to make room or is kept among the jobs. */
      readonly result: RunResult | undefined;
    };

/** What became of a claim. `begun`: all of it was entered, and the run is the caller's to execute. */
export type RunClaim =
  | { readonly kind: 'begun' }
  /** The run was claimed, or made void, before. The nonce was entered. */
  | { readonly kind: 'known'; readonly run: KnownRun }
  /** The request was accepted before, or has ended. Nothing was entered. */
  | { readonly kind: 'replayed' }
  /** No place: `requests`: nothing was entered; `runs`: the nonce was, the run was not. */
  | { readonly kind: 'full'; readonly of: 'requests' | 'runs' };

/** What became of a `settle`. */
export type SettledRun =
  | { readonly kind: 'known'; readonly run: ClaimedRun }
  /**
   * The id is entered, and was never begun if it was asked for within the last `completeFor` milliseconds: since then the
   * journal has forgotten no claim of this owner.
   */
  | { readonly kind: 'void'; readonly completeFor: number }
  /** No place for a further void; nothing was entered. */
  | { readonly kind: 'full' };

/**
 * The journal of an agent: which requests it has accepted, and which runs it has begun and how they ended. It makes a request
 * be accepted once, and a request id run at most once (wire-protocol 2.3).
 *
 * Contract: what `claim` has answered survives the process. All of one claim is entered in one step.
 *
 * Nonces: of several claims with the same keyid and nonce, concurrent or not, also across `kill -9` and restart, one is not
 * `replayed`, as long as `until` has not passed. At most `nonceCapacity` live ones, of which one keyid has at most a quarter,
 * those of earlier processes included; a live one is never dropped for another.
 *
 * Runs: of several claims of one run exactly one is `begun`, also across `kill -9` and restart, until it is forgotten by
 * `purge`. What ran when the process ended is `lost` for the next one. At most `agentRunCapacity` ids, of which one owner has at
 * most half, and `voidCapacity` voids; results are kept up to a limit of bytes in all, the oldest are dropped first and leave
 * their run `done` without one.
 *
 * Of a claim and a `settle` of one run whichever is first decides: after `void` none is `begun` for `voidLife` milliseconds,
 * also across `kill -9` and restart, and after `begun` none is `void`. What `completeFor` counts is real time, whatever becomes
 * of the clock: it is never more than the age of the youngest claim that was forgotten or lost.
 */
export interface RunJournal {
  /**
   * Whether every live nonce of earlier processes is known. False after a reboot and where the journal was missing or
   * damaged: requests made before this process began must then be refused, for they may have been accepted.
   */
  complete(): JournalResult<boolean>;
  /** Forgets all nonces, and is complete: for a key that has just been made, nothing can have been signed before. */
  begin(): JournalResult<void>;
  /**
   * Enters a request that is about to be accepted, a run that is about to be executed, or both.
   * @param now epoch milliseconds
   */
  claim(claim: NewClaim, now: number): JournalResult<RunClaim>;
  /** Asks how a run stands, and enters an id that nobody began: it is never begun. A void that is settled again counts anew. */
  settle(key: AgentRunKey): JournalResult<SettledRun>;
  /**
   * Records that a run has ended; durable when it returns Ok.
   * @param result undefined: it is not to be kept here
   */
  end(key: AgentRunKey, finishedAt: number, result: RunResult | undefined): JournalResult<void>;
  /** Undefined: nobody began it, or it was forgotten. */
  find(key: AgentRunKey): JournalResult<KnownRun | undefined>;
  /** Forgets runs that began before this moment and are not running, and voids that are old enough; returns how many. */
  purge(startedBefore: number): JournalResult<number>;
  /** Gives up what the process holds; what is kept stays. */
  close(): Promise<void>;
}

/** Live nonces at most. */
export const nonceCapacity = 262_144;

/** Runs and voids that are remembered at most. */
export const agentRunCapacity = 262_144;

/** Voids of one owner that are remembered at most. */
export const voidCapacity = 8192;

/** Milliseconds that a void is remembered at least: nobody accepts a request for longer (wire-protocol 2.3). */
export const voidLife = 600_000;
