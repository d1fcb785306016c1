/** What a TLS handshake with the target showed; fingerprints are SHA-256 of the leaf, lower-case hex. */
export interface Verification {
  /** `host:port`, as configured. */
  readonly endpoint: string;
  readonly expectedFingerprint: string;
  /** Empty when no handshake came about. */
  readonly actualFingerprint: string;
  readonly verified: boolean;
  /** One word: `refused`, `timeout`, `tls`, `unreachable`, `mismatch`; `stopped`: the agent was to end before it was known. */
  readonly error?: string;
  /** What happened, for the log of this host only. */
  readonly detail?: string;
}

/** A script on a host that has begun and is not settled: it is not begun there a second time. */
export interface Lock {
  /** The registry name, or the host argument as given. */
  readonly host: string;
  readonly script: string;
  /** The run that it is of. */
  readonly runId: string;
  readonly since: Date;
}

/** Each code with the fields that go with it, besides `code` and `message`. */
export interface ErrorFields {
  /** An argument of a call or a command. */
  invalid_argument: { field: string; reason: string };
  /** A configuration file, `line` 1-based, absent when the whole file is meant. */
  config_invalid: { file: string; line?: number; reason: string };
  /**
   * A file or directory that could not be read, written or found; `reason` is the system's (`ENOENT`, `ENOSPC`, …). With the operation
   * `trust`: another account can change it; `reason` says what heals that.
   */
  file_failed: { path: string; operation: string; reason: string };
  /** The store could not be opened, read or written. */
  store_failed: { operation: string; reason: string };
  /** There is a CA, or part of one, at `path`: it is never overwritten. */
  ca_exists: { path: string };
  /** There is no CA here: `setupCa` was not called. */
  ca_missing: Record<never, never>;
  /** This host has no identity yet: `setup` was not called, or the agent is not paired. */
  identity_missing: { role: 'dispatcher' | 'agent' };
  /** There is an identity, and `replace` is not set. */
  identity_exists: { reason: string };
  /** Key material, a certificate or a CSR that cannot be used. */
  certificate_invalid: { field: string; reason: string };
  /** Key material could not be made or used. */
  crypto_failed: { operation: string; reason: string };
  /** No agent is registered by this name. */
  agent_unknown: { name: string };
  /** The name, or the key, belongs to the agent `name` already. */
  agent_exists: { name: string };
  /** A person has revoked this key, which was the one of the agent `name`: it is pinned for nobody until `unban`. */
  key_banned: { spkiSha256: string; name: string };
  /** Pairing version 1 for a name that paired by version 2 before. */
  downgrade_refused: { name: string };
  /** An agent whose key is not known yet answers with a certificate that does not name it. `found`: who it says it is. Nothing was sent. */
  unpinned: { name: string; found: string };
  /** A word that was to name a host: nobody is registered by it, and it does not resolve. Nothing was sent. */
  target_unknown: { word: string; closest: readonly string[] };
  /** There is no record of this run. */
  run_unknown: { id: string };
  /** No pairing request has this id. */
  pairing_unknown: { id: string };
  /** Several have an id that begins like this. */
  id_ambiguous: { id: string; matches: readonly string[] };
  /** It is in a state in which this cannot be done with it. */
  not_ready: { id: string; state: string };
  /** The host name does not resolve. */
  host_unresolved: { host: string };
  /** Nothing listens there. */
  connection_refused: { host: string; port: number };
  /** `phase` tells what did not come in time. */
  timed_out: { phase: 'connect' | 'tls' | 'answer' | 'pairing'; timeoutMs: number };
  /** The TLS handshake failed; `reason` is OpenSSL's or Node's code (`CERT_HAS_EXPIRED`, …). */
  tls_failed: { host: string; reason: string };
  /** Somebody answered, but not who was asked for. Nothing was sent. */
  wrong_identity: { expected: string; found: string };
  /** A peer's certificate was revoked by this dispatcher. Nothing was sent. */
  revoked: { name: string; serial: string };
  /** The connection broke off, or could not be made; `reason` is the system's. */
  connection_failed: { host: string; reason: string };
  /** An answer whose signature is missing or does not hold; nothing of it was used. */
  unverified: { reason: string };
  /** The peer answered with something that this protocol does not know. */
  protocol_violation: { reason: string };
  /** More than `limit` bytes of `what`. */
  too_large: { what: string; limit: number };
  /** The peer refused, in its own words. */
  refused: { status: number; reason: string };
  /** The hook said no, or there is none where one is needed. `hookCode`: its exit code, 1 to 3; undefined where it gave none. */
  denied: { who: 'identity' | 'policy' | 'hook'; reason: string; hookCode: number | undefined };
  /** A key was used before for another request; `field` is what differs, `caller` before anything else. */
  idempotency_mismatch: { field: string };
  /** The script runs there already, or may; `conflicts` are sorted by host. */
  locked: { conflicts: readonly Lock[] };
  /** Exclusive work (pairing, maintenance, rotation) is done by somebody else. */
  held: { what: string; by: string; since: Date };
  /** The operator has refused the request. */
  pairing_denied: { reason: string };
  /** Nobody decided in time. */
  pairing_expired: Record<never, never>;
  /** The codes of the two hosts are not the same: somebody may be between them. */
  codes_differ: Record<never, never>;
  /** The port could not be opened; `reason` is the system's (`EADDRINUSE`, `EACCES`, …). */
  listen_failed: { bind: string; port: number; reason: string };
  /**
   * A certificate could not be deployed to a target. `rolledBack`: what was there before is there, and loaded where the new
   * files may have been; false: it is not, and that is what the message begins with. `verification`: of the handshake that failed.
   */
  deployment_failed: {
    target: string;
    step: string;
    reason: string;
    rolledBack: boolean;
    verification?: Verification;
  };
  /** An agent does not name the script in its allowlist. */
  not_allowlisted: { script: string };
  /** The agent's own hook said no. */
  agent_denied: { reason: string };
  /** The script runs on the agent already. */
  busy: { script: string };
  /** The agent has too much to do. */
  overloaded: { retryAfterMs: number | undefined };
  /** The agent did not accept the request's signature. */
  signature_refused: { reason: string };
  /** The agent has seen this request before, or has been told that it never comes. */
  replayed: Record<never, never>;
  /** A script ended with another exit code than 0, or was killed. */
  script_failed: { exit: number | undefined; signal: string | undefined };
  /** The agent ended a script whose time was up. `timeoutMs` is 0 where the agent does not say it. */
  script_timed_out: { timeoutMs: number };
  /** A script was stopped by `cancel`. */
  cancelled: Record<never, never>;
  /** The agent's host went down while the script ran. */
  lost: Record<never, never>;
  /** A host was not asked: the run ended before its turn, or could not be prepared for it. */
  skipped: { reason: string };
  /** An agent that had begun a script has not been heard of since. */
  silent: { since: Date };
  /** The agent does not know the run, or not any more: nobody can say whether it has run. */
  forgotten: Record<never, never>;
  /** A program could not be started; `reason` is the system's. */
  spawn_failed: { path: string; reason: string };
  /** The caller's `AbortSignal`, or `close`. */
  aborted: Record<never, never>;
}

/** The stable name of something that is expected to go wrong. */
export type ErrorCode = keyof ErrorFields;

/**
 * The one closed union of everything that is expected to go wrong. `code` is stable; `message` is one line for a
 * person and says what was wrong, where, and what is expected; the other fields are for programs.
 */
export type CtrlExecError<Code extends ErrorCode = ErrorCode> = {
  [C in Code]: { readonly code: C; readonly message: string } & Readonly<ErrorFields[C]>;
}[Code];

/** Makes an error value. The message never holds a secret or what a script printed. */
export function failure<C extends ErrorCode>(
  code: C,
  message: string,
  fields: ErrorFields[C],
): CtrlExecError<C> {
  return { code, message, ...fields } as CtrlExecError<C>;
}
