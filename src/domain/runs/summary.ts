import { type HostState, hostStates } from './host-result.js';
import type { RunMode, RunRecord } from './record.js';

/**
 * How a run stands as a whole. `running`: it may run on some host. `unknown`: it runs nowhere that is known, and the end of some
 * host is not known. `succeeded`: exit 0 on every host. `failed`: all else.
 */
export type RunOutcome = 'running' | 'unknown' | 'succeeded' | 'failed';

/** Hosts in each state; states without any are left out. */
export type HostCounts = Readonly<Partial<Record<HostState, number>>>;

/** A run in a list: without arguments and output. */
export interface RunSummary {
  /** 16 lower-case hex digits. */
  readonly reqid: string;
  readonly script: string;
  readonly hosts: readonly string[];
  readonly mode: RunMode;
  /** The operating-system user who began it: `os:NAME` or `os:uid:1234`; undefined where it was not kept. */
  readonly principal: string | undefined;
  /** Who asked, as claimed to the hook. */
  readonly username: string;
  /** Where from, as claimed to the hook; empty where it is not known. */
  readonly sourceIp: string;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  /** Epoch milliseconds. */
  readonly completedAt?: number;
  readonly outcome: RunOutcome;
  readonly counts: HostCounts;
  /** Hosts on which it did not succeed, as far as that is known, in the order of the hosts. */
  readonly failed: readonly string[];
  /** The run whose failed hosts it is for. */
  readonly retryOf?: string;
}

const open: ReadonlySet<HostState> = new Set(['waiting', 'queued', 'running']);
const undecided: ReadonlySet<HostState> = new Set([...open, 'unknown', 'succeeded']);

/** What a run amounts to. */
export function outcomeOf(states: readonly HostState[]): RunOutcome {
  if (states.some((state) => open.has(state))) return 'running';
  if (states.includes('unknown')) return 'unknown';
  return states.every((state) => state === 'succeeded') ? 'succeeded' : 'failed';
}

/** Whether the script ended with 0 on every host. */
export const allSucceeded = (results: readonly { readonly state: HostState }[]): boolean =>
  results.every(({ state }) => state === 'succeeded');

/** The hosts on which it did not, or not yet. */
export const unsuccessful = (
  results: readonly { readonly host: string; readonly state: HostState }[],
): readonly string[] => results.filter(({ state }) => state !== 'succeeded').map(({ host }) => host);

function countsOf(states: readonly HostState[]): HostCounts {
  const counts: Partial<Record<HostState, number>> = {};
  for (const state of hostStates) {
    const count = states.filter((each) => each === state).length;
    if (count > 0) counts[state] = count;
  }
  return counts;
}

/** @param hosts with the state that each is in, in the order of the hosts */
export function summaryOf(
  record: Omit<RunRecord, 'args' | 'results' | 'underWay' | 'idempotency'>,
  hosts: readonly { readonly host: string; readonly state: HostState }[],
): RunSummary {
  const { reqid, script, mode, principal, username, sourceIp, startedAt, completedAt, retryOf } = record;
  const states = hosts.map(({ state }) => state);
  return {
    ...{ reqid, script, mode, principal, username, sourceIp, startedAt },
    hosts: hosts.map(({ host }) => host),
    ...(completedAt !== undefined && { completedAt }),
    outcome: outcomeOf(states),
    counts: countsOf(states),
    failed: hosts.filter(({ state }) => !undecided.has(state)).map(({ host }) => host),
    ...(retryOf && { retryOf }),
  };
}
