import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { expect, it, vi } from 'vitest';
import { defaultTimings } from '../../../../src/adapters/node-tls/timings.js';
import { jsonAnswer } from '../../../../src/domain/protocol/http-message.js';
import { deferred } from '../../../support/network/network.js';
import { closed, nextBytes, openTcp, received } from '../../../support/network/raw-tls.js';
import { listeners } from './serve.js';

const { serve } = listeners();
const host = 'Host: a\r\n';

it('the limits are those of the contract', () => {
  expect(defaultTimings).toMatchObject({ handshake: 5_000, headers: 5_000, body: 30_000 });
});

it('a client that says nothing is closed', async () => {
  const { server, refused } = await serve({}, { handshake: 60 });
  expect(await received(await openTcp(server.port))).toBe('');
  await vi.waitFor(() => expect(refused).toEqual(['HANDSHAKE_TIMEOUT']));
});

it('a connection of which nobody decides is closed after that time', async () => {
  for (const undecided of ['admit', 'knows'] as const) {
    const { handled, refused, failed, send } = await serve(
      { [undecided]: () => new Promise<boolean>(() => {}) },
      { handshake: 150 },
    );
    const answer = await send('GET /ping HTTP/1.1\r\nHost: a\r\n\r\n').catch(() => Buffer.alloc(0));
    expect(answer).toHaveLength(0);
    expect(handled).toEqual([]);
    await expect.poll(() => [refused.length, failed.length]).toEqual(undecided === 'knows' ? [1, 0] : [0, 1]);
  }
});

it('a decision that fails is a bug, and closes the connection', async () => {
  for (const decides of ['admit', 'knows'] as const) {
    const bug = new Error('bug');
    const { handled, failed, send } = await serve({ [decides]: () => Promise.reject(bug) });
    await send('GET /ping HTTP/1.1\r\nHost: a\r\n\r\n').catch(() => undefined);
    expect(failed).toEqual([bug]);
    expect(handled).toEqual([]);
  }
});

it('a client whose handshake trickles in is closed all the same', async () => {
  const { server, refused } = await serve({}, { handshake: 150 });
  const tcp = await openTcp(server.port);
  const gone = closed(tcp);
  const hello: number[] = [];
  // The bytes of a real client, one every few milliseconds: no pause is ever long.
  const slow = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      hello.push(...chunk);
      done();
    },
  });
  connectTls({ socket: slow, rejectUnauthorized: false }).on('error', () => {});
  const drip = setInterval(() => {
    const byte = hello.shift();
    if (byte !== undefined && tcp.writable) tcp.write(Buffer.of(byte));
  }, 5);
  await gone;
  clearInterval(drip);
  slow.destroy();
  await vi.waitFor(() => expect(refused).toEqual(['HANDSHAKE_TIMEOUT']));
});

it('a client that sends no request is closed', async () => {
  const { open, handled } = await serve({}, { headers: 60 });
  await closed((await open()).resume());
  expect(handled).toEqual([]);
});

it('a client whose header trickles in is closed all the same', async () => {
  const { open, handled } = await serve({}, { headers: 120 });
  const socket = await open();
  const answer = received(socket);
  socket.write('GET / HTTP/1.1\r\n');
  const drip = setInterval(() => socket.writable && socket.write('X: y\r\n'), 20);
  expect(await answer).toMatch(/^HTTP\/1\.1 408 |^$/);
  clearInterval(drip);
  expect(handled).toEqual([]);
});

it('a client whose body does not come is closed, and the handler learns it', async () => {
  const ended = deferred<unknown>();
  const { open } = await serve(
    {
      async handle(request) {
        ended.resolve((await request.body()).mapErr(({ code, message }) => `${code}: ${message}`));
        return jsonAnswer(200, {});
      },
    },
    { body: 60 },
  );
  const socket = await open();
  const answer = received(socket);
  socket.write(`POST / HTTP/1.1\r\n${host}Content-Length: 9\r\n\r\nhalf`);
  expect(await ended.promise).toMatchObject({ error: 'timed_out: the body did not come within 0.06 s' });
  expect(await answer).toBe('');
});

it('a body that trickles in is given no more time', async () => {
  const ended = deferred<unknown>();
  const { open } = await serve(
    {
      async handle(request) {
        ended.resolve((await request.body()).mapErr(({ code }) => code));
        return jsonAnswer(200, {});
      },
    },
    { body: 120 },
  );
  const socket = await open();
  socket.write(`POST / HTTP/1.1\r\n${host}Content-Length: 999\r\n\r\n`);
  const drip = setInterval(() => socket.writable && socket.write('x'), 20);
  expect(await ended.promise).toMatchObject({ error: 'timed_out' });
  clearInterval(drip);
  socket.destroy();
});

it('the time of the handler does not count', async () => {
  const { open } = await serve(
    {
      async handle(request) {
        const body = await request.body();
        await new Promise((resolve) => setTimeout(resolve, 250));
        return jsonAnswer(200, { ok: body.isOk() });
      },
    },
    { handshake: 5_000, headers: 100, body: 100, keepAlive: 100, stall: 100, linger: 100 },
  );
  const socket = await open();
  socket.write(`POST / HTTP/1.1\r\n${host}Content-Length: 1\r\n\r\nx`);
  expect(await nextBytes(socket)).toMatch(/200 OK/);
  socket.destroy();
});

it('a kept connection without requests is closed', async () => {
  const { open } = await serve({}, { keepAlive: 60 });
  const socket = await open();
  socket.write(`GET / HTTP/1.1\r\n${host}\r\n`);
  expect(await received(socket)).toMatch(/^HTTP\/1\.1 200 /);
});

it.each(['1.0', '1.1'])('a client of HTTP/%s that does not take its answer is closed', async (version) => {
  const done = deferred();
  const { open, server } = await serve(
    {
      async handle() {
        done.resolve();
        return { status: 200, headers: [], body: Buffer.alloc(50_000_000) };
      },
    },
    { stall: 100, linger: 100 },
  );
  const socket = await open();
  socket.write(`GET / HTTP/${version}\r\n${host}\r\n`);
  socket.pause();
  await done.promise;
  // Waits for all connections, and this client would never close its own.
  await server.close(20_000);
  socket.destroy();
});

it('a client that takes its answer slowly gets it whole', async () => {
  const size = 3_000_000;
  const { open } = await serve(
    { handle: async () => ({ status: 200, headers: [], body: Buffer.alloc(size) }) },
    { stall: 300, linger: 50 },
  );
  const socket = await open();
  socket.write('GET / HTTP/1.0\r\n\r\n');
  let count = 0;
  socket.on('data', (chunk: Buffer) => {
    count += chunk.length;
    socket.pause();
    setTimeout(() => socket.resume(), 1);
  });
  await closed(socket);
  expect(count).toBeGreaterThan(size);
});

it('a client that does not close after the last answer is closed', async () => {
  const { server, open } = await serve({}, { linger: 60 });
  const socket = await open();
  socket.allowHalfOpen = true;
  socket.write('GET / HTTP/1.0\r\n\r\n');
  socket.resume();
  await once(socket, 'end');
  await server.close(20_000);
  socket.destroy();
});
