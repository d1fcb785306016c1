import { expect, it, vi } from 'vitest';
import type { ListenerTimings } from '../../../../src/adapters/node-tls/timings.js';
import { deferred } from '../../../support/network/network.js';
import { closed, received } from '../../../support/network/raw-tls.js';
import { listeners } from './serve.js';

const { serve } = listeners();
const get = (version = '1.1') => `GET / HTTP/${version}\r\nHost: a\r\n\r\n`;
const piece = new Uint8Array(64 * 1024).fill(97);

/** A stream of `count` pieces that knows how many were asked for. */
function pieces(count: number) {
  const ended = deferred();
  const progress = { asked: 0 };
  let over = false;
  const end = async () => {
    over = true;
    ended.resolve();
    return { done: true, value: undefined } as const;
  };
  const stream: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({
      next: async () => {
        if (over || progress.asked === count) return { done: true, value: undefined };
        progress.asked += 1;
        return { done: false, value: piece };
      },
      return: end,
    }),
  };
  return { stream, progress, ended: ended.promise };
}

const streaming = (stream: AsyncIterable<Uint8Array>, timings: Partial<ListenerTimings> = {}) =>
  serve({ handle: async () => ({ status: 200, headers: [], body: new Uint8Array(), stream }) }, timings);

/** What came in chunks, put together. */
function dechunked(answer: string): number {
  let at = answer.indexOf('\r\n\r\n') + 4;
  let total = 0;
  for (;;) {
    const end = answer.indexOf('\r\n', at);
    const size = Number.parseInt(answer.slice(at, end), 16);
    if (size === 0) return total;
    total += size;
    at = end + 2 + size + 2;
  }
}

it('is chunked to a client of HTTP/1.1', async () => {
  const { stream } = pieces(3);
  const { open } = await streaming(stream);
  const socket = await open();
  const all = received(socket);
  socket.write(get().replace('Host', 'Connection: close\r\nHost'));
  const answer = await all;
  expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  expect(answer.toLowerCase()).toContain('transfer-encoding: chunked');
  expect(answer.toLowerCase()).not.toContain('content-length');
  expect(dechunked(answer)).toBe(3 * piece.length);
});

it('is refused to a client of HTTP/1.0, and ended', async () => {
  const { stream, ended } = pieces(3);
  const { send, failed } = await streaming(stream);
  expect(await send(get('1.0'))).toMatch(/^HTTP\/1\.0 500 /);
  await ended;
  expect(failed).toHaveLength(1);
});

it('is asked for no faster than it is read, and goes on to a slow reader for longer than the stall', async () => {
  const { stream, progress } = pieces(600);
  const { open, failed } = await streaming(stream, { stall: 1_500 });
  const socket = await open();
  socket.write(get().replace('Host', 'Connection: close\r\nHost'));
  let taken = 0;
  let largest = 0;
  let slow = 400;
  socket.on('data', (chunk: Buffer) => {
    taken += chunk.length;
    largest = Math.max(largest, progress.asked * piece.length - taken);
    if (slow === 0) return;
    slow -= 1;
    socket.pause();
    setTimeout(() => socket.resume(), 5);
  });
  await closed(socket);
  expect(taken).toBeGreaterThan(600 * piece.length);
  // What the two kernels hold, and no more.
  expect(largest).toBeLessThan(16 * 1024 * 1024);
  expect(failed).toEqual([]);
});

it('a reader that takes nothing for as long as the stall is left', async () => {
  const { stream, progress, ended } = pieces(100_000);
  const { open } = await streaming(stream, { stall: 100 });
  const socket = await open();
  socket.write(get());
  socket.pause();
  await ended;
  expect(progress.asked).toBeLessThan(1000);
});

it('a reader that goes away is noticed, also where nothing is to be sent', async () => {
  const ended = deferred();
  const asked = deferred();
  const { open } = await streaming({
    [Symbol.asyncIterator]: () => ({
      next: () => {
        asked.resolve();
        return new Promise(() => undefined);
      },
      return: async () => {
        ended.resolve();
        return { done: true, value: undefined };
      },
    }),
  });
  const socket = await open();
  socket.write(get());
  await asked.promise;
  socket.destroy();
  await ended.promise;
});

it('waits for a stream that is silent longer than every time limit', async () => {
  const go = deferred();
  const short = { headers: 60, body: 60, keepAlive: 60, stall: 60, linger: 60 };
  const { open, server, failed } = await streaming(
    (async function* () {
      yield piece;
      await go.promise;
      yield piece;
    })(),
    short,
  );
  const socket = await open();
  const all = received(socket);
  socket.write(get());
  // Somebody else's request is too slow meanwhile.
  const other = await open();
  other.write('GET ');
  await closed(other.resume());
  expect(socket.destroyed).toBe(false);
  go.resolve();
  await vi.waitFor(() => expect(socket.bytesRead).toBeGreaterThan(2 * piece.length));
  await server.close(0);
  expect(dechunked(await all)).toBe(2 * piece.length);
  expect(failed).toEqual([]);
});

it('a request behind it on the same connection is not done', async () => {
  const { stream } = pieces(3);
  const { open, handled } = await streaming(stream);
  const socket = await open();
  const all = received(socket);
  socket.write(get() + get());
  expect(dechunked(await all)).toBe(3 * piece.length);
  expect(handled).toHaveLength(1);
});
