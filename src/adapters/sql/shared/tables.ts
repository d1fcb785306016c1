import type { Verdict } from '../../../domain/runs/summary.js';

/** The tables as they are written; what is read back is checked with a `Guard`. */
export interface Tables {
  agents: {
    name: string;
    endpoint: string;
    pairing: string;
    paired_at: number;
    tags: string;
    standing: string;
    /** 1: taken over, and not seen yet. */
    adopted: number;
  };
  pins: {
    name: string;
    state: 'active' | 'issued';
    /** 1: an issued one that came of a renewal. A name has at most one of each combination. */
    renewal: number;
    spki_sha256: string;
    serial: string;
    not_after: number;
    issued_at: number;
    endpoint: string | null;
    pairing: string;
    standing: string | null;
  };
  /** Names that were registered, and are so no more; how they had paired at last. */
  former_names: { name: string; pairing: string };
  pairing_requests: {
    id: string;
    state: string;
    host: string;
    ip: string;
    port: number;
    lookup_by: string;
    code: string | null;
    version: string;
    decision: string | null;
    created_at: number;
    expires_at: number;
  };
  join_tokens: {
    id: string;
    name: string;
    key: string;
    bound_to: string | null;
    created_at: number;
    expires_at: number;
    burnt_at: number | null;
  };
  runs: {
    reqid: string;
    script: string;
    hosts: string;
    username: string;
    started_at: number;
    completed_at: number | null;
    mode: 'sync' | 'async';
    source_ip: string;
    /** Null: not kept by the version that wrote the row. */
    args: string | null;
    submissions: string | null;
    retry_of: string | null;
    idempotency_key: string | null;
    caller_digest: string | null;
  };
  /** One row a host, `position` being its place among the hosts; `result` is what the mode of the run says. */
  run_results: {
    reqid: string;
    position: number;
    result: string;
    /** What `result` says of the end, as `verdictOf` reads it, so that lists need not look into results. */
    verdict: Verdict | null;
  };
  revocations: { serial: string; name: string | null; revoked_at: number };
  /** One row. */
  revocation_revision: { id: number; revision: number };
  locks: { host: string; script: string; reqid: string; owner: string; pid: number; since: number };
}
