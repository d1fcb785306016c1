import type { Result, ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { HeaderList, HttpAnswer, HttpRequestHead } from '../domain/protocol/http-message.js';
import type { Certificate } from '../domain/trust/certificate.js';
import type { Credentials } from './channel.js';

export type { Credentials };

/** Whom to connect to, and how to know that it is the one. */
export interface TransportTarget {
  /** Host name or IP address (IPv6 without brackets). */
  readonly host: string;
  readonly port: number;
  /** What this side presents; absent: no client certificate. */
  readonly credentials?: Credentials;
  /**
   * CA certificates (PEM) that the peer's must chain to, be in date and be usable as a server with; host names are
   * not compared. `'any'`: no chain is required, everything rests on `judge` (pairing).
   */
  readonly trust: readonly string[] | 'any';
  /**
   * Take a certificate of `trust` although it has expired: for the one renewal that brings a host back. Default false.
   */
  readonly allowExpired?: boolean;
  /** Only TLS 1.3. Default false: 1.2 with AEAD suites is accepted too. */
  readonly tls13Only?: boolean;
  /**
   * Called for every request with the certificate of its connection, once TLS stands and before a byte of the request is
   * sent, also where the connection was kept from before; Err closes it. Where it is a kept connection whose peer is not
   * the right one any more (`outdated`), a fresh one is tried.
   */
  judge(peer: Certificate): ResultAsync<void, TransportError>;
  /** Connections are kept and shared among targets that have the same key. */
  readonly connectionKey: string;
}

/** An answer of which only the head has come. */
type AnswerHead = Pick<TransportAnswer, 'status' | 'headers' | 'peer'>;

/** Takes bytes of a body. Err ends the request, with that very error. */
type BodyConsumer = (bytes: Uint8Array) => PromiseLike<Result<void, TransportError>>;

/** A request, its limits, and what to do with the answer's body. */
export interface TransportRequest extends HttpRequestHead {
  readonly body: Uint8Array;
  /**
   * Further headers, made for the certificate of the connection that the request goes out on. Called when that has been
   * judged; again where the connection turned out to be closed before a byte was sent.
   */
  sign?(peer: Certificate): HeaderList;
  /** Milliseconds for TCP and TLS together. */
  readonly connectTimeout: number;
  /** Milliseconds from the request's last byte to the answer's last; of a body that is consumed, without a byte of it. */
  readonly answerTimeout: number;
  /** Bytes of body that are accepted; more is `too_large`. A consumer sees to that itself. */
  readonly maxAnswer: number;
  /**
   * Called with the head of the answer. Where it gives a consumer, the body goes there as it comes, and that of the answer is
   * empty: one call at a time, and while it takes its time nothing more is read and no time limit runs. Nothing is consumed
   * any more once the request has ended. Default: the body is collected.
   */
  onBody?(head: AnswerHead): BodyConsumer | undefined;
  readonly signal?: AbortSignal;
}

/** An answer and who gave it. */
export interface TransportAnswer extends Omit<HttpAnswer, 'stream'> {
  /** The certificate of the connection that the answer came on. */
  readonly peer: Certificate;
}

/** How a request can fail. */
export type TransportError = CtrlExecError<
  | 'host_unresolved'
  | 'connection_refused'
  | 'timed_out'
  | 'tls_failed'
  | 'wrong_identity'
  | 'unpinned'
  | 'revoked'
  | 'connection_failed'
  | 'unverified'
  | 'protocol_violation'
  | 'too_large'
  | 'store_failed'
  | 'denied'
  | 'aborted'
>;

/** What a judge says of a peer that a fresh connection may show in another light: it may have a new key or certificate. */
export const outdated: ReadonlySet<TransportError['code']> = new Set([
  'wrong_identity',
  'revoked',
  'tls_failed',
]);

/**
 * HTTP requests over TLS to a peer that is judged by its certificate.
 *
 * Contract: `judge` sees the certificate behind every request, also on a kept connection or a resumed session; a request is sent
 * at most once and never retried; redirects are not followed; the peer of the answer is the one that was judged.
 */
export interface Transport {
  /** Connects, or uses a kept connection, has the peer judged, sends, and reads the answer. */
  request(target: TransportTarget, request: TransportRequest): ResultAsync<TransportAnswer, TransportError>;
  /** Whether there is no such host: only what a resolver has said counts, not that it failed or took too long. False for an address. */
  isUnknownHost(host: string): Promise<boolean>;
  /** Drops kept connections: all, or those of one key. Requests under way are finished first. */
  forget(connectionKey?: string): void;
  /** Closes everything; requests under way end as `aborted`. */
  close(): Promise<void>;
}
