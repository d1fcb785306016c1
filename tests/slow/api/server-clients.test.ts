import type { RequestListener } from 'node:http';
import type { Socket } from 'node:net';
import type { Request, Response } from 'express';
import { describe, expect, it } from 'vitest';
import { memoryEventLog } from '../../../src/adapters/memory/event-log.js';
import { defaultLimits, type ServerLimits } from '../../../src/apps/api/serve/limits.js';
import { requestsUnderWay } from '../../../src/apps/api/serve/requests.js';
import { listenAt } from '../../../src/apps/api/serve/server.js';
import { value } from '../../contract/result.js';
import { serveApi, setSettings } from '../../support/api/process.js';
import { atEnd, dispatcherOnDisk, shared } from '../../support/commands/commands.js';
import { eventually } from '../../support/fleet/fleet.js';
import { nextBytes, openTcp, received } from '../../support/network/raw-tls.js';

const control = shared(() => dispatcherOnDisk());
const api = shared(async () => {
  setSettings(control(), 'api_auth_default = allow');
  return serveApi(control().home);
});

/** Everything that comes back for some bytes, until the connection ends. */
async function raw(bytes: string, port = api().port): Promise<string> {
  const socket = await openTcp(port);
  const answer = received(socket);
  socket.write(bytes);
  return answer;
}

const get = (path: string, ...headers: string[]) =>
  [`GET ${path} HTTP/1.1`, 'Host: localhost', ...headers, '', ''].join('\r\n');
const post = (body: string, ...headers: string[]) =>
  ['POST /run HTTP/1.1', 'Host: localhost', 'Connection: close', ...headers, '', body].join('\r\n');
const statusOf = (answer: string) => Number(answer.split(' ')[1]);

describe('what is not HTTP as it should be is refused with a status, and closed', () => {
  it.each([
    ['no HTTP at all', '\x16\x03\x01\x00\x05hello\r\n\r\n', 400],
    ['two different lengths', post('{}', 'Content-Length: 2', 'Content-Length: 3'), 400],
    ['the same length twice', post('{}', 'Content-Length: 2', 'Content-Length: 2'), 400],
    ['a length and chunks', post('0\r\n\r\n', 'Content-Length: 5', 'Transfer-Encoding: chunked'), 400],
    ['chunks and a length', post('0\r\n\r\n', 'Transfer-Encoding: chunked', 'Content-Length: 5'), 400],
    ['another coding', post('xx', 'Transfer-Encoding: chunked, identity'), 400],
    ['a bad chunk', post('zz\r\n', 'Transfer-Encoding: chunked'), 400],
    ['a length that is no number', post('{}', 'Content-Length: +2'), 400],
    ['a negative length', post('{}', 'Content-Length: -2'), 400],
    ['white space before the colon', get('/health', 'X : y'), 400],
    ['a folded header', get('/health', 'X: y', ' z'), 400],
    ['a bare carriage return', get('/health', 'X: a\rb'), 400],
    ['a NUL', get('/health', 'X: a\0b'), 400],
    ['no Host', 'GET /health HTTP/1.1\r\n\r\n', 400],
    ['two Hosts', get('/health', 'Connection: close', 'Host: b'), 400],
    ['a method that nobody knows', 'BREW /health HTTP/1.1\r\nHost: localhost\r\n\r\n', 400],
    ['a header of 20 KiB', get('/health', `X: ${'x'.repeat(20_000)}`), 431],
    ['an address of 20 KiB', get(`/${'x'.repeat(20_000)}`), 431],
    [
      'many headers',
      get('/health', 'Connection: close', ...Array.from({ length: 80 }, (_, i) => `x${i}: y`)),
      431,
    ],
    ['a proxied address', get('%zz', 'Connection: close'), 400],
  ])('%s', async (_what, bytes, status) => {
    const answer = await raw(bytes);
    expect(statusOf(answer)).toBe(status);
    expect(answer.toLowerCase()).toContain('x-request-id: ');
    expect(answer.toLowerCase()).toContain('connection: close');
    expect(answer.match(/HTTP\/1\.1 /g)).toHaveLength(1);
  });

  it('a tunnel is not opened', async () => {
    expect(await raw('CONNECT example.org:443 HTTP/1.1\r\nHost: localhost\r\n\r\n')).not.toContain(' 200 ');
  });

  it('and it goes on', async () => {
    expect((await api().ask('/health')).status).toBe(200);
    expect(api().process.output('stderr')).not.toContain('internal-error');
  });
});

it('a second request that is garbage is not answered in place of the first', async () => {
  const socket = await openTcp(api().port);
  const answer = received(socket);
  socket.write(`${get('/metrics')}garbage\r\n\r\n`);
  expect(await answer).not.toContain(' 400 ');
});

it('a header that does not end is 408 after five seconds, however slowly it comes', async () => {
  const [silent, halfway, dripping] = await Promise.all([0, 1, 2].map(() => openTcp(api().port)));
  const began = performance.now();
  const answers = Promise.all([silent, halfway, dripping].map((socket) => received(socket as Socket)));
  halfway?.write('GET /health HTTP/1.1\r\nHost: localhost\r\n');
  dripping?.write('GET /health HTTP/1.1\r\nX: ');
  const drip = setInterval(() => dripping?.writable && dripping.write('y'), 100);
  const ended = await answers;
  clearInterval(drip);
  expect(performance.now() - began).toBeGreaterThan(4_000);
  expect(performance.now() - began).toBeLessThan(25_000);
  for (const answer of ended) expect(answer === '' || statusOf(answer) === 408).toBe(true);
  expect(statusOf(ended[1] ?? '')).toBe(408);
});

describe('with limits of a test', () => {
  const limits: ServerLimits = {
    ...defaultLimits,
    headers: 500,
    request: 800,
    stall: 400,
    keepAlive: 300,
    connections: 5,
  };

  async function served(handle: RequestListener) {
    const refused: string[] = [];
    const server = await listenAt({
      place: { kind: 'tcp', bind: '127.0.0.1', port: 0 },
      tls: undefined,
      limits,
      handle,
      refused: (_address, reason) => refused.push(reason),
      failed: () => undefined,
    });
    const listening = value(server);
    atEnd(async () => {
      listening.stopListening();
      listening.closeAll();
      await listening.closed();
    });
    return { port: Number(/\d+$/.exec(listening.address)?.[0]), refused, listening };
  }

  it('a body that does not come is 408, and what handles it hears of its end', async () => {
    let told = '';
    const { port } = await served((request, response) => {
      request.resume();
      response.once('close', () => {
        told = 'closed';
      });
    });
    const answer = await raw('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf', port);
    expect(statusOf(answer)).toBe(408);
    await eventually(() => expect(told).toBe('closed'));
  });

  it('an answer that takes long is waited for', async () => {
    const { port } = await served((_request, response) => {
      setTimeout(() => response.end('late'), 1_500);
    });
    expect(await raw(get('/', 'Connection: close'), port)).toContain('late');
  });

  it('an answer that nobody takes ends its connection', async () => {
    const statuses: number[] = [];
    const requests = requestsUnderWay(memoryEventLog(), ({ status }) => statuses.push(status));
    const { port } = await served((request, response) => {
      const answer = Object.assign(response, { locals: {} });
      requests.observe(request as Request, answer as Response, () => undefined);
      response.end(Buffer.alloc(64 * 1024 * 1024));
    });
    const socket = await openTcp(port);
    socket.pause();
    socket.write(get('/'));
    await eventually(() => expect(statuses).toEqual([499]));
    socket.destroy();
  });

  it('an answer that is taken slowly is given whole', async () => {
    const { port } = await served((_request, response) => response.end(Buffer.alloc(24 * 1024 * 1024)));
    const socket = await openTcp(port);
    let length = 0;
    socket.on('data', (bytes: Buffer) => {
      length += bytes.length;
      socket.pause();
      setTimeout(() => socket.resume(), 5);
    });
    const ended = new Promise((resolve) => socket.once('close', resolve));
    socket.write(get('/', 'Connection: close'));
    await ended;
    expect(length).toBeGreaterThan(24 * 1024 * 1024);
  });

  it('a kept connection without a request is closed', async () => {
    const { port } = await served((_request, response) => response.end('one'));
    expect(await raw(get('/'), port)).toContain('one');
  });

  it('no more connections than there are places; when one has ended there is one again', async () => {
    const { port, refused } = await served((_request, response) => response.end('here'));
    const holding = await Promise.all(Array.from({ length: 5 }, () => openTcp(port)));
    expect(await raw(get('/', 'Connection: close'), port)).toBe('');
    expect(refused).toEqual(['TOO_MANY_CONNECTIONS']);
    for (const socket of holding) socket.destroy();
    await eventually(async () => {
      expect(await raw(get('/', 'Connection: close'), port)).toContain('here');
    });
  });

  it('requests on one connection are answered in their order', async () => {
    let count = 0;
    const { port } = await served((_request, response) => {
      count += 1;
      const own = String(count);
      setTimeout(() => response.end(`<${own}>`), 50 / count);
    });
    const socket = await openTcp(port);
    socket.write(get('/').repeat(3));
    let text = '';
    while (!text.includes('<3>')) text += await nextBytes(socket);
    expect(text.match(/<\d>/g)).toEqual(['<1>', '<2>', '<3>']);
    socket.destroy();
  });
});
