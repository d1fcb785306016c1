import { type HostResult, type HostState, mayHaveRun } from './host-result.js';

/** How an async run stands on one host, in the words of legacy callers. */
export const hostStatuses = [
  'accepted',
  'running',
  'done',
  'expired',
  'busy',
  'error',
  'cancelled',
  'lost',
] as const;
export type HostStatus = (typeof hostStatuses)[number];

interface Words {
  /** In the line of a host. */
  readonly text: 'OK' | 'FAIL' | 'RUNNING' | 'QUEUED' | 'UNKNOWN';
  readonly status: HostStatus;
}

/** Every state in the words that texts, JSON and the status of async runs have for it. */
const words: Readonly<Record<HostState, Words>> = {
  waiting: { text: 'QUEUED', status: 'accepted' },
  queued: { text: 'QUEUED', status: 'accepted' },
  running: { text: 'RUNNING', status: 'running' },
  succeeded: { text: 'OK', status: 'done' },
  failed: { text: 'FAIL', status: 'done' },
  refused: { text: 'FAIL', status: 'error' },
  denied: { text: 'FAIL', status: 'error' },
  unreachable: { text: 'FAIL', status: 'error' },
  unknown: { text: 'UNKNOWN', status: 'error' },
  cancelled: { text: 'FAIL', status: 'cancelled' },
  expired: { text: 'FAIL', status: 'error' },
  lost: { text: 'FAIL', status: 'lost' },
  skipped: { text: 'FAIL', status: 'error' },
};

export const textOf = ({ state }: Pick<HostResult, 'state'>): Words['text'] => words[state].text;

export function statusOf({ state, failure }: Pick<HostResult, 'state' | 'failure'>): HostStatus {
  if (failure?.code === 'busy') return 'busy';
  if (state === 'unknown' && failure?.code === 'forgotten') return 'expired';
  return words[state].status;
}

/** The exit code that legacy callers are told: that of the script where it ended by itself, else -1. */
export const exitOf = ({ state, exit }: Pick<HostResult, 'state' | 'exit'>): number =>
  state === 'succeeded' || state === 'failed' ? exit : -1;

/** How one host took a submission. */
export interface Submission {
  /** The registry name, or the host argument as given. */
  readonly host: string;
  readonly state: HostState;
  /** `busy`: the script still runs there. `error`: it was not begun, or nobody knows; `status` asks. */
  readonly status: 'accepted' | 'busy' | 'error';
  readonly error?: string;
  /** Since when the agent lacks a revocation, epoch milliseconds: it may accept what was revoked. Absent: it lacks none. */
  readonly revocationsPendingSince?: number;
  /** Round trip in whole milliseconds. */
  readonly rtt: number;
  readonly reqid: string;
}

/** Whether every host has taken it. */
export const allAccepted = (submissions: readonly Pick<Submission, 'status'>[]): boolean =>
  submissions.every(({ status }) => status === 'accepted');

/** As an agent said at the submission, as far as that can be told from how it stands now. */
export function submissionOf(result: HostResult): Submission {
  const { host, state, error, seenAt, rtt, reqid, revocationsPendingSince: since } = result;
  const accepted = mayHaveRun(result) && (state !== 'unknown' || seenAt !== undefined);
  const said = accepted ? 'accepted' : statusOf(result) === 'busy' ? 'busy' : 'error';
  return {
    ...{ host, state, status: said, rtt, reqid },
    ...(!accepted && error !== undefined && { error }),
    ...(since !== undefined && { revocationsPendingSince: since }),
  };
}
