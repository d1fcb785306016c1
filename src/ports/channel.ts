import type { Result, ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { HeaderList, HttpRequestHead } from '../domain/protocol/http-message.js';
import type { Certificate } from '../domain/trust/certificate.js';

/** A key and its certificate, PEM, as one side presents them. */
export interface Credentials {
  readonly key: string;
  readonly certificate: string;
}

/** Where a connection leads, and on which terms. */
export interface ChannelTarget {
  /** Host name or IP address (IPv6 without brackets). */
  readonly host: string;
  readonly port: number;
  /** What this side presents; absent: no client certificate. */
  readonly credentials?: Credentials;
  /**
   * CA certificates (PEM) that the peer's must chain to, be in date and be usable as a server with; host names are not
   * compared. `'any'`: no chain is required, everything rests on whoever judges the peer (pairing).
   */
  readonly trust: readonly string[] | 'any';
  /** Take a certificate of `trust` although it has expired: for the one renewal that brings a host back. Default false. */
  readonly allowExpired?: boolean;
  /** Only TLS 1.3. Default false: 1.2 with AEAD suites is accepted too. */
  readonly tls13Only?: boolean;
  /** Connections are kept, and shared among targets of the same key and the same terms. */
  readonly key: string;
}

/** How to connect. */
export interface ConnectOptions {
  /** Milliseconds for TCP and TLS together. */
  readonly timeout: number;
  /** Do not take a kept connection. Default false. */
  readonly fresh?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** How a connection, or an exchange over it, can fail. */
export type ChannelError = CtrlExecError<
  | 'host_unresolved'
  | 'connection_refused'
  | 'timed_out'
  | 'tls_failed'
  | 'connection_failed'
  | 'protocol_violation'
  | 'too_large'
  | 'aborted'
>;

/** Takes bytes of a body. Err ends the exchange, with that very error. */
export type BodyConsumer<E = never> = (bytes: Uint8Array) => PromiseLike<Result<void, E>>;

/** Status and headers of an answer. */
export interface AnswerHead {
  readonly status: number;
  readonly headers: HeaderList;
}

/** A request with its headers, and the limits of its answer. */
export interface Exchange<E = never> extends HttpRequestHead {
  readonly body: Uint8Array;
  /** Milliseconds from the request's last byte to the answer's last; of a body that is consumed, without a byte of it. */
  readonly answerTimeout: number;
  /** Bytes of body that are accepted; more is `too_large`. A consumer sees to that itself. */
  readonly maxAnswer: number;
  /**
   * Called with the head of the answer. Where it gives a consumer, the body goes there as it comes, and that of the answer is
   * empty: one call at a time, and while it takes its time nothing more is read and no time limit runs. Nothing is consumed
   * any more once the exchange has ended. Default: the body is collected.
   */
  onBody?(head: AnswerHead): BodyConsumer<E> | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A whole answer. */
export interface ChannelAnswer extends AnswerHead {
  readonly body: Uint8Array;
}

/** Whether the request may have reached the peer. Without it, the connection was found closed before a byte was sent. */
export type ExchangeError<E = never> = (ChannelError | E) & { readonly sent: boolean };

/** A connection that stands, leased to one user until `release` or `discard`. Nothing was sent over it by this lease. */
export interface Connection {
  /** The certificate of the other side. Whoever leases the connection judges it before anything is sent. */
  readonly peer: Certificate;
  /** Whether it was kept from before: its peer may be out of date, and it may have been closed meanwhile. */
  readonly kept: boolean;
  /** `host:port`, as requests name it. */
  readonly authority: string;
  /** Sends one request and reads its answer; never repeated. After an Err the connection can only be discarded. */
  exchange<E = never>(request: Exchange<E>): ResultAsync<ChannelAnswer, ExchangeError<E>>;
  /** Gives it back: the next one to the same target may use it. */
  release(): void;
  /** Closes it: in good order where nothing was sent, for some legacy agents end by a reset. */
  discard(): void;
}

/**
 * Connections on which requests are made to peers that the caller judges.
 *
 * Contract: `peer` is the certificate behind this very connection, also where it was kept; an exchange is sent at most once;
 * redirects are not followed; a connection is leased to one user at a time; no TLS session is resumed.
 */
export interface Channel {
  /** Connects, or gives a kept connection. */
  connect(target: ChannelTarget, options: ConnectOptions): ResultAsync<Connection, ChannelError>;
  /** Whether there is no such host: only what a resolver has said counts, not that it failed or took too long. False for an address. */
  isUnknownHost(host: string): Promise<boolean>;
  /** Drops kept connections: all, or those of one key. Leased ones are closed when they are released. */
  forget(key?: string): void;
  /** Closes everything; exchanges under way end as `aborted`. */
  close(): Promise<void>;
}
