import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';

type ProbeFailure = CtrlExecError<'timed_out' | 'tls_failed' | 'connection_failed'>;

/** A TLS server, as it is called. */
export interface ProbedEndpoint {
  readonly host: string;
  readonly port: number;
  /** Asked for by name (SNI); undefined: by none. */
  readonly serverName: string | undefined;
}

/**
 * Looks at what a TLS server presents.
 *
 * Contract: a full handshake over a new connection, which is closed at once; whether the certificate can be trusted is not
 * judged. `timeout` is in milliseconds, for all of it.
 */
export interface TlsProbe {
  /** SHA-256 of the leaf that is served, lower-case hex. */
  servedFingerprint(endpoint: ProbedEndpoint, timeout: number): ResultAsync<string, ProbeFailure>;
}
