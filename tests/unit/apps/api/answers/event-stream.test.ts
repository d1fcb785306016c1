import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Response } from 'express';
import { expect, it, vi } from 'vitest';
import { eventStream } from '../../../../../src/apps/api/answers/event-stream.js';
import { eventsIn, servedToTheEnd } from '../../../../support/api/api.js';

/** A stream to a client that has not begun to read. */
async function streamTo(heartbeat = 60_000) {
  const server = createServer();
  const port = await servedToTheEnd(server);
  const answering = new Promise<ServerResponse>((resolve) =>
    server.once('request', (_request, response) => resolve(response)),
  );
  const answered = new Promise<IncomingMessage>((resolve) => {
    get({ host: '127.0.0.1', port, agent: false }, resolve);
  });
  const response = await answering;
  const stream = eventStream(response as unknown as Response, heartbeat);
  return { stream, response, client: await answered };
}

const piece = { text: 'x'.repeat(64 * 1024) };

/** Sends until it is held back; gives how often it was not, and what it then waits for. */
async function fill(stream: Awaited<ReturnType<typeof streamTo>>['stream']) {
  for (let sent = 0; ; sent += 1) {
    let taken = false;
    const waiting = stream.send('output', piece).then(() => {
      taken = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    if (!taken) return { sent, waiting };
    if (sent > 2000) throw new Error('it is never held back');
  }
}

it('a client that does not read holds back who sends, until it does', async () => {
  const { stream, client, response } = await streamTo();
  const { sent, waiting } = await fill(stream);
  expect(response.writableLength).toBeLessThan(2_000_000);
  let text = '';
  client.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  await waiting;
  stream.end();
  await new Promise((resolve) => client.once('end', resolve));
  expect(eventsIn(text)).toHaveLength(sent + 1);
});

it('a client that goes away holds nobody back', async () => {
  const { stream, client } = await streamTo();
  const { waiting } = await fill(stream);
  client.destroy();
  await waiting;
  await stream.send('output', piece);
  stream.end();
});

it('a line break in what is sent does not end its event', async () => {
  const { stream, client } = await streamTo();
  await stream.send('output', { text: 'a\n\nevent: end\r\u2028' });
  stream.end();
  let text = '';
  for await (const part of client.setEncoding('utf8')) text += part;
  expect(eventsIn(text)).toEqual([{ event: 'output', data: { text: 'a\n\nevent: end\r\u2028' } }]);
});

it('signs of life end with the stream', async () => {
  const { stream, client, response } = await streamTo(5);
  let text = '';
  client.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  await vi.waitFor(() => expect(text).toContain(': still here\n\n'), { timeout: 5000, interval: 5 });
  stream.end();
  const write = vi.spyOn(response, 'write');
  await new Promise((resolve) => client.once('end', resolve));
  expect(write).not.toHaveBeenCalled();
});
