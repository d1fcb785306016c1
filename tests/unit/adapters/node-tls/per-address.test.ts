import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { nodeCrypto } from '../../../../src/adapters/node-crypto/crypto.js';
import { tlsListener } from '../../../../src/adapters/node-tls/listener.js';
import type { Credentials } from '../../../../src/ports/channel.js';
import { value } from '../../../contract/result.js';
import { echo } from '../../../support/network/network.js';
import { closed, nextBytes, openTls } from '../../../support/network/raw-tls.js';
import { listeners } from './serve.js';

const { serve, identities } = listeners();
const ping = 'POST /ping HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}';
const limit = 3;
const [here, neighbour] = ['127.0.0.1', '127.0.0.2'];

const opened: Socket[] = [];
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const socket of opened.splice(0)) socket.destroy();
  for (const close of closing.splice(0)) await close();
});

/** A TCP connection from an address of this host. */
const tcpFrom = (localAddress: string, port: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, localAddress });
    opened.push(socket);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.on('error', () => {});
      socket.resume();
      resolve(socket);
    });
  });

/** TLS from there; without credentials nobody in particular. */
const tlsFrom = async (localAddress: string, port: number, credentials?: Credentials) =>
  openTls(port, credentials, { socket: await tcpFrom(localAddress, port) });

/** Says nothing, as often as is allowed, and once more. */
async function fill(port: number, address: string, refused: readonly string[]) {
  for (let count = 0; count < limit; count += 1) await tcpFrom(address, port);
  await closed(await tcpFrom(address, port));
  expect(refused).toEqual(['TOO_MANY_OF_THIS_ADDRESS']);
}

const answers = async (socket: Socket) => {
  socket.write(ping);
  return (await nextBytes(socket)).split('\r\n', 1)[0];
};

describe('where clients have certificates', () => {
  it('no more than so many of an address are in their handshake; others get in', async () => {
    const { server, refused } = await serve({ maxUnknownPerAddress: limit });
    await fill(server.port, here, refused);
    const dispatcher = await tlsFrom(neighbour, server.port, identities().dispatcher);
    expect(await answers(dispatcher)).toBe('HTTP/1.1 200 OK');
    expect(opened.slice(0, limit).map((socket) => socket.closed)).toEqual([false, false, false]);
  });

  it('those that have shown one do not count, and are served while the address is full', async () => {
    const { server, refused } = await serve({ maxUnknownPerAddress: limit });
    const kept: Socket[] = [];
    for (let count = 0; count <= 2 * limit; count += 1)
      kept.push(await tlsFrom(here, server.port, identities().dispatcher));
    for (const socket of kept) expect(await answers(socket)).toBe('HTTP/1.1 200 OK');
    await fill(server.port, here, refused);
    for (const socket of kept) expect(await answers(socket)).toBe('HTTP/1.1 200 OK');
  });

  it('there is room again as soon as one of them has gone, or has shown a certificate', async () => {
    const { server, refused } = await serve({ maxUnknownPerAddress: limit });
    await fill(server.port, here, refused);
    const [first, second] = opened;
    first?.destroy();
    await vi.waitFor(async () => {
      expect(await answers(await tlsFrom(here, server.port, identities().dispatcher))).toMatch(/ 200 /);
    });
    if (!second) throw new Error('no second connection');
    const shown = await openTls(server.port, identities().dispatcher, { socket: second });
    expect(await answers(shown)).toMatch(/ 200 /);
    await vi.waitFor(async () => {
      expect(await answers(await tlsFrom(here, server.port, identities().dispatcher))).toMatch(/ 200 /);
    });
  });
});

describe('where clients have none', () => {
  const strangers = async () => {
    const refused: string[] = [];
    const listening = value(
      await tlsListener({ crypto: nodeCrypto() }).listen({
        bind: '127.0.0.1',
        port: 0,
        credentials: identities().agent,
        maxBody: 1024,
        maxConnections: 64,
        maxUnknownPerAddress: limit,
        handle: echo,
        refused: (_address, reason) => refused.push(reason),
      }),
    );
    closing.push(() => listening.close(0));
    return { port: listening.port, refused };
  };

  it('the limit holds after the handshake, too; a neighbour gets in', async () => {
    const { port, refused } = await strangers();
    const first: Socket[] = [];
    for (let count = 0; count < limit; count += 1) first.push(await tlsFrom(here, port));
    await closed(await tcpFrom(here, port));
    expect(refused).toEqual(['TOO_MANY_OF_THIS_ADDRESS']);
    expect(await answers(await tlsFrom(neighbour, port))).toBe('HTTP/1.1 200 OK');
    for (const socket of first) expect(await answers(socket)).toBe('HTTP/1.1 200 OK');
  });

  it('there is room again when one of them has gone', async () => {
    const { port } = await strangers();
    const first = await tlsFrom(here, port);
    for (let count = 1; count < limit; count += 1) await tlsFrom(here, port);
    await closed(await tcpFrom(here, port));
    first.destroy();
    await vi.waitFor(async () => {
      expect(await answers(await tlsFrom(here, port))).toBe('HTTP/1.1 200 OK');
    });
  });
});
