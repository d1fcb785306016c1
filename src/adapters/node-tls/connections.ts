import type { Server } from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type Certificate, whyUnusable } from '../../domain/certificate.js';
import type { Crypto } from '../../ports/crypto.js';
import type { ConnectionPeer, ListenOptions } from '../../ports/listener.js';
import { clientCertificate } from './client-certificate.js';

/** A connection whose handshake is done and whose client was let in. */
export interface Connection {
  readonly peer: ConnectionPeer;
  /**
   * `handling`: a request is with the handler; `answering`: its answer is being written; `waiting`: it was sent, and a further
   * one is to come; `ended`: nothing follows.
   */
  state: 'idle' | 'handling' | 'answering' | 'waiting' | 'ended';
  /** The answer under way is the last one. */
  last: boolean;
}

interface Handshake {
  readonly socket: Socket;
  readonly deadline: NodeJS.Timeout;
  reason: string;
  /** It is unknown no longer, or gone. */
  readonly forget: () => void;
}

const closedInHandshake = 'CLOSED_IN_HANDSHAKE';

function count(counts: Map<string, number>, key: string, by: number): void {
  const now = (counts.get(key) ?? 0) + by;
  if (now > 0) counts.set(key, now);
  else counts.delete(key);
}

/** IPv4-mapped IPv6 as IPv4; Node already gives the shortest form otherwise. */
const plainAddress = (address: string) => address.replace(/^::ffff:(?=\d+\.)/i, '');

const ends = (socket: Socket) => `${socket.remoteAddress} ${socket.remotePort}`;

/**
 * Puts a condition before what already listens to an event. The listeners of `node:https` are what feeds bytes to TLS
 * and to the HTTP parser: a socket that is not admitted never reaches them.
 */
function gate<S extends Socket>(
  server: Server,
  event: 'connection' | 'secureConnection',
  admits: (s: S) => boolean,
) {
  const inner = server.listeners(event);
  server.removeAllListeners(event);
  server.on(event, (socket: S) => {
    socket.on('error', () => {});
    if (!admits(socket)) socket.destroy();
    else for (const listener of inner) listener.call(server, socket);
  });
}

/** Decides which connections a server serves, and knows those that it does. */
export function connectionsOf(
  server: Server,
  ports: { crypto: Crypto },
  options: ListenOptions,
  handshakeTimeout: number,
) {
  const handshakes = new Map<string, Handshake>();
  /** By address: connections that have shown no certificate. */
  const unknown = new Map<string, number>();
  const established = new Map<TLSSocket, Connection>();
  const mutual = options.clientCas !== undefined;
  const maxHandshakes = mutual ? Math.ceil(options.maxConnections / 2) : options.maxConnections;

  const refuse = (address: string, reason: string) => {
    options.refused?.(address, reason);
    return false;
  };

  gate<Socket>(server, 'connection', (socket) => {
    if (socket.remoteAddress === undefined) return false;
    const address = plainAddress(socket.remoteAddress);
    if (handshakes.size >= maxHandshakes) return refuse(address, 'TOO_MANY_HANDSHAKES');
    if (options.accept && !options.accept(address)) return false;
    if ((unknown.get(address) ?? 0) >= (options.maxUnknownPerAddress ?? Number.POSITIVE_INFINITY))
      return refuse(address, 'TOO_MANY_OF_THIS_ADDRESS');
    count(unknown, address, 1);
    const key = ends(socket);
    const deadline = setTimeout(() => {
      handshake.reason = 'HANDSHAKE_TIMEOUT';
      socket.destroy();
    }, handshakeTimeout);
    let counted = true;
    const forget = () => {
      if (counted) count(unknown, address, -1);
      counted = false;
    };
    const handshake: Handshake = { socket, deadline, reason: closedInHandshake, forget };
    handshakes.set(key, handshake);
    socket.once('close', () => {
      clearTimeout(deadline);
      handshake.forget();
      if (handshakes.get(key) !== handshake) return;
      handshakes.delete(key);
      const silent = handshake.reason === closedInHandshake && socket.bytesRead === 0;
      refuse(address, silent ? 'CLOSED_AT_ONCE' : handshake.reason);
    });
    return true;
  });

  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
    const handshake = handshakes.get(ends(socket));
    if (handshake && error.code && error.code !== 'ECONNRESET') handshake.reason = error.code;
    socket.destroy();
  });

  gate<TLSSocket>(server, 'secureConnection', (socket) => {
    const key = ends(socket);
    const handshake = handshakes.get(key);
    if (!handshake || socket.remoteAddress === undefined) return false;
    clearTimeout(handshake.deadline);
    handshakes.delete(key);
    const address = plainAddress(socket.remoteAddress);
    let certificate: Certificate | undefined;
    if (mutual) {
      const judged = clientCertificate(socket, ports.crypto);
      if (judged.isErr()) return refuse(address, judged.error);
      certificate = judged.value;
      handshake.forget();
    }
    const own = socket.getX509Certificate();
    const presented = own && ports.crypto.readCertificate(own.raw);
    if (!presented?.isOk()) return refuse(address, 'NO_CERTIFICATE_OF_OURS');
    const tlsVersion = socket.getProtocol() ?? 'unknown';
    const peer = { address, certificate, presented: presented.value, tlsVersion };
    established.set(socket, { peer, state: 'idle', last: false });
    socket.once('close', () => established.delete(socket));
    return true;
  });

  server.on('drop', (data) => {
    if (data?.remoteAddress) refuse(plainAddress(data.remoteAddress), 'TOO_MANY_CONNECTIONS');
  });

  const end = (socket: TLSSocket, connection: Connection) => {
    connection.last = true;
    if (connection.state === 'idle') socket.destroy();
  };

  return {
    get: (socket: Socket) => established.get(socket as TLSSocket),
    /** Whether a connection may bring another request: its client's certificate may have expired since it was let in. */
    mayAsk({ peer }: Connection): boolean {
      if (!peer.certificate) return true;
      const reason = whyUnusable(peer.certificate, 'clientAuth', Date.now());
      return reason === undefined || refuse(peer.address, reason);
    },
    /** Ends the connections whose clients `condition` holds for, after the answers that are under way. */
    endWhere(condition: (peer: ConnectionPeer) => boolean) {
      for (const [socket, connection] of established) if (condition(connection.peer)) end(socket, connection);
    },
    /** Ends all, after the answers that are under way. */
    endAll() {
      for (const { socket } of handshakes.values()) socket.destroy();
      for (const [socket, connection] of established) end(socket, connection);
    },
    closeAll() {
      for (const { socket } of handshakes.values()) socket.destroy();
      for (const socket of established.keys()) socket.destroy();
    },
  };
}

export type Connections = ReturnType<typeof connectionsOf>;
