/** How long a peer may take, in milliseconds. */
export interface ListenerTimings {
  /** From TCP to the end of the TLS handshake, however slowly its bytes arrive. */
  readonly handshake: number;
  /** From TLS, or from a request's first byte on a kept connection, to the end of its header. */
  readonly headers: number;
  /** From the handler asking for the body to the body's last byte. */
  readonly body: number;
  /** Without a request on a kept connection. More than clients keep theirs, so that it is the client that closes. */
  readonly keepAlive: number;
  /** Without any of an answer's bytes being taken. */
  readonly stall: number;
  /** For a peer that has got the last answer of a connection to close its side. */
  readonly linger: number;
}

export const defaultTimings: ListenerTimings = {
  handshake: 5_000,
  headers: 5_000,
  body: 30_000,
  keepAlive: 75_000,
  stall: 30_000,
  linger: 1_000,
};
