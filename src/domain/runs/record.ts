import type { HostResult } from './host-result.js';

/** `sync`: the dispatcher waits for the end. `async`: the agents run it by themselves. */
export type RunMode = 'sync' | 'async';

/** What makes a request one that is run once, however often it comes. */
export interface Idempotency {
  /** What the caller gave, behind a digest of the caller's name: printable ASCII characters. */
  readonly key: string;
  /** Digest of the caller's name and the reqid, lower-case hex. */
  readonly callerDigest: string;
  /**
   * HMAC of the token and the reqid, lower-case hex; without a token, of an empty one. Undefined: it was recorded by a version
   * that did not keep it; `callerDigest` is of the token as well then, where there was no name.
   */
  readonly tokenMac?: string;
}

/** One run over one or more hosts, as kept for `status`. */
export interface RunRecord {
  /** 16 lower-case hex digits. */
  readonly reqid: string;
  readonly script: string;
  /** Undefined: it was recorded by a version that did not keep them. */
  readonly args: readonly string[] | undefined;
  readonly mode: RunMode;
  /** The operating-system user who began it: `os:NAME` or `os:uid:1234`. Undefined: it was recorded by a version that did not keep it. */
  readonly principal: string | undefined;
  /** Who asked, as claimed to the hook. */
  readonly username: string;
  /** Where from, as claimed to the hook; empty where it is not known. */
  readonly sourceIp: string;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  /** Epoch milliseconds of when nothing more was to be learnt of any host; undefined before that. */
  readonly completedAt: number | undefined;
  /** Whether the process that has begun it lives and waits for its agents. */
  readonly underWay: boolean;
  /** One per host, in the order of the request. */
  readonly results: readonly HostResult[];
  /** The run whose failed hosts this one is for. */
  readonly retryOf?: string;
  readonly idempotency?: Idempotency;
}

export const hostsOf = ({ results }: Pick<RunRecord, 'results'>): readonly string[] =>
  results.map(({ host }) => host);
