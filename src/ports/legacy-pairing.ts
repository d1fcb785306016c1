import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { HttpAnswer } from '../domain/protocol/http-message.js';
import type { Certificate } from '../domain/trust/certificate.js';

/** What is sent to a pairing port of version 1, and how long for. */
export interface LegacyPairingRequest {
  /** Host name or IP address (IPv6 without brackets). */
  readonly host: string;
  readonly port: number;
  /** JSON of wire-protocol 1.5. */
  readonly body: Uint8Array;
  /** Milliseconds for TCP and TLS together. */
  readonly connectTimeout: number;
  /** Milliseconds from the request to the first answer's last byte. */
  readonly answerTimeout: number;
  /** Ends the exchange at whatever point it is: `aborted`. */
  readonly signal?: AbortSignal;
}

/** How an exchange can fail. */
export type LegacyPairingError = CtrlExecError<
  | 'aborted'
  | 'connection_failed'
  | 'connection_refused'
  | 'host_unresolved'
  | 'protocol_violation'
  | 'timed_out'
  | 'tls_failed'
  | 'too_large'
>;

/** A connection whose first answer is there. */
export interface LegacyExchange {
  /** The certificate that TLS showed; whoever asks has to judge it. */
  readonly peer: Certificate;
  readonly first: HttpAnswer;
  /** The second answer, and the end of the connection; to be called once. `timed_out` (phase `pairing`) after `timeout` milliseconds. */
  second(timeout: number): ResultAsync<HttpAnswer, LegacyPairingError>;
  /** Ends the connection; what still waits for its answer gets `aborted`. */
  close(): void;
}

/**
 * `POST /pair` of version 1: two answers on one connection of HTTP/1.0 (wire-protocol 1.5).
 *
 * Contract: nobody's certificate is refused, TLS 1.2 with AEAD suites is the least; the request is sent once. An answer has at
 * most 32 header lines and 8 KiB of them, a Content-Length, and a body of at most 64 KiB (`too_large`). A failure has
 * ended the connection.
 */
export interface LegacyPairing {
  /** Connects, sends the request and reads the first answer. */
  request(asked: LegacyPairingRequest): ResultAsync<LegacyExchange, LegacyPairingError>;
}
