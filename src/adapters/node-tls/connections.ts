import type { Server } from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { sourceOf } from '../../domain/core/ip-prefix.js';
import { type Certificate, whyUnusable } from '../../domain/trust/certificate.js';
import type { Crypto } from '../../ports/crypto.js';
import type { ConnectionPeer, ListenOptions, Preferred } from '../../ports/listener.js';
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
  readonly address: string;
  readonly source: string;
  readonly preferred: boolean;
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

/** Whether a connection goes on; `later`: it does so by itself. */
type Verdict = boolean | 'later';

const isPending = <T>(value: T | PromiseLike<T>): value is PromiseLike<T> =>
  typeof value === 'object' && value !== null && 'then' in value;

/** What comes of a value, at once where it is there. */
const after = <T, R>(value: T | PromiseLike<T>, next: (value: T) => R): R | PromiseLike<R> =>
  isPending(value) ? value.then(next) : next(value);

/**
 * Puts a condition before what already listens to an event. The listeners of `node:https` are what feeds bytes to TLS
 * and to the HTTP parser: a socket that is not admitted never reaches them. A socket that is to wait is admitted by
 * `proceed`.
 */
function gate<S extends Socket>(
  server: Server,
  event: 'connection' | 'secureConnection',
  admits: (socket: S, proceed: () => void) => Verdict | PromiseLike<Verdict>,
  failed: ListenOptions['failed'],
) {
  const inner = server.listeners(event);
  server.removeAllListeners(event);
  server.on(event, (socket: S) => {
    socket.on('error', () => {});
    const proceed = () => {
      for (const listener of inner) listener.call(server, socket);
    };
    // Thrown in an event, it would end the process.
    const onBug = (error: unknown) => {
      failed?.(error);
      socket.destroy();
    };
    const settle = (verdict: Verdict) => {
      if (verdict === false) socket.destroy();
      else if (verdict === true) proceed();
    };
    try {
      const verdict = after(admits(socket, proceed), settle);
      if (isPending(verdict)) verdict.then(undefined, onBug);
    } catch (error) {
      onBug(error);
    }
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
  /** By source: connections of which nobody knows whose they are. */
  const unknown = new Map<string, number>();
  let unknownInAll = 0;
  const established = new Map<TLSSocket, Connection>();
  const mutual = options.clientCas !== undefined;
  const maxUnknown = mutual ? Math.ceil(options.maxConnections / 2) : options.maxConnections;
  const maxOfSource = options.maxUnknownPerAddress ?? Number.POSITIVE_INFINITY;
  /** Where the known ones come from there may be more at once, but never so many that others find no place. */
  const maxOfPreferred = Math.max(maxOfSource, Math.floor((maxUnknown * 3) / 4));

  const refuse = (address: string, reason: string, certificate?: Certificate) => {
    options.refused?.(address, reason, certificate);
    return false;
  };

  const countUnknown = (source: string, by: 1 | -1) => {
    count(unknown, source, by);
    unknownInAll += by;
  };

  /** Ends the oldest handshake that may be ended for another one. Whether there was one. */
  const endOne = (mayEnd: (handshake: Handshake) => boolean): boolean => {
    for (const [key, handshake] of handshakes) {
      if (!mayEnd(handshake)) continue;
      handshakes.delete(key);
      handshake.forget();
      handshake.socket.destroy();
      refuse(handshake.address, 'GAVE_WAY');
      return true;
    }
    return false;
  };

  /**
   * Why there is no place for a connection. A preferred one takes that of the oldest handshake of its own source, and of
   * any other where all are taken: who is quick gets through between those that are slow on purpose.
   */
  const whyNoPlace = (source: string, preferred: boolean): string | undefined => {
    if ((unknown.get(source) ?? 0) >= (preferred ? maxOfPreferred : maxOfSource)) {
      const made = preferred && endOne((other) => other.source === source);
      return made ? undefined : 'TOO_MANY_OF_THIS_ADDRESS';
    }
    if (unknownInAll < maxUnknown) return undefined;
    const made = preferred && (endOne((other) => !other.preferred) || endOne(() => true));
    return made ? undefined : 'TOO_MANY_HANDSHAKES';
  };

  /** Connections that `admit` has not answered about. */
  const undecided = new Set<Socket>();

  const onConnection = (socket: Socket, proceed: () => void) => {
    if (socket.remoteAddress === undefined) return false;
    const address = plainAddress(socket.remoteAddress);
    const asked = performance.now();
    const reception = options.admit?.(address) ?? true;
    if (!isPending(reception)) return receive(socket, address, reception, handshakeTimeout, proceed);
    undecided.add(socket);
    const giveUp = setTimeout(() => {
      options.failed?.(new Error('nobody decided in time whether a connection is admitted'));
      socket.destroy();
    }, handshakeTimeout);
    const over = () => {
      clearTimeout(giveUp);
      undecided.delete(socket);
    };
    socket.once('close', over);
    return reception.then((decided) => {
      over();
      const left = handshakeTimeout - (performance.now() - asked);
      return !socket.destroyed && receive(socket, address, decided, Math.max(1, left), proceed);
    });
  };

  const receive = (
    socket: Socket,
    address: string,
    reception: boolean | Preferred,
    timeout: number,
    proceed: () => void,
  ): Verdict => {
    if (reception === false) return false;
    const source = sourceOf(address);
    const preferred = reception !== true;
    const full = whyNoPlace(source, preferred);
    if (full !== undefined) return refuse(address, full);
    countUnknown(source, 1);
    const key = ends(socket);
    const deadline = setTimeout(() => {
      handshake.reason = 'HANDSHAKE_TIMEOUT';
      socket.destroy();
    }, timeout);
    let counted = true;
    const forget = () => {
      if (counted) countUnknown(source, -1);
      counted = false;
    };
    const reason = closedInHandshake;
    const handshake: Handshake = { socket, address, source, preferred, deadline, reason, forget };
    handshakes.set(key, handshake);
    // Where places run short they go to who is quick, and nobody is quick who has to wait.
    const delay = preferred && (unknown.get(source) ?? 0) <= maxOfSource / 2 ? reception.delay : 0;
    const late = delay > 0 ? setTimeout(proceed, delay) : undefined;
    socket.once('close', () => {
      clearTimeout(deadline);
      clearTimeout(late);
      handshake.forget();
      if (handshakes.get(key) !== handshake) return;
      handshakes.delete(key);
      const silent = handshake.reason === closedInHandshake && socket.bytesRead === 0;
      refuse(address, silent ? 'CLOSED_AT_ONCE' : handshake.reason);
    });
    return late === undefined || 'later';
  };
  gate(server, 'connection', onConnection, options.failed);

  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
    const handshake = handshakes.get(ends(socket));
    if (handshake && error.code && error.code !== 'ECONNRESET') handshake.reason = error.code;
    socket.destroy();
  });

  const onSecureConnection = (socket: TLSSocket) => {
    const key = ends(socket);
    const handshake = handshakes.get(key);
    if (!handshake || socket.remoteAddress === undefined) return false;
    const leaveHandshake = () => {
      clearTimeout(handshake.deadline);
      handshakes.delete(key);
    };
    const address = plainAddress(socket.remoteAddress);
    let certificate: Certificate | undefined;
    if (mutual) {
      const judged = clientCertificate(socket, ports.crypto);
      if (judged.isErr()) {
        leaveHandshake();
        return refuse(address, judged.error.reason, judged.error.certificate);
      }
      certificate = judged.value;
    }
    const own = socket.getX509Certificate();
    const presented = own && ports.crypto.readCertificate(own.raw);
    if (!presented?.isOk()) {
      leaveHandshake();
      return refuse(address, 'NO_CERTIFICATE_OF_OURS');
    }
    const tlsVersion = socket.getProtocol() ?? 'unknown';
    const peer = { address, certificate, presented: presented.value, tlsVersion };
    return after(mutual && (options.knows?.(peer) ?? true), (known) => {
      if (socket.destroyed || handshakes.get(key) !== handshake) return false;
      leaveHandshake();
      if (known) handshake.forget();
      established.set(socket, { peer, state: 'idle', last: mutual && !known });
      socket.once('close', () => established.delete(socket));
      return true;
    });
  };
  gate(server, 'secureConnection', onSecureConnection, options.failed);

  server.on('drop', (data) => {
    if (data?.remoteAddress) refuse(plainAddress(data.remoteAddress), 'TOO_MANY_CONNECTIONS');
  });

  const endHandshakes = () => {
    for (const handshake of handshakes.values()) {
      handshake.reason = 'CLOSING';
      handshake.socket.destroy();
    }
    for (const socket of undecided) socket.destroy();
  };

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
      endHandshakes();
      for (const [socket, connection] of established) end(socket, connection);
    },
    closeAll() {
      endHandshakes();
      for (const socket of established.keys()) socket.destroy();
    },
  };
}

export type Connections = ReturnType<typeof connectionsOf>;
