import { type HostResult, type HostState, isSettled, type RunMode, type RunRecord } from './record.js';

/**
 * `running`: its end is not known yet, on some host at least. `failed`: it has ended, and not with exit 0 on every host.
 */
export type RunOutcome = 'running' | 'succeeded' | 'failed';

/** A run in a list: without arguments and output. */
export interface RunSummary {
  /** 16 lower-case hex digits. */
  readonly reqid: string;
  readonly script: string;
  readonly hosts: readonly string[];
  readonly mode: RunMode;
  /** Who asked, as claimed to the hook. */
  readonly username: string;
  /** Where from, as claimed to the hook; empty where it is not known. */
  readonly sourceIp: string;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  /** Epoch milliseconds. */
  readonly completedAt?: number;
  readonly outcome: RunOutcome;
  /** Hosts on which it failed, in the order of the hosts; while it runs, as far as that is known. */
  readonly failed: readonly string[];
  /** The run whose failed hosts it is for. */
  readonly retryOf?: string;
}

export type Verdict = 'succeeded' | 'failed';

/** How a run ended on one host; undefined: that is not known. */
export function verdictOf(entry: HostResult | HostState): Verdict | undefined {
  const settled = 'status' in entry ? isSettled(entry) : !entry.unheard;
  if (!settled) return undefined;
  const done = !('status' in entry) || entry.status === 'done';
  return done && entry.exit === 0 ? 'succeeded' : 'failed';
}

/** @param verdicts by host, as far as there are any */
export function summaryOf(
  record: Omit<RunRecord, 'args' | 'results' | 'states'>,
  verdicts: ReadonlyMap<string, Verdict | undefined>,
): RunSummary {
  const { reqid, script, hosts, mode, username, sourceIp, startedAt, completedAt, retryOf } = record;
  const ended = completedAt !== undefined;
  const failed = hosts.filter((host) => {
    const verdict = verdicts.get(host);
    return ended ? verdict !== 'succeeded' : verdict === 'failed';
  });
  const outcome = !ended ? 'running' : failed.length > 0 ? 'failed' : 'succeeded';
  const asked = { reqid, script, hosts, mode, username, sourceIp, startedAt };
  return { ...asked, ...(ended && { completedAt }), outcome, failed, ...(retryOf && { retryOf }) };
}
