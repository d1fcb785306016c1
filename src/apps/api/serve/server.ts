import { createServer, type RequestListener, type Server, type ServerOptions } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import { err, ok, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { isLoopback, shortestAddress, sourceOf } from '../../../domain/core/ip-prefix.js';
import type { ServerLimits } from './limits.js';
import { addressText, type ListenPlace } from './places.js';
import { answerBroken, endStalled } from './troubled-clients.js';
import { freeSocketPath, listenOnPath } from './unix-socket.js';

/** A server that listens. */
export interface ListeningServer {
  /** `http://127.0.0.1:7445`, `https://…`, `unix:/run/…`. */
  readonly address: string;
  /** Takes the certificate for connections that come from now on. No effect without TLS. */
  renew(tls: SecureContextOptions): void;
  /** Takes no connection any more, and closes those that have nothing to answer. */
  stopListening(): void;
  /** Resolves when every connection is closed. */
  closed(): Promise<void>;
  closeAll(): void;
}

export interface ServerParts {
  readonly place: ListenPlace;
  /** Undefined: plain HTTP. Not for a socket, which is always plain. */
  readonly tls: SecureContextOptions | undefined;
  readonly limits: ServerLimits;
  readonly handle: RequestListener;
  /** A connection that was refused, before anything of it was read. */
  readonly refused: (address: string, reason: string) => void;
  readonly failed: (error: unknown) => void;
}

const advice: Record<string, string> = {
  EADDRINUSE: 'another process listens there',
  EACCES: 'no permission: ports below 1024 need privileges',
  EADDRNOTAVAIL: 'this host does not have that address',
};

/** Starts a server at a place; `listen_failed` where it cannot be had. */
export function listenAt(parts: ServerParts): ResultAsync<ListeningServer, CtrlExecError<'listen_failed'>> {
  const { place, limits } = parts;
  const secure = place.kind === 'tcp' && parts.tls !== undefined;
  const options: ServerOptions = {
    headersTimeout: limits.headers,
    requestTimeout: limits.request,
    connectionsCheckingInterval: Math.min(1_000, Math.ceil(limits.headers / 4)),
    keepAliveTimeout: limits.keepAlive,
    maxHeaderSize: limits.headerBytes,
    insecureHTTPParser: false,
    // Refused in the form of every other answer, by `headerLines`.
    requireHostHeader: false,
    noDelay: true,
  };
  const server = secure
    ? createTlsServer({ ...options, ...parts.tls, handshakeTimeout: limits.handshake }, parts.handle)
    : createServer(options, parts.handle);
  server.maxConnections = limits.connections;
  limitConnections(server, parts);
  answerBroken(server);
  endStalled(server, limits.stall);

  const listening = async () => {
    if (place.kind === 'socket') {
      const free = await freeSocketPath(place.path);
      if (free.isErr()) return err(free.error);
    }
    return new Promise<Awaited<ReturnType<typeof listenAt>>>((resolve) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        const reason = error.code ?? error.message;
        const where = place.kind === 'socket' ? place.path : `${place.bind} port ${place.port}`;
        // Of a socket libuv says EACCES also where the directory is missing.
        const hint =
          place.kind === 'socket' && reason === 'EACCES'
            ? 'its directory is missing, or cannot be written'
            : advice[reason];
        const why = hint ? `${reason}, ${hint}` : reason;
        const [bind, port] = place.kind === 'socket' ? [place.path, 0] : [place.bind, place.port];
        resolve(err(failure('listen_failed', `cannot listen on ${where}: ${why}`, { bind, port, reason })));
      });
      server.once('listening', () => {
        server.on('error', parts.failed);
        const address = server.address();
        const port = typeof address === 'object' ? ((address as AddressInfo | null)?.port ?? 0) : 0;
        resolve(ok(handleOf(server, addressText(place, secure, port))));
      });
      if (place.kind === 'socket') listenOnPath(server, place.path);
      else server.listen({ host: place.bind, port: place.port });
    });
  };
  return new ResultAsync(listening());
}

function handleOf(server: Server | TlsServer, address: string): ListeningServer {
  const closed = new Promise<void>((resolve) => server.once('close', () => resolve()));
  return {
    address,
    renew(tls) {
      if ('setSecureContext' in server) server.setSecureContext(tls);
    },
    stopListening() {
      server.close();
      server.closeIdleConnections();
    },
    closed: () => closed,
    closeAll: () => server.closeAllConnections(),
  };
}

/** No source but this host may take so many places that others find none. */
function limitConnections(server: Server, { limits, refused }: ServerParts): void {
  const counts = new Map<string, number>();
  server.prependListener('connection', (socket: Socket) => {
    // Without it the end of a refused one would be an error of the process.
    socket.on('error', () => undefined);
    const address = shortestAddress(socket.remoteAddress ?? '');
    if (address === undefined || isLoopback(address)) return;
    const source = sourceOf(address);
    const count = (counts.get(source) ?? 0) + 1;
    counts.set(source, count);
    socket.once('close', () => {
      const left = (counts.get(source) ?? 1) - 1;
      if (left > 0) counts.set(source, left);
      else counts.delete(source);
    });
    if (count <= limits.connectionsOfSource) return;
    refused(address, 'TOO_MANY_OF_THIS_ADDRESS');
    socket.destroy();
  });
  server.on('drop', (data) => {
    if (data?.remoteAddress)
      refused(shortestAddress(data.remoteAddress) ?? data.remoteAddress, 'TOO_MANY_CONNECTIONS');
  });
}
