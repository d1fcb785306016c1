import { base64, fromBase64 } from '../core/bytes.js';
import type { CtrlExecError } from '../core/errors.js';

/**
 * How a run stands on one host. `waiting`: not begun. `queued`: kept for an agent that is away. `running`: begun, and its agent
 * said so within the last 15 minutes. `succeeded`: exit 0. `failed`: another exit, a signal, or its time was up. `refused`: the
 * agent did not begin it. `denied`: this side did not allow it. `unreachable`: proved not begun. `unknown`: it was sent, and no end
 * is known. `cancelled`: stopped. `expired`: not delivered in time. `lost`: the agent's host went down while it ran.
 * `skipped`: never begun.
 */
export const hostStates = [
  'waiting',
  'queued',
  'running',
  'succeeded',
  'failed',
  'refused',
  'denied',
  'unreachable',
  'unknown',
  'cancelled',
  'expired',
  'lost',
  'skipped',
] as const;
/** One of `hostStates`. */
export type HostState = (typeof hostStates)[number];

/** Bytes that JSON has as base64. */
export class Bytes extends Uint8Array {
  /** Base64. */
  toJSON(): string {
    return base64(this);
  }
}

/** What was not UTF-8 in an answer; undefined: that is no base64. */
export const bytesFrom = (text: string): Bytes | undefined => {
  const bytes = fromBase64(text);
  return bytes && new Bytes(bytes);
};

/** Processes of a script that live on; `count` is undefined where they cannot be counted. */
export interface LeftBehind {
  readonly count?: number;
  /** At most 100. */
  readonly pids: readonly number[];
}

/** What a script has written, and what it left. */
export interface HostOutput {
  /** Exit code of the script; -1: there is none. */
  readonly exit: number;
  /** UTF-8; what is not shows as U+FFFD, and then the exact bytes are in `stdoutBytes`. */
  readonly stdout: string;
  readonly stderr: string;
  readonly stdoutBytes?: Bytes;
  readonly stderrBytes?: Bytes;
  /** Bytes in all, for each stream that was cut. */
  readonly truncated?: { readonly stdout?: number; readonly stderr?: number };
  readonly leftBehind?: LeftBehind;
}

/** Of a host without a result of the script. */
export const noOutput = { exit: -1, stdout: '', stderr: '' } as const;

/** One host of a run: one type for runs that are waited for, submitted or followed. */
export interface HostResult extends HostOutput {
  /** The registry name, or the host argument as given. */
  readonly host: string;
  readonly script: string;
  /** 16 hex digits. */
  readonly reqid: string;
  readonly state: HostState;
  /** Epoch milliseconds: its lock was taken. */
  readonly begunAt?: number;
  /** Epoch milliseconds: its lock is free. */
  readonly settledAt?: number;
  /** Epoch milliseconds: the agent's last word about it. */
  readonly seenAt?: number;
  /** Why there is no exit code, or not all of it; one line for a person. */
  readonly error?: string;
  /** The same for a program: a code and its fields. */
  readonly failure?: CtrlExecError;
  /** How the agent names itself, when that differs. */
  readonly reportedHostname?: string;
  /** Of an answer that just came: since when the agent lacks a revocation, epoch milliseconds: it may accept what was revoked. Absent: it lacks none. */
  readonly revocationsPendingSince?: number;
  /** Round trip in whole milliseconds. */
  readonly rtt: number;
}

const begun: ReadonlySet<HostState> = new Set([
  'running',
  'succeeded',
  'failed',
  'unknown',
  'cancelled',
  'lost',
]);

/** False: it is proved that no script began on this host for this run. */
export const mayHaveRun = ({ state }: Pick<HostResult, 'state'>): boolean => begun.has(state);

const ends: ReadonlySet<HostState> = new Set([
  'succeeded',
  'failed',
  'refused',
  'denied',
  'unreachable',
  'cancelled',
  'expired',
  'lost',
  'skipped',
]);

/** Whether that is how it ended, for good. */
export const isEnd = ({ state }: Pick<HostResult, 'state'>): boolean => ends.has(state);

/** Whether something may still be learnt of a host. An agent that forgot a run, or was silent for a day, says no more. */
export const mayBeLearnt = ({
  state,
  settledAt,
  failure,
}: Pick<HostResult, 'state' | 'settledAt' | 'failure'>): boolean =>
  state === 'unknown' ? settledAt === undefined && failure?.code !== 'forgotten' : !ends.has(state);

/** What is kept of two things that were learnt of a host: an end is never taken back, and replaces what was not known. */
export const later = (known: HostResult, learnt: HostResult): HostResult => {
  if (isEnd(known)) return known;
  if (!isEnd(learnt) && known.settledAt !== undefined) return known;
  const times = {
    ...(known.begunAt !== undefined && { begunAt: known.begunAt }),
    ...(known.seenAt !== undefined && { seenAt: known.seenAt }),
    ...(known.settledAt !== undefined && { settledAt: known.settledAt }),
  };
  return { ...times, ...learnt, ...(known.begunAt !== undefined && { begunAt: known.begunAt }) };
};

/** Milliseconds after which an agent that has begun a script and says nothing counts as silent. */
export const silentAfter = 15 * 60_000;

/** Milliseconds for which an agent is expected to know a run, and after which a host without a sign is settled. */
export const knownFor = 86_400_000;

/** When something was last heard of a host that has begun, epoch milliseconds. */
export const lastSign = ({ seenAt, begunAt }: Pick<HostResult, 'seenAt' | 'begunAt'>): number =>
  Math.max(seenAt ?? 0, begunAt ?? 0);
