import { expect, it } from 'vitest';
import type { ListenerTimings } from '../../../../src/adapters/node-tls/timings.js';
import { type HttpAnswer, jsonAnswer } from '../../../../src/domain/protocol/http-message.js';
import type { ListenOptions } from '../../../../src/ports/listener.js';
import { capturedPairing, legacyReader, legacyRequest } from '../../../support/legacy/peer.js';
import { deferred } from '../../../support/network/network.js';
import { closed, openTls, received } from '../../../support/network/raw-tls.js';
import { listeners } from './serve.js';

const { serve } = listeners();

/** Answers twice, as the pairing port does; the test decides. */
async function waiting(options: Partial<ListenOptions> = {}, timings: Partial<ListenerTimings> = {}) {
  const decision = deferred<HttpAnswer>();
  const gone = deferred();
  const served = await serve(
    {
      handle: async (request) => {
        const body = await request.body();
        if (body.isErr()) return jsonAnswer(200, { status: 'error' });
        return {
          ...jsonAnswer(200, { status: 'pending' }),
          next: (signal) => {
            if (signal.aborted) gone.resolve();
            signal.addEventListener('abort', () => gone.resolve());
            return decision.promise;
          },
        };
      },
      ...options,
    },
    timings,
  );
  return { ...served, decide: decision.resolve, gone: gone.promise };
}

const first =
  'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{"status":"pending"}';
const last =
  'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n{"status":"denied"}';

it('the captured request of an agent gets two answers in the bytes of deployed dispatchers, then the end', async () => {
  const { open, decide } = await waiting();
  const socket = await open();
  const all = received(socket);
  const reader = legacyReader(socket);
  socket.write(capturedPairing().bytes);
  expect((await reader.next()).body).toEqual({ status: 'pending' });
  decide(jsonAnswer(200, { status: 'denied' }));
  expect(await all).toBe(`${first}${last}`);
});

it('waits beyond every time limit that a connection has', async () => {
  const short = { handshake: 5_000, headers: 60, body: 60, keepAlive: 60, stall: 60, linger: 60 };
  const { open, decide } = await waiting({}, short);
  const socket = await open();
  const reader = legacyReader(socket);
  socket.write(legacyRequest({ a: 1 }));
  await reader.next();
  // A request that is too slow is refused meanwhile: its time was up, and so was that of who waits, if there were one.
  const slow = await open();
  const turnedAway = received(slow);
  slow.write('POST /pair HTTP/1.0\r\nContent-Le');
  await turnedAway;
  decide(jsonAnswer(200, { status: 'denied' }));
  expect((await reader.next()).body).toEqual({ status: 'denied' });
});

it.each([
  ['hangs up', (socket: { end(): void }) => socket.end()],
  ['is cut off', (socket: { destroy(): void }) => socket.destroy()],
])('a peer that %s while it waits is gone', async (_what, leave) => {
  const { open, gone } = await waiting();
  const socket = await open();
  const reader = legacyReader(socket);
  socket.write(legacyRequest({}));
  await reader.next();
  leave(socket);
  await gone;
});

it('a peer that hangs up before its first answer is gone, too', async () => {
  const release = deferred();
  const asked = deferred();
  const gone = deferred();
  const { open } = await serve({
    handle: async (request) => {
      await request.body();
      asked.resolve();
      await release.promise;
      return {
        ...jsonAnswer(200, {}),
        next: async (signal) => {
          if (signal.aborted) gone.resolve();
          return jsonAnswer(200, {});
        },
      };
    },
  });
  const socket = await open();
  socket.write(legacyRequest({}));
  await asked.promise;
  socket.destroy();
  await closed(socket);
  // The listener has seen the end once a later connection was served.
  const other = await open();
  other.write('GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n');
  await received(other);
  release.resolve();
  await gone.promise;
});

it.each([
  ['another request', legacyRequest({})],
  ['no HTTP', Buffer.from('\u0000\u0001garbage\r\n\r\n')],
  ['ten megabytes', Buffer.alloc(10_000_000, 'x')],
])('who sends %s while it waits is cut off', async (_what, bytes) => {
  const { open, gone } = await waiting();
  const socket = await open();
  const reader = legacyReader(socket);
  socket.write(legacyRequest({}));
  await reader.next();
  socket.write(bytes);
  await gone;
  await closed(socket);
});

it('to a request of HTTP/1.1 there is one answer', async () => {
  const { open, decide } = await waiting();
  decide(jsonAnswer(200, { status: 'denied' }));
  const socket = await open();
  const all = received(socket);
  socket.write('POST /pair HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}');
  const text = await all;
  expect(text.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(1);
  expect(text).not.toContain('denied');
});

it('a place that is waited in counts, and is free again when the peer is gone', async () => {
  const { server, gone, refused } = await waiting({ clientCas: undefined as never, maxUnknownPerAddress: 1 });
  const socket = await openTls(server.port);
  const reader = legacyReader(socket);
  socket.write(legacyRequest({}));
  await reader.next();
  await expect(openTls(server.port)).rejects.toThrow();
  expect(refused).toContain('TOO_MANY_OF_THIS_ADDRESS');
  socket.destroy();
  await gone;
  (await openTls(server.port)).destroy();
});

it('who looks whether the port is there, and leaves, is told apart from who fails', async () => {
  const { server, refused } = await waiting();
  const { connect } = await import('node:net');
  const probe = connect(server.port, '127.0.0.1');
  probe.once('connect', () => probe.end());
  probe.resume();
  await closed(probe);
  const half = connect(server.port, '127.0.0.1');
  half.once('connect', () => half.end(Buffer.from('1603010200', 'hex')));
  half.resume();
  await closed(half);
  expect(refused).toEqual(['CLOSED_AT_ONCE', 'CLOSED_IN_HANDSHAKE']);
});
