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
}

/** One run over one or more hosts, as kept for `status`. */
export interface RunRecord {
  /** 16 lower-case hex digits. */
  readonly reqid: string;
  readonly script: string;
  readonly hosts: readonly string[];
  /** Who asked, as claimed to the hook. */
  readonly username: string;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  /** Epoch milliseconds, undefined while it runs. */
  readonly completedAt: number | undefined;
  readonly results: readonly HostResult[];
}
