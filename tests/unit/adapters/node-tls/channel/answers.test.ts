import { describe, expect, it } from 'vitest';
import { failure, value } from '../../../../contract/result.js';
import { deferred, jsonOf } from '../../../../support/network/network.js';
import { capture, closed } from '../../../../support/network/raw-tls.js';
import { servers, whole } from './servers.js';

const { startTls, client } = servers();
const json = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n';

describe('answers of deployed agents', () => {
  it('are read, each on a connection of its own', async () => {
    const answers = [capture('agent-run-answer.http'), capture('agent-refusal.http')];
    let connections = 0;
    const { port } = await startTls(whole((socket) => socket.end(answers[connections++] ?? '')));
    const { ask } = client(port);
    const run = value(await ask());
    expect(run.status).toBe(200);
    expect(run.headers).toEqual([
      ['content-type', 'application/json'],
      ['content-length', '86'],
    ]);
    expect(jsonOf(run)).toEqual({
      reqid: '0011223344556677',
      stdout: 'hello q\n',
      script: 'echo',
      exit: 0,
      stderr: '',
    });
    expect(jsonOf(value(await ask()))).toEqual({ error: 'invalid JSON', exit: -1 });
    expect(connections).toBe(2);
  });

  it('are read also where they come byte by byte', async () => {
    const { port } = await startTls(
      whole((socket) => {
        const bytes = capture('agent-run-answer.http');
        const next = (at: number): void => {
          if (at === bytes.length) socket.end();
          else socket.write(bytes.subarray(at, at + 1), () => next(at + 1));
        };
        next(0);
      }),
    );
    expect(jsonOf(value(await client(port).ask()))).toMatchObject({ exit: 0 });
  });
});

it('requests are of HTTP/1.1 with an exact Content-Length and nothing that was not asked for', async () => {
  const { port, chunks } = await startTls(whole((socket) => socket.end(capture('agent-refusal.http'))));
  await client(port).ask({ path: '/run', query: '?a=b', body: new TextEncoder().encode('{"é":1}') });
  const text = Buffer.from(chunks.join(''), 'latin1').toString('utf8');
  expect(text.split('\r\n').sort()).toEqual(
    [
      'POST /run?a=b HTTP/1.1',
      `host: 127.0.0.1:${port}`,
      'connection: keep-alive',
      'content-type: application/json',
      'content-length: 8',
      '',
      '{"é":1}',
    ].sort(),
  );
});

it('a Host that the caller sets is sent as it is', async () => {
  const { port, chunks } = await startTls(whole((socket) => socket.end(capture('agent-refusal.http'))));
  await client(port).ask({ headers: [['host', 'web-01.example']] });
  expect(chunks.join('').match(/host: .*/gi)).toEqual(['host: web-01.example']);
});

it('chunked answers are read, and counted', async () => {
  const { port } = await startTls(
    whole((socket) => socket.write(`${json}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`)),
  );
  const { ask } = client(port);
  expect(jsonOf(value(await ask()))).toEqual({});
  expect(failure(await ask({ maxAnswer: 1 })).code).toBe('too_large');
});

it('informational answers are passed over', async () => {
  const { port } = await startTls(
    whole((socket) =>
      socket.write(`HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n${json}Content-Length: 2\r\n\r\n{}`),
    ),
  );
  expect(value(await client(port).ask()).status).toBe(200);
});

describe('protocol_violation', () => {
  it.each([
    ['not HTTP', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['a version that does not exist', 'HTTP/7.3 200 OK\r\nContent-Length: 0\r\n\r\n'],
    ['no length', `${json}Connection: close\r\n\r\n{}`],
    ['no length in HTTP/1.0', 'HTTP/1.0 200 OK\r\n\r\n{}'],
    ['two lengths', `${json}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`],
    ['a length and chunks', `${json}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['a length that is none', `${json}Content-Length: two\r\n\r\n{}`],
    ['chunks that are malformed', `${json}Transfer-Encoding: chunked\r\n\r\nzz\r\n`],
    ['an upgrade', 'HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n'],
    ['a continuation', 'HTTP/1.1 100 Continue\r\n\r\n'],
    ['a header of 70,000 bytes', `${json}X: ${'y'.repeat(70_000)}\r\n\r\n`],
  ])('is %s', async (_what, bytes) => {
    const { port } = await startTls(whole((socket) => socket.end(bytes)));
    const error = failure(await client(port).ask());
    expect(error.code).toBe('protocol_violation');
    expect(error.message).toContain(`127.0.0.1:${port}`);
    expect(error.message).not.toMatch(/\n/);
  });

  it.each([
    ['a path with a space', { path: '/a b' }],
    ['a header with a line break', { headers: [['x', 'a\r\ny: b']] as const }],
  ])('is also %s, which is not sent', async (_what, request) => {
    const { port, chunks } = await startTls(() => {});
    expect(failure(await client(port).ask(request)).code).toBe('protocol_violation');
    expect(chunks).toEqual([]);
  });
});

describe('connection_failed', () => {
  it('names certificate and clock as what can be, when the agent closes at once', async () => {
    const { port } = await startTls((socket) => socket.destroy());
    const error = failure(await client(port).ask());
    expect(error.code).toBe('connection_failed');
    expect(error.message).toMatch(
      /^no answer from .*: the (connection broke before an answer came; where|agent closed)/,
    );
    expect(error.message).toContain("does not trust this dispatcher's certificate, or whose clock is wrong");
  });

  it('says no more than that the connection broke, when the agent ends while it is at it', async () => {
    const { port } = await startTls(whole((socket) => setTimeout(() => socket.destroy(), 1_100)));
    const error = failure(await client(port).ask());
    expect(error.message).toBe(
      `no answer from 127.0.0.1:${port}: the connection broke before an answer came (${error.code === 'connection_failed' && error.reason})`,
    );
  });

  it('does not hint at the certificate where the agent took it before', async () => {
    let count = 0;
    const { port } = await startTls(
      whole((socket) => {
        if (count++ === 0) socket.write(`${json}Content-Length: 2\r\n\r\n{}`);
        else socket.destroy();
      }),
    );
    const { ask } = client(port);
    await ask();
    const error = failure(await ask());
    expect(error.code).toBe('connection_failed');
    expect(error.message).not.toContain('certificate');
    expect(count).toBe(2);
  });

  it.each([
    ['HTTP/1.1', `${json}Content-Length: 10\r\n\r\n{"a":`],
    ['HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\n{"a":'],
    ['HTTP/1.0 without a byte of body', 'HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\n'],
    ['chunks', `${json}Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n`],
    ['HTTP/1.1 that closes', `${json}Connection: close\r\nContent-Length: 10\r\n\r\n{"a":`],
  ])('is an answer of %s that is cut off', async (_what, bytes) => {
    const { port } = await startTls(whole((socket) => socket.end(bytes)));
    const error = failure(await client(port).ask());
    expect(error).toMatchObject({
      code: 'connection_failed',
      reason: 'closed before the answer was complete',
    });
  });
});

describe('timed_out', () => {
  it('comes after the time for the whole answer, however steadily it trickles in', async () => {
    const timers: NodeJS.Timeout[] = [];
    const { port } = await startTls(
      whole((socket) => {
        socket.write(`${json}Content-Length: 100000\r\n\r\n`);
        timers.push(setInterval(() => socket.writable && socket.write('x'), 10));
      }),
    );
    const error = failure(await client(port).ask({ answerTimeout: 150 }));
    for (const timer of timers) clearInterval(timer);
    expect(error).toMatchObject({ code: 'timed_out', phase: 'answer', timeoutMs: 150 });
  });

  it('comes also where the request is never taken', async () => {
    const { port, sockets } = await startTls((socket) => socket.pause());
    const asked = client(port).ask({ answerTimeout: 150, body: new Uint8Array(30_000_000) });
    expect(failure(await asked)).toMatchObject({ code: 'timed_out', phase: 'answer' });
    expect(sockets.size).toBeLessThanOrEqual(1);
  });

  it('closes the connection, so that a late answer is nobody else’s', async () => {
    const late = deferred<() => void>();
    let count = 0;
    const { port } = await startTls(
      whole((socket) => {
        const answer = `${json}Content-Length: 1\r\n\r\n${++count}`;
        if (count === 1) late.resolve(() => socket.write(answer));
        else socket.write(answer);
      }),
    );
    const { ask } = client(port);
    expect((await ask({ answerTimeout: 100 })).isErr()).toBe(true);
    (await late.promise)();
    expect(jsonOf(value(await ask()))).toBe(2);
  });
});

it('an answer that was sent before it was asked for is not taken for one', async () => {
  let count = 0;
  const { port, sockets } = await startTls(
    whole((socket) => {
      count += 1;
      const answer = `${json}Content-Length: 1\r\n\r\n${count}`;
      socket.write(count === 1 ? `${answer}${json}Content-Length: 1\r\n\r\n9` : answer);
    }),
  );
  const { ask } = client(port);
  expect(jsonOf(value(await ask()))).toBe(1);
  const [first] = sockets;
  if (first) await closed(first);
  expect(jsonOf(value(await ask()))).toBe(2);
});
