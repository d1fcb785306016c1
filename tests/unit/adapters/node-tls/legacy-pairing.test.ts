import { createServer, type TLSSocket } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { nodeCrypto } from '../../../../src/adapters/node-crypto/crypto.js';
import { tlsLegacyPairing } from '../../../../src/adapters/node-tls/legacy-pairing.js';
import { failure, value } from '../../../contract/result.js';
import { type Identities, makeIdentities } from '../../../support/network/network.js';
import { closed, listening } from '../../../support/network/raw-tls.js';

const crypto = nodeCrypto();
let identities: Identities;
const closing: (() => void)[] = [];

beforeAll(async () => {
  identities = await makeIdentities();
});
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** Answers with these bytes as soon as a request has come whole. */
async function answering(work: (socket: TLSSocket) => void) {
  const requests: string[] = [];
  const sockets: TLSSocket[] = [];
  const { key, certificate } = identities.agent;
  const server = createServer({ key, cert: certificate }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.once('data', (chunk: Buffer) => {
      requests.push(chunk.toString('latin1'));
      work(socket);
    });
  });
  closing.push(() => server.close());
  const port = await listening(server);
  const ask = (more = {}) =>
    tlsLegacyPairing({ crypto }).request({
      host: '127.0.0.1',
      port,
      body: Buffer.from('{"a":1}'),
      connectTimeout: 5_000,
      answerTimeout: 5_000,
      ...more,
    });
  return { ask, requests, sockets };
}

const withBody = (body: string, head = 'HTTP/1.0 200 OK\r\n') =>
  `${head}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

const textOf = (body: Uint8Array) => Buffer.from(body).toString();

it('sends the bytes that deployed agents send', async () => {
  const { ask, requests } = await answering((socket) => socket.end(withBody('{}')));
  value(await ask()).close();
  expect(requests).toEqual([
    'POST /pair HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}',
  ]);
});

it('reads both answers, however their bytes are cut', async () => {
  const all = `${withBody('{"n":1}')}${withBody('{"n":2}', 'HTTP/1.0 200 \r\ncontent-length-like: 9\r\n')}`;
  for (const step of [1, 7, all.length]) {
    const { ask } = await answering(async (socket) => {
      socket.setNoDelay(true);
      for (let at = 0; at < all.length; at += step) {
        const part = all.slice(at, at + step);
        await new Promise((resolve) => socket.write(part, resolve));
      }
      socket.end();
    });
    const exchange = value(await ask());
    expect(textOf(exchange.first.body)).toBe('{"n":1}');
    expect(textOf(value(await exchange.second(5_000)).body)).toBe('{"n":2}');
  }
});

describe('an answer is refused', () => {
  const line = 'HTTP/1.0 200 OK\r\n';
  it.each([
    ['without a status line', 'pending\r\n\r\n'],
    ['of HTTP/2', 'HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n'],
    ['without a length', `${line}Content-Type: a\r\n\r\n`],
    ['with two lengths', `${line}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}`],
    ['with a length that is no number', `${line}Content-Length: +2\r\n\r\n{}`],
    ['that is chunked', `${line}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}`],
    ['with a folded line', `${line}Content-Length: 2\r\n folded\r\n\r\n{}`],
    ['with a control character', `${line}Content-Length: 2\r\nX: \u001b\r\n\r\n{}`],
    ['with 33 lines', `${line}${'X: y\r\n'.repeat(32)}Content-Length: 2\r\n\r\n{}`],
    ['with a line without an end', `${line}X: ${'y'.repeat(9_000)}`],
  ])('%s', async (_what, bytes) => {
    const { ask, sockets } = await answering((socket) => socket.write(Buffer.from(bytes, 'latin1')));
    expect(failure(await ask()).code).toBe('protocol_violation');
    sockets[0]?.resume();
    if (sockets[0]) await closed(sockets[0]);
  });

  it('above 64 KiB, before it has come', async () => {
    const { ask } = await answering((socket) => socket.write(`${line}Content-Length: 65537\r\n\r\n`));
    expect(failure(await ask()).code).toBe('too_large');
  });

  it('that ends before its end', async () => {
    const { ask } = await answering((socket) => socket.end(`${line}Content-Length: 9\r\n\r\n{}`));
    expect(failure(await ask()).code).toBe('connection_failed');
  });

  it('as the second one, by the same rules', async () => {
    const { ask } = await answering((socket) => socket.write(`${withBody('{}')}garbage\r\n\r\n`));
    const exchange = value(await ask());
    expect(failure(await exchange.second(5_000)).code).toBe('protocol_violation');
  });
});

it('who sends without end is not taken in', async () => {
  const { ask, sockets } = await answering((socket) => {
    socket.write(withBody('{}'));
    socket.write(Buffer.alloc(10_000_000, 'x'));
  });
  const exchange = value(await ask());
  expect(failure(await exchange.second(5_000)).code).toBe('protocol_violation');
  sockets[0]?.resume();
  if (sockets[0]) await closed(sockets[0]);
});

it('says that the other side speaks no TLS, or that its name does not resolve', async () => {
  const { createServer: plain } = await import('node:net');
  const server = plain((socket) => socket.end('HTTP/1.0 400 no\r\n\r\n').on('error', () => {}));
  closing.push(() => server.close());
  const { ask } = await answering(() => {});
  expect(failure(await ask({ port: await listening(server as never) })).code).toBe('tls_failed');
  expect(failure(await ask({ host: 'nowhere.invalid' })).code).toBe('host_unresolved');
});

it('gives up where TLS never comes to an end', async () => {
  const { createServer: plain } = await import('node:net');
  const server = plain((socket) => socket.on('error', () => {}).resume());
  closing.push(() => server.close());
  const { ask } = await answering(() => {});
  const port = await listening(server as never);
  expect(failure(await ask({ port, connectTimeout: 30 }))).toMatchObject({
    code: 'timed_out',
    phase: 'connect',
  });
});
