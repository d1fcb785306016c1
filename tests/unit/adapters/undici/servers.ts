import type { Server, Socket } from 'node:net';
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { afterEach, beforeAll } from 'vitest';
import { nodeCrypto } from '../../../../src/adapters/node-crypto/crypto.js';
import { undiciTransport } from '../../../../src/adapters/undici/transport.js';
import type { Transport, TransportTarget } from '../../../../src/ports/transport.js';
import { type Identities, makeIdentities, requestOf, targetOf } from '../../../support/network/network.js';
import { listening } from '../../../support/network/raw-tls.js';

/** Transports and servers that say exactly what a test wants, closed after each test of a file. */
export function servers() {
  const closing: (() => Promise<void>)[] = [];
  let identities: Identities;

  beforeAll(async () => {
    identities = await makeIdentities();
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  /** Closed with all its connections after the test, or when asked for. */
  async function start(server: Server, port = 0) {
    const sockets = new Set<Socket>();
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
    });
    const close = () =>
      new Promise<void>((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      });
    closing.push(close);
    return { port: await listening(server, port), sockets, close };
  }

  /** A TLS server with the agent's certificate; `onRequest` gets every chunk that arrives. */
  async function startTls(
    onRequest: (socket: TLSSocket, text: string) => void,
    options: TlsOptions = {},
    port = 0,
  ) {
    const { agent, ca } = identities;
    const server = createServer({
      key: agent.key,
      cert: agent.certificate,
      ca: ca.pem,
      requestCert: true,
      rejectUnauthorized: false,
      ...options,
    });
    const chunks: string[] = [];
    server.on('tlsClientError', () => {});
    server.on('secureConnection', (socket) => {
      socket.on('error', () => {});
      socket.on('data', (chunk: Buffer) => {
        chunks.push(chunk.toString('latin1'));
        onRequest(socket, chunk.toString('latin1'));
      });
    });
    return { ...(await start(server, port)), chunks };
  }

  /** A transport with one target, by default with the agent's CA and the dispatcher's credentials. */
  function client(port: number, more: Partial<TransportTarget> = {}) {
    const transport: Transport = undiciTransport({ crypto: nodeCrypto() });
    closing.push(() => transport.close());
    const target = targetOf(identities, '127.0.0.1', port, more);
    const ask = (request: Parameters<typeof requestOf>[0] = {}, other: Partial<TransportTarget> = {}) =>
      transport.request({ ...target, ...other }, requestOf(request));
    return { transport, target, ask };
  }

  return { start, startTls, client, identities: () => identities };
}

/** Calls back when a request with its whole body has come, as the transport sends it to these servers. */
export const whole = (answer: (socket: TLSSocket) => void) => {
  const texts = new WeakMap<TLSSocket, string>();
  return (socket: TLSSocket, chunk: string) => {
    const text = (texts.get(socket) ?? '') + chunk;
    const at = text.indexOf('\r\n\r\n');
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
    const complete = at >= 0 && text.length >= at + 4 + length;
    texts.set(socket, complete ? '' : text);
    if (complete) answer(socket);
  };
};
