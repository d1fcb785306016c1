/** What a client of the API may take. Milliseconds, bytes, numbers. */
export interface ServerLimits {
  /** From TCP to the end of the TLS handshake. */
  readonly handshake: number;
  /** From the first moment, or a request's first byte on a kept connection, to the end of its header. */
  readonly headers: number;
  /** To the last byte of a request. */
  readonly request: number;
  /** Without a request on a kept connection. */
  readonly keepAlive: number;
  /** Without any of an answer's bytes being taken. */
  readonly stall: number;
  /** Of the request line and all header lines together. */
  readonly headerBytes: number;
  readonly headerLines: number;
  readonly connections: number;
  /** Of one source that is not this host: an IPv4 address, or an IPv6 /64. */
  readonly connectionsOfSource: number;
}

export const defaultLimits: ServerLimits = {
  handshake: 5_000,
  headers: 5_000,
  request: 20_000,
  keepAlive: 10_000,
  stall: 30_000,
  headerBytes: 16_384,
  headerLines: 64,
  connections: 1024,
  connectionsOfSource: 128,
};
