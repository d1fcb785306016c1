import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';

type ProbeFailure = CtrlExecError<'timed_out' | 'tls_failed' | 'connection_refused' | 'connection_failed'>;

/** A TLS server, as it is called. */
export interface ProbedEndpoint {
  /** As `resolve` gave it: the address that was judged is the address that is called. */
  readonly address: string;
  readonly port: number;
  /** Asked for by name (SNI); undefined: by none. */
  readonly serverName: string | undefined;
}

/** Where a host is. */
export interface ProbeAddress {
  /** In its shortest form, an IPv4-mapped one as IPv4. */
  readonly address: string;
  /** It is a loopback address, or one of an interface of this host. */
  readonly isLocal: boolean;
}

/**
 * Looks at what a TLS server presents.
 *
 * Contract: a full handshake over a new connection, which is closed at once; whether the certificate can be trusted is not
 * judged. `timeout` is in milliseconds, for all of it. `resolve` sends nothing to the host that it is asked about, and gives
 * at least one address; an address is its own.
 */
export interface TlsProbe {
  /** The addresses of a name or an address. */
  resolve(host: string): ResultAsync<readonly ProbeAddress[], CtrlExecError<'host_unresolved'>>;
  /** SHA-256 of the leaf that is served, lower-case hex. */
  servedFingerprint(endpoint: ProbedEndpoint, timeout: number): ResultAsync<string, ProbeFailure>;
}
