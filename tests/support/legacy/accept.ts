import type { X509Certificate } from 'node:crypto';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls';

/** Suites of legacy peers, by OpenSSL's names (wire-protocol, Ports; legacy facts 3.1). */
const legacySuites = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
].join(':');

/** TLS of legacy peers in either direction: 1.2 or 1.3, these suites. */
export const legacyTls = { minVersion: 'TLSv1.2', ciphers: legacySuites } as const;

const minute = 60_000;
const maxConnections = 10;

/**
 * Whether an address may connect (legacy facts 3.7): ten connections within a minute, the next is refused and so is
 * everything for five minutes, in which nothing is counted.
 */
function rateLimit(now: () => number): (address: string) => boolean {
  const times = new Map<string, number[]>();
  const blocked = new Map<string, number>();
  return (address) => {
    const at = now();
    const until = blocked.get(address);
    if (until !== undefined && at < until) return false;
    if (until !== undefined) times.delete(address);
    blocked.delete(address);
    const recent = (times.get(address) ?? []).filter((time) => time > at - minute);
    if (recent.length >= maxConnections) {
      blocked.set(address, at + 5 * minute);
      return false;
    }
    times.set(address, [...recent, at]);
    return true;
  };
}

interface AcceptOptions {
  readonly port: number;
  readonly tls: Pick<TlsOptions, 'key' | 'cert' | 'ca' | 'requestCert'>;
  /** The clock of the rate limit; undefined: no limit. */
  readonly limitedBy: (() => number) | undefined;
  /** A connection past its handshake, with the client's certificate, if it sent one: then it chains to the CA. */
  serve(socket: TLSSocket, client: X509Certificate | undefined): void;
  /** A handshake that failed, or a connection that ended within it. */
  failed(reason: string): void;
  /** A connection that the rate limit closes, past its handshake. */
  blocked?(): void;
}

export interface Accepting {
  readonly port: number;
  /** Accepts no further connection; those that are served live on. */
  stop(): void;
  /** Ends everything. */
  close(): Promise<void>;
}

/**
 * Accepts connections as the parent process of a legacy server does (legacy facts 3.2, 5): one handshake after the other
 * and no limit of time for any, so that a connection that says nothing keeps all others waiting.
 */
export async function acceptOneByOne(options: AcceptOptions): Promise<Accepting> {
  const waiting: Socket[] = [];
  const open = new Set<Socket>();
  let current: Socket | undefined;
  const admits = options.limitedBy ? rateLimit(options.limitedBy) : () => true;

  // Client certificates are optional, but one that is sent must be good: looked at below.
  const tls = createServer({
    ...legacyTls,
    ...options.tls,
    rejectUnauthorized: false,
    handshakeTimeout: 2_147_483_647,
  });
  const next = () => {
    current = waiting.shift();
    if (current?.destroyed) {
      options.failed('ECONNRESET');
      next();
    } else if (current) tls.emit('connection', current);
  };
  const track = (socket: Socket) => {
    open.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => open.delete(socket));
  };

  tls.on('secureConnection', (socket: TLSSocket) => {
    track(socket);
    // Node tells it once.
    const client = socket.getPeerX509Certificate();
    if (client && !socket.authorized) {
      socket.destroy();
      options.failed(String(socket.authorizationError));
    } else if (admits(socket.remoteAddress ?? '')) options.serve(socket, client);
    else {
      options.blocked?.();
      // Without a close_notify, after everything of the handshake.
      socket.destroy();
    }
    next();
  });
  tls.on('tlsClientError', (error: NodeJS.ErrnoException) => {
    options.failed(error.code ?? error.message);
    next();
  });

  const tcp = createTcpServer({ pauseOnConnect: true }, (socket) => {
    track(socket);
    waiting.push(socket);
    if (!current) next();
  });
  const port = await new Promise<number>((resolve, reject) => {
    tcp.once('error', reject);
    tcp.listen(options.port, '127.0.0.1', () => resolve((tcp.address() as AddressInfo).port));
  });
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= new Promise((resolve) => tcp.close(() => resolve()));
    for (const socket of waiting.splice(0)) socket.destroy();
    return stopped;
  };
  return {
    port,
    stop: () => void stop(),
    close() {
      const ended = stop();
      for (const socket of open) socket.destroy();
      return ended;
    },
  };
}
