/** What one host answered to a run, or why it did not. `exit` is -1 when there is no result of the script itself. */
export interface HostResult {
  /** The registry name, or the host argument as given. */
  readonly host: string;
  readonly script: string;
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Why `exit` is -1 or 126. */
  readonly error?: string;
  /** Bytes in all, for each stream that was cut. */
  readonly truncated?: { readonly stdout?: number; readonly stderr?: number };
  /** How the agent names itself, when that differs. */
  readonly reportedHostname?: string;
  /** Round trip in whole milliseconds. */
  readonly rtt: number;
  readonly reqid: string;
  /** Nothing was heard of the end: the script may run, or have run, and its agent can still be asked. */
  readonly unheard?: true;
}

/**
 * How an async run stands on one host. `accepted`: its agent was not asked since. `expired`: its agent does not know it any
 * more. `lost`: the machine went down while it ran. `busy`, `error`: it was not begun there.
 */
export type HostStatus =
  | 'accepted'
  | 'running'
  | 'done'
  | 'expired'
  | 'busy'
  | 'error'
  | 'cancelled'
  | 'lost';

/** What is known of an async run on one host. */
export interface HostState {
  /** The registry name, or the host argument as given. */
  readonly host: string;
  readonly status: HostStatus;
  /** Of the script, where it has ended or was cancelled; likewise what follows. */
  readonly exit?: number;
  readonly stdout?: string;
  readonly stderr?: string;
  readonly truncated?: HostResult['truncated'];
  /** Why it is `busy`, `error` or `lost`, or what its agent says about the end. */
  readonly error?: string;
  /** Nothing was heard of the submission (`error`): it may have been accepted, and its agent can be asked. */
  readonly unheard?: true;
}

/** `sync`: the dispatcher waits for the end. `async`: the agents run it by themselves. */
export type RunMode = 'sync' | 'async';

/** How one host took a submission. */
export interface Submission {
  /** The registry name, or the host argument as given. */
  readonly host: string;
  /** `busy`: the script still runs there. `error`: it was not begun, or nobody knows; `status` asks. */
  readonly status: 'accepted' | 'busy' | 'error';
  readonly error?: string;
  /** Round trip in whole milliseconds. */
  readonly rtt: number;
  readonly reqid: string;
}

/** What makes a request one that is run once, however often it comes. */
export interface Idempotency {
  /** What the caller gave, behind a digest of the caller's name: printable ASCII characters. */
  readonly key: string;
  /** Digest of the caller's name, or of the token where there is no name, together with the reqid, lower-case hex: the token itself is not kept. */
  readonly callerDigest: string;
}

/** One run over one or more hosts, as kept for `status`. */
export interface RunRecord {
  /** 16 lower-case hex digits. */
  readonly reqid: string;
  readonly script: string;
  readonly hosts: readonly string[];
  /** Undefined: it was recorded by a version that did not keep them. */
  readonly args: readonly string[] | undefined;
  readonly mode: RunMode;
  /** Who asked, as claimed to the hook. */
  readonly username: string;
  /** Where from, as claimed to the hook; empty where it is not known. */
  readonly sourceIp: string;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  /** Epoch milliseconds, undefined while it runs; of an async run when every host was known to be settled. */
  readonly completedAt: number | undefined;
  /** Of a sync run, in the order of the hosts. */
  readonly results: readonly HostResult[];
  /** Of an async run, in the order of the hosts; without those of which nothing was noted yet. */
  readonly states: readonly HostState[];
  /** Of an async run, in the order of the hosts, once every host has answered: what the caller was told. */
  readonly submissions?: readonly Submission[];
  /** The run whose failed hosts this one is for. */
  readonly retryOf?: string;
  readonly idempotency?: Idempotency;
}

/** Whether nothing more is to be learnt of a host. */
export const isSettled = ({ status, unheard }: HostState): boolean =>
  !unheard && status !== 'accepted' && status !== 'running';

/** What is to be kept of two things that were learnt of a host: an end is never taken back. */
export const laterState = (known: HostState | undefined, learnt: HostState): HostState =>
  known && isSettled(known) ? known : learnt;

/** Likewise of a sync run, whose end may be heard later. */
export const laterResult = (known: HostResult | undefined, learnt: HostResult): HostResult =>
  known && !known.unheard ? known : learnt;
