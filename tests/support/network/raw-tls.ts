import { readFileSync } from 'node:fs';
import { type AddressInfo, connect as connectTcp, type Server, type Socket } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import type { Credentials } from '../../../src/ports/channel.js';

/** The bytes of a file in tests/captures. */
export const capture = (name: string): Buffer =>
  readFileSync(new URL(`../../captures/${name}`, import.meta.url));

/** Everything that a peer sends until the connection ends, however it ends. */
export function received(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(text));
  });
}

/** The next bytes that a peer sends; rejects when the connection ends before. */
export const nextBytes = (socket: Socket): Promise<string> =>
  new Promise((resolve, reject) => {
    const onClose = () => reject(new Error('closed'));
    socket.once('close', onClose);
    socket.once('data', (chunk: Buffer) => {
      socket.off('close', onClose);
      resolve(chunk.toString('latin1'));
    });
  });

/** A TLS connection to a port of this host, past the handshake. */
export const openTls = (
  port: number,
  credentials?: Credentials,
  options: ConnectionOptions = {},
): Promise<TLSSocket> =>
  new Promise((resolve, reject) => {
    const socket = connect({
      host: '127.0.0.1',
      port,
      rejectUnauthorized: false,
      ...(credentials ? { key: credentials.key, cert: credentials.certificate } : {}),
      ...options,
    });
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      socket.off('error', reject);
      socket.on('error', () => {});
      resolve(socket);
    });
  });

/** A TCP connection to a port of this host. */
export const openTcp = (port: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connectTcp({ host: '127.0.0.1', port });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      socket.on('error', () => {});
      resolve(socket);
    });
  });

export const closed = (socket: Socket): Promise<void> =>
  socket.closed ? Promise.resolve() : new Promise((resolve) => socket.once('close', () => resolve()));

/** Starts a server on a port that the system chooses. */
export const listening = (server: Server, port = 0): Promise<number> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: '127.0.0.1', port }, () => resolve((server.address() as AddressInfo).port));
  });

/** Sockets that keep this process alive. */
export const openSockets = (): number =>
  process.getActiveResourcesInfo().filter((kind) => /^(TCPSocketWrap|TLSWrap|TCPWRAP)$/.test(kind)).length;
