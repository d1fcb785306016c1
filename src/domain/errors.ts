import type { Verification } from './verification.js';

/**
 * The one closed union of everything that is expected to go wrong. `code` is stable; `message` is one line for a
 * person and says what was wrong, where, and what is expected; the other fields are for programs.
 */
interface Fields {
  /** An argument of a call or a command. */
  invalid_argument: { field: string; reason: string };
  /** A configuration file, `line` 1-based, absent when the whole file is meant. */
  config_invalid: { file: string; line?: number; reason: string };
  /** A file or directory that could not be read, written or found. `reason` is the system's (`ENOENT`, `ENOSPC`, …). */
  file_failed: { path: string; operation: string; reason: string };
  /** The store could not be opened, read or written. */
  store_failed: { operation: string; reason: string };
  ca_exists: { path: string };
  ca_missing: Record<never, never>;
  identity_missing: { role: 'dispatcher' | 'agent' };
  identity_exists: { reason: string };
  /** Key material, a certificate or a CSR that cannot be used. */
  certificate_invalid: { field: string; reason: string };
  crypto_failed: { operation: string; reason: string };
  agent_unknown: { name: string };
  agent_exists: { name: string };
  /** Pairing version 1 for a name that paired by version 2 before. */
  downgrade_refused: { name: string };
  /** An agent whose key is not known yet answers with a certificate that does not name it. `found`: who it says it is. Nothing was sent. */
  unpinned: { name: string; found: string };
  request_unknown: { id: string };
  request_ambiguous: { id: string; matches: readonly string[] };
  request_not_ready: { id: string; state: string };
  /** The host name does not resolve. */
  host_unresolved: { host: string };
  connection_refused: { host: string; port: number };
  /** `phase` tells what did not come in time. */
  timed_out: { phase: 'connect' | 'tls' | 'answer' | 'pairing'; seconds: number };
  /** The TLS handshake failed; `reason` is OpenSSL's or Node's code (`CERT_HAS_EXPIRED`, …). */
  tls_failed: { host: string; reason: string };
  /** Somebody answered, but not who was asked for. Nothing was sent. */
  wrong_identity: { expected: string; found: string };
  /** A peer's certificate was revoked by this dispatcher. Nothing was sent. */
  revoked: { name: string; serial: string };
  connection_failed: { host: string; reason: string };
  /** An answer whose signature is missing or does not hold; nothing of it was used. */
  unverified: { reason: string };
  /** The peer answered with something that this protocol does not know. */
  protocol_violation: { reason: string };
  too_large: { what: string; limit: number };
  /** The peer refused, in its own words. */
  refused: { status: number; reason: string };
  denied: { reason: string; hookCode: number | undefined };
  locked: { conflicts: readonly string[] };
  pairing_denied: { reason: string };
  pairing_expired: Record<never, never>;
  codes_differ: Record<never, never>;
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
  spawn_failed: { path: string; reason: string };
  aborted: Record<never, never>;
}

export type ErrorCode = keyof Fields;

export type CtrlExecError<Code extends ErrorCode = ErrorCode> = {
  [C in Code]: { readonly code: C; readonly message: string } & Readonly<Fields[C]>;
}[Code];

/** Makes an error value. The message never holds a secret or what a script printed. */
export function failure<C extends ErrorCode>(code: C, message: string, fields: Fields[C]): CtrlExecError<C> {
  return { code, message, ...fields } as CtrlExecError<C>;
}
