import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { HttpAnswer, HttpRequestHead } from '../domain/protocol/http-message.js';
import type { Certificate } from '../domain/trust/certificate.js';
import type { Credentials } from './channel.js';

/** Who is at the other end of a connection. */
export interface ConnectionPeer {
  /** Remote address in its shortest form, IPv4-mapped IPv6 as IPv4. */
  readonly address: string;
  /** The client certificate, if one was asked for and sent; it chains to the given CAs, is in date and for client use. */
  readonly certificate: Certificate | undefined;
  /** The certificate that this side presented on the connection: after a renewal, older connections have the older one. */
  readonly presented: Certificate;
  readonly tlsVersion: string;
}

/** A request whose head has come. Whose it is, is known; its body is not read yet. */
export interface IncomingRequest extends HttpRequestHead {
  readonly peer: ConnectionPeer;
  readonly httpVersion: '1.0' | '1.1';
  /**
   * Reads the body, once; `too_large` above the limit. A handler that refuses need not call it.
   * @param limit bytes. Default: `maxBody` of the listener
   */
  body(
    limit?: number,
  ): ResultAsync<Uint8Array, CtrlExecError<'too_large' | 'connection_failed' | 'timed_out'>>;
}

/**
 * How a connection of a preferred address is served: it gets a place among the handshakes also where there is none left,
 * at the cost of another one, and its handshake begins `delay` milliseconds later, unless places run short.
 */
export interface Preferred {
  readonly delay: number;
}

/** What a handler answers. */
export interface ListenerAnswer extends HttpAnswer {
  /**
   * A further answer on the same connection, as legacy pairing has it (wire-protocol 1.5); only to a request of HTTP/1.0.
   * This one is then sent at once, the connection stays for as long as the further one takes, whatever the other time
   * limits say, and that is the last. Called exactly once, also where the peer has gone already.
   * @param gone aborted when the connection has ended, or the peer sent something more, which ends it: then nothing is sent
   */
  next?(gone: AbortSignal): Promise<HttpAnswer>;
}

/** Where a listener listens, as whom, within which limits, and who answers. */
export interface ListenOptions {
  readonly bind: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly credentials: Credentials;
  /** Ask for a client certificate that chains to one of these CAs (PEM); connections without a valid one are closed. */
  readonly clientCas?: readonly string[];
  /** Bytes of body that are read where the handler does not say how many. */
  readonly maxBody: number;
  /** Connections at a time; further ones are closed at once. */
  readonly maxConnections: number;
  /**
   * Connections at a time of one source (an IPv4 address, an IPv6 /64) that are unknown: those in their handshake, those
   * that `knows` said no to and, where no certificate is asked for, all. Default: no limit of its own.
   */
  readonly maxUnknownPerAddress?: number;
  /**
   * Asked as soon as TCP stands, before TLS; false closes. Until it has answered nothing that comes is looked at. It and `knows`
   * have the time of the handshake to do so, then the connection is closed.
   */
  admit?(address: string): boolean | Preferred | PromiseLike<boolean | Preferred>;
  /**
   * Asked when a client has shown a certificate that chains to one of the CAs. False: the connection stays among the
   * unknown ones, and ends with its first answer. Default: whoever has shown one is known.
   */
  knows?(peer: ConnectionPeer): boolean | PromiseLike<boolean>;
  /**
   * A connection that was refused before any request, with the reason (`UNABLE_TO_VERIFY_LEAF_SIGNATURE`, …) and the
   * certificate whose key the client has proved to have, if it came that far; `CLOSED_AT_ONCE` where the client left
   * without having sent a byte.
   */
  refused?(address: string, reason: string, certificate?: Certificate): void;
  /** Answers one request. A throw is a bug; it is reported to `failed` and answered 500. */
  handle(request: IncomingRequest): Promise<ListenerAnswer>;
  /** Told of what `handle`, `admit` or `knows` threw: a bug, to be logged. */
  failed?(error: unknown): void;
}

/** An open port. */
export interface Listening {
  readonly port: number;
  /** New handshakes use these; established connections live on. */
  renew(credentials: Credentials, clientCas?: readonly string[]): void;
  /** Stops accepting, lets requests under way finish for at most `grace` milliseconds, then closes. */
  close(grace: number): Promise<void>;
}

/**
 * Serves HTTP over TLS (1.2 with AEAD suites, or 1.3).
 *
 * Contract: at most 32 header lines, else 431; an HTTP/1.0 request is answered in kind, byte for byte as legacy peers do
 * (header names capitalised, nothing added but the length), and its connection closed; a client that is refused gets no
 * byte of its request used. TLS 5 s, headers 5 s, body 30 s, else closed. An answer with a `stream` may last as long as it likes; the
 * stream is asked for more when what it gave was taken, and ended by `return()` when the client has gone, or has taken
 * nothing for 30 s of what waits for it.
 */
export interface Listener {
  /** Opens a port; Ok once it accepts connections. */
  listen(
    options: ListenOptions,
  ): ResultAsync<Listening, CtrlExecError<'listen_failed' | 'certificate_invalid'>>;
}
