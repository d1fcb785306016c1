import { describe, expect, it } from 'vitest';
import { jsonAnswer } from '../../../../src/domain/protocol/http-message.js';
import { value } from '../../../contract/result.js';
import { deferred } from '../../../support/network/network.js';
import { capture, closed, nextBytes, received } from '../../../support/network/raw-tls.js';
import { listeners } from './serve.js';

const { serve } = listeners();

/** Status line, headers in lower case, body. */
function parsed(answer: string) {
  const at = answer.indexOf('\r\n\r\n');
  const [status = '', ...lines] = answer.slice(0, at).split('\r\n');
  const headers = new Map(
    lines.map((line) => {
      const [name = '', ...value] = line.split(': ');
      return [name.toLowerCase(), value.join(': ')] as const;
    }),
  );
  return { status, headers, body: answer.slice(at + 4) };
}

const host = 'Host: agent\r\n';

describe('requests of deployed dispatchers', () => {
  it.each(['dispatcher-run.http', 'dispatcher-ping.http'])('%s is handled and answered', async (name) => {
    const bytes = capture(name);
    const body = bytes.subarray(bytes.indexOf('\r\n\r\n') + 4);
    const { send, handled } = await serve({
      async handle(request) {
        return { status: 200, headers: [], body: value(await request.body()) };
      },
    });
    const answer = parsed(await send(bytes));
    expect(answer.status).toBe('HTTP/1.1 200 OK');
    expect(answer.headers.get('content-length')).toBe(String(body.length));
    expect(answer.headers.get('connection')).toBe('close');
    expect(answer.headers.has('transfer-encoding')).toBe(false);
    expect(Buffer.from(answer.body, 'latin1').equals(body)).toBe(true);
    expect(handled[0]?.method).toBe('POST');
    expect(handled[0]?.headers).toContainEqual(['user-agent', 'libwww-perl/6.68']);
  });
});

describe('HTTP/1.0', () => {
  it.each(['', 'Connection: keep-alive\r\n'])('is answered in kind, and closed (%j)', async (header) => {
    const { send } = await serve();
    const answer = parsed(await send(`POST /run HTTP/1.0\r\n${header}Content-Length: 4\r\n\r\nbody`));
    expect(answer.status).toBe('HTTP/1.0 200 OK');
    expect(answer.headers.get('content-length')).toBe(String(answer.body.length));
    expect(answer.headers.has('transfer-encoding')).toBe(false);
    expect(JSON.parse(answer.body)).toMatchObject({ path: '/run', body: 'body' });
  });

  it('gets large answers whole', async () => {
    const { send } = await serve({
      handle: async () => ({ status: 200, headers: [], body: Buffer.alloc(5_000_000, 'x') }),
    });
    const answer = parsed(await send('GET /big HTTP/1.0\r\n\r\n'));
    expect(answer.body.length).toBe(5_000_000);
  });

  it('gets 413 and 431 in kind', async () => {
    const { send } = await serve({ maxBody: 10 });
    expect(await send('POST / HTTP/1.0\r\nContent-Length: 11\r\n\r\n12345678901')).toMatch(
      /^HTTP\/1\.0 413 /,
    );
    expect(await send(`GET / HTTP/1.0\r\n${'X: y\r\n'.repeat(33)}\r\n`)).toMatch(/^HTTP\/1\.0 431 /);
  });

  it('may not be chunked', async () => {
    const { send, handled } = await serve();
    expect(await send('POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n')).toMatch(
      /^HTTP\/1\.[01] 400 /,
    );
    expect(handled).toEqual([]);
  });
});

describe('a connection', () => {
  it('carries one request after another', async () => {
    const { open, handled } = await serve();
    const socket = await open();
    for (const path of ['/1', '/2', '/3']) {
      socket.write(`GET ${path} HTTP/1.1\r\n${host}\r\n`);
      const answer = parsed(await nextBytes(socket));
      expect(answer.status).toBe('HTTP/1.1 200 OK');
      expect(answer.headers.get('content-length')).toBe(String(answer.body.length));
    }
    expect(handled.map(({ path }) => path)).toEqual(['/1', '/2', '/3']);
    socket.destroy();
  });

  it('ends after the answer to the first of pipelined requests; the others are not handled', async () => {
    const { send, handled } = await serve();
    const answers = await send(`GET /1 HTTP/1.1\r\n${host}\r\n`, `GET /2 HTTP/1.1\r\n${host}\r\n`);
    expect(answers.match(/HTTP\/1\.1 /g)).toHaveLength(1);
    expect(handled.map(({ path }) => path)).toEqual(['/1']);
  });

  it('carries no second answer when bytes that are no request follow one under way', async () => {
    const [started, release] = [deferred(), deferred()];
    const { open } = await serve({
      async handle() {
        started.resolve();
        await release.promise;
        return jsonAnswer(200, {});
      },
    });
    const socket = await open();
    const answers = received(socket);
    socket.write(`GET /1 HTTP/1.1\r\n${host}\r\n`);
    await started.promise;
    socket.write('\u0000\u0001 nonsense\r\n\r\n');
    await closed(socket);
    release.resolve();
    expect(await answers).toBe('');
  });
});

describe('what is not a request', () => {
  const post = `POST / HTTP/1.1\r\n${host}`;
  it.each([
    ['two lengths that differ', `${post}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`],
    ['two lengths that are equal', `${post}Content-Length: 1\r\nContent-Length: 1\r\n\r\na`],
    ['a list of lengths', `${post}Content-Length: 1, 1\r\n\r\na`],
    ['a negative length', `${post}Content-Length: -1\r\n\r\n`],
    ['a length with a sign', `${post}Content-Length: +1\r\n\r\na`],
    ['a length and chunks', `${post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['an unknown transfer encoding', `${post}Transfer-Encoding: gzip\r\n\r\n`],
    ['chunks inside another encoding', `${post}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n`],
    ['a space before the colon', `${post}Content-Length : 1\r\n\r\na`],
    ['a folded header', `${post}X: a\r\n b\r\n\r\n`],
    ['a header without a name', `${post}: a\r\n\r\n`],
    ['a NUL in a header', `${post}X: a\0b\r\n\r\n`],
    ['bare line feeds', 'POST / HTTP/1.1\nHost: a\nContent-Length: 0\n\n'],
    ['no Host', 'GET / HTTP/1.1\r\n\r\n'],
    ['nonsense', 'nonsense\r\n\r\n'],
    ['an absolute target', `GET https://agent/ping HTTP/1.1\r\n${host}\r\n`],
    ['the target *', `OPTIONS * HTTP/1.1\r\n${host}\r\n`],
    ['an upgrade', `GET / HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`],
  ])('%s is answered 400 and closed', async (_what, bytes) => {
    const { send, handled } = await serve();
    expect(await send(bytes)).toMatch(/^HTTP\/1\.[01] 400 /);
    expect(handled).toEqual([]);
  });

  it('a chunk that is malformed ends the connection, and the handler learns it', async () => {
    const bodies: unknown[] = [];
    const { send } = await serve({
      async handle(request) {
        bodies.push((await request.body()).mapErr(({ code }) => code));
        return jsonAnswer(200, {});
      },
    });
    await send(`${post}Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n`);
    expect(bodies).toEqual([expect.objectContaining({ error: 'connection_failed' })]);
  });

  it.each([
    ['HEAD', 405, `HEAD / HTTP/1.1\r\n${host}\r\n`],
    ['CONNECT', 405, `CONNECT agent:22 HTTP/1.1\r\n${host}\r\n`],
    ['an expectation', 417, `${post}Expect: 100-continue\r\nContent-Length: 1\r\n\r\na`],
    ['an unknown expectation', 417, `${post}Expect: miracles\r\nContent-Length: 1\r\n\r\na`],
    ['no version', 505, 'GET /\r\n\r\n'],
    ['HTTP/2.0', 505, `GET / HTTP/2.0\r\n${host}\r\n`],
    ['a header of 20,000 bytes', 431, `${post}X: ${'y'.repeat(20_000)}\r\n\r\n`],
  ])('%s is answered %i and closed', async (_what, status, bytes) => {
    const { send, handled } = await serve();
    const answer = await send(bytes);
    expect(Number(/^HTTP\/1\.[01] (\d+) /.exec(answer)?.[1])).toBe(status);
    expect(handled).toEqual([]);
    if (bytes.startsWith('HEAD')) expect(parsed(answer).body).toBe('');
  });
});

describe('limits', () => {
  it('take 32 header lines, also 32 times the same, and not 33', async () => {
    const { send, handled } = await serve();
    const lines = (count: number) => `${host}Connection: close\r\n${'X: y\r\n'.repeat(count - 2)}`;
    expect(await send(`GET / HTTP/1.1\r\n${lines(32)}\r\n`)).toMatch(/^HTTP\/1\.1 200 /);
    expect(handled).toHaveLength(1);
    expect(await send(`GET / HTTP/1.1\r\n${lines(33)}\r\n`)).toMatch(/^HTTP\/1\.1 431 /);
    expect(await send(`GET / HTTP/1.1\r\n${lines(1_500)}\r\n`)).toMatch(/^HTTP\/1\.1 431 /);
    expect(handled).toHaveLength(1);
  });

  it('take a chunked body up to the limit, and not above, without its announcing that', async () => {
    const { send } = await serve({ maxBody: 20 });
    const chunked = (count: number) =>
      `POST / HTTP/1.1\r\n${host}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n${'a\r\n0123456789\r\n'.repeat(count)}0\r\n\r\n`;
    expect(JSON.parse(parsed(await send(chunked(2))).body)).toMatchObject({ body: '01234567890123456789' });
    expect(parsed(await send(chunked(3))).status).toBe('HTTP/1.1 413 Payload Too Large');
  });

  it('close the connection after the answer to a body that was too large', async () => {
    const { send, handled } = await serve({ maxBody: 3 });
    const post = `POST /1 HTTP/1.1\r\n${host}Content-Length: 4\r\n\r\nfour`;
    const answers = await send(post, `GET /2 HTTP/1.1\r\n${host}\r\n`);
    expect(answers.match(/HTTP\/1\.1 413/g)).toHaveLength(1);
    expect(parsed(answers).headers.get('connection')).toBe('close');
    expect(handled).toHaveLength(1);
  });
});

describe('what a handler answers', () => {
  it('cannot change the framing', async () => {
    const { send } = await serve({
      handle: async () => ({
        status: 200,
        headers: [
          ['Content-Length', '1'],
          ['Transfer-Encoding', 'chunked'],
          ['Connection', 'keep-alive'],
        ],
        body: new TextEncoder().encode('whole'),
      }),
    });
    for (const version of ['1.0', '1.1']) {
      const text = await send(`GET / HTTP/${version}\r\n${host}Connection: close\r\n\r\n`);
      expect(text.match(/content-length/gi)).toHaveLength(1);
      expect(text).not.toMatch(/chunked|keep-alive/);
      expect(parsed(text)).toMatchObject({ status: `HTTP/${version} 200 OK`, body: 'whole' });
    }
  });

  it.each([
    ['a header with a line break', [['x', 'a\r\nSet-Cookie: b']] as const, 200],
    ['a header name with a space', [['x y', 'a']] as const, 200],
    ['a status that does not exist', [], 99],
  ])('is answered 500 when it is %s', async (_what, headers, status) => {
    const { send, failed } = await serve({
      handle: async () => ({ status, headers, body: new Uint8Array() }),
    });
    for (const version of ['1.0', '1.1'])
      expect(await send(`GET / HTTP/${version}\r\n${host}Connection: close\r\n\r\n`)).toMatch(
        /^HTTP\/1\.. 500 /,
      );
    expect(failed).toHaveLength(2);
  });
});
