import type { HostState } from '../../../domain/runs/host-result.js';

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
    /** `PairingPlace`. */
    place: 'compare' | 'join';
    place_key: string;
    place_until: number;
    /** The agent that it was issued for, while that has not been seen. */
    issued_name: string | null;
    stated_ip: string | null;
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
    username: string;
    /** Null: not kept by the version that wrote the row; so are `args`. */
    principal: string | null;
    /** Who waits for its agents; null: nobody any more. */
    session: string | null;
    started_at: number;
    completed_at: number | null;
    mode: 'sync' | 'async';
    source_ip: string;
    args: string | null;
    retry_of: string | null;
    idempotency_key: string | null;
    caller_digest: string | null;
    token_mac: string | null;
  };
  /** One row a host. It is a lock where it has begun and is not settled: of one host, script and slot there is one. */
  run_hosts: {
    reqid: string;
    position: number;
    host: string;
    script: string;
    state: HostState;
    begun_at: number | null;
    settled_at: number | null;
    seen_at: number | null;
    /** 1: something may still be learnt of it. */
    open: number;
    /** Which of the runs of this script that its agent allows at a time, from 0. */
    slot: number;
    /** The rest as JSON. */
    result: string;
  };
  revocations: {
    serial: string;
    name: string | null;
    revoked_at: number;
    not_after: number | null;
    /** The revision that it came with. */
    revision: number;
  };
  /** Keys that a person has revoked. */
  banned_keys: { spki_sha256: string; name: string; banned_at: number };
  /** Certificates without a pin. Those of pins that are deleted come here by a trigger. */
  issued_certificates: { serial: string; name: string; spki_sha256: string; not_after: number };
  /** One row. */
  revocation_revision: { id: number; revision: number };
  /** Exclusive work; `session` null: nobody does it. */
  mutexes: { name: string; session: string | null; pid: number; since: number; term: number };
}
