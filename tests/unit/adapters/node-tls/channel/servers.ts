import type { Server, Socket } from 'node:net';
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { afterEach, beforeAll } from 'vitest';
import { nodeCrypto } from '../../../../../src/adapters/node-crypto/crypto.js';
import { tlsChannel } from '../../../../../src/adapters/node-tls/channel.js';
import type { Channel, ChannelTarget } from '../../../../../src/ports/channel.js';
import {
  type Asked,
  askOver,
  channelTargetOf,
  type Identities,
  makeIdentities,
} from '../../../../support/network/network.js';
import { listening } from '../../../../support/network/raw-tls.js';

/** Channels and servers that say exactly what a test wants, closed after each test of a file. */
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

  /** A channel with one target, by default with the agent's CA and the dispatcher's credentials. */
  function client(port: number, more: Partial<ChannelTarget> = {}) {
    const channel: Channel = tlsChannel({ crypto: nodeCrypto() });
    closing.push(() => channel.close());
    const target = channelTargetOf(identities, '127.0.0.1', port, more);
    const ask = <E = never>(request: Asked<E> = {}, other: Partial<ChannelTarget> = {}) =>
      askOver<E>(channel, { ...target, ...other }, request);
    return { channel, target, ask };
  }

  return { start, startTls, client, identities: () => identities };
}

/** Calls back when a request with its whole body has come, as the channel sends it to these servers. */
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
