import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { ok } from 'neverthrow';
import { describe, expect, it } from 'vitest';
import { failure } from '../../../../contract/result.js';
import { deferred } from '../../../../support/network/network.js';
import { servers, whole } from './servers.js';

const { startTls, client } = servers();

const head = (...headers: string[]) =>
  ['HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', ...headers, '', ''].join('\r\n');
const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;

/** Resets the TCP connection under TLS. */
const reset = (socket: TLSSocket) => (socket as TLSSocket & { _parent?: Socket })._parent?.resetAndDestroy();

describe.each([
  ['that is to be kept', []],
  ['that ends with the answer', ['Connection: close']],
] as const)('a connection %s, while its answer is being consumed', (_what, headers) => {
  /** Asks, has the first piece wait until it is told to go on, and then counts. */
  async function slow(answer: (socket: TLSSocket) => void) {
    const connected = deferred<TLSSocket>();
    const { port } = await startTls(
      whole((socket) => {
        connected.resolve(socket);
        answer(socket);
      }),
    );
    const { ask, channel } = client(port);
    const [first, goOn] = [deferred(), deferred()];
    let length = 0;
    const stop = new AbortController();
    const ended = ask({
      signal: stop.signal,
      onBody: () => async (bytes) => {
        length += bytes.length;
        first.resolve();
        await goOn.promise;
        return ok(undefined);
      },
    });
    await first.promise;
    return { ended, goOn, stop, channel, length: () => length, server: await connected.promise };
  }

  it('may be reset by the other side', async () => {
    const { ended, goOn, server } = await slow((socket) => socket.write(head(...headers) + chunk('some')));
    const closed = new Promise((resolve) => server.once('close', resolve));
    reset(server);
    await closed;
    goOn.resolve();
    expect(failure(await ended)).toMatchObject({ code: 'connection_failed' });
  });

  it('may be ended by the other side before the answer is whole', async () => {
    const { ended, goOn } = await slow((socket) => socket.end(head(...headers) + chunk('some')));
    goOn.resolve();
    const error = failure(await ended);
    expect(error).toMatchObject({
      code: 'connection_failed',
      reason: 'closed before the answer was complete',
    });
  });

  it('may be ended by the other side when the answer is whole', async () => {
    const text = head(...headers) + chunk('some') + chunk('more') + chunk('');
    const { ended, goOn, length } = await slow((socket) => socket.end(text));
    goOn.resolve();
    expect((await ended).isOk()).toBe(true);
    expect(length()).toBe(8);
  });

  it('may be given up by this side', async () => {
    const { ended, goOn, stop, server } = await slow((socket) =>
      socket.write(head(...headers) + chunk('some')),
    );
    const closed = new Promise((resolve) => server.once('close', resolve));
    stop.abort();
    expect(failure(await ended).code).toBe('aborted');
    await closed;
    goOn.resolve();
  });

  it('may be closed by this side with all others', async () => {
    const { ended, goOn, channel } = await slow((socket) => socket.write(head(...headers) + chunk('some')));
    await channel.close();
    expect(failure(await ended).code).toBe('aborted');
    goOn.resolve();
  });

  it('takes no more than fits into its buffers', async () => {
    let sent = 0;
    let full = 0;
    const piece = chunk('x'.repeat(65_536));
    const pour = (socket: TLSSocket) => {
      for (; full === 0 && sent < 2000; sent += 1) if (!socket.write(piece)) full = sent;
      if (sent === 2000) socket.end(chunk(''));
      else
        socket.once('drain', () => {
          full = 0;
          pour(socket);
        });
    };
    const { ended, goOn, length } = await slow((socket) => {
      socket.write(head(...headers));
      pour(socket);
    });
    let before = -1;
    while (sent !== before) {
      before = sent;
      for (let turn = 0; turn < 500; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(sent).toBeLessThan(1000);
    goOn.resolve();
    expect((await ended).isOk()).toBe(true);
    expect(length()).toBe(2000 * 65_536);
  });
});

it('an answer that never ends is given up when no byte of it comes for too long', async () => {
  const { port } = await startTls(whole((socket) => socket.write(head() + chunk('some'))));
  const parts: number[] = [];
  const error = failure(
    await client(port).ask({
      answerTimeout: 100,
      onBody: () => async (bytes) => {
        parts.push(bytes.length);
        return ok(undefined);
      },
    }),
  );
  expect(error).toMatchObject({ code: 'timed_out', phase: 'answer' });
  expect(parts).toEqual([4]);
});
