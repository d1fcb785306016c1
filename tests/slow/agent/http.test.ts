import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type AgentOnDisk,
  type Started,
  shared,
  temporaryDirectory,
} from '../../support/commands/commands.js';
import { dispatcherCredentials, pairedHost, rawRequest } from '../../support/fleet/fleet.js';
import { bytesOf, parseAnswer, requestOf, signedFor } from '../../support/network/raw-http.js';
import { openTls, received } from '../../support/network/raw-tls.js';

const host = pairedHost();
const scene = shared(async () => {
  const agent = await host.fresh();
  const ran = join(temporaryDirectory(), 'ran');
  agent.script('touch', `#!/bin/sh\ntouch ${ran}\necho done\n`);
  const daemon = await agent.serve();
  return { agent, daemon, ran, who: dispatcherCredentials(host.control()) };
});
let agent: AgentOnDisk;
let daemon: Started;
beforeAll(() => {
  ({ agent, daemon } = scene());
});

const body = '{"script":"touch","args":[]}';

/** Sends what `alter` makes of the lines of a run that is signed as it must be, and gives all that comes back. */
async function sent(alter: (lines: string[]) => string): Promise<string> {
  const { who } = scene();
  const socket = await openTls(agent.port, who);
  const answer = received(socket);
  const request = signedFor(socket, who, requestOf('/run', body));
  const [head = ''] = bytesOf(request).toString('latin1').split('\r\n\r\n');
  socket.write(Buffer.from(alter(head.split('\r\n')), 'latin1'));
  return answer;
}

const whole = (lines: readonly string[], content = body) => `${lines.join('\r\n')}\r\n\r\n${content}`;
const closing = 'Connection: close';
const withLine = (line: string) => (lines: string[]) => whole([...lines, line]);
const first = (line: string) => (lines: string[]) => whole([line, ...lines.slice(1)]);
const chunked = (content: string) => (lines: string[]) =>
  whole(
    [...lines.filter((line) => !line.startsWith('content-length')), 'Transfer-Encoding: chunked'],
    content,
  );
const lineOf = (lines: readonly string[], name: string) =>
  lines.find((line) => line.startsWith(`${name}:`)) ?? '';
const size = body.length.toString(16);

/** The agent is where it was: it answers pings, and has run nothing. */
async function unharmed(): Promise<void> {
  const { ran, who } = scene();
  expect((await rawRequest(agent.port, who, '/ping', '{}')).statusLine).toBe('HTTP/1.0 200 OK');
  expect([existsSync(ran), daemon.child.exitCode]).toEqual([false, null]);
}

describe('a signed run is refused and its connection closed', () => {
  it.each<[string, (lines: string[]) => string]>([
    ['with a second length', withLine(`Content-Length: ${body.length}`)],
    ['with another length', withLine('Content-Length: 1')],
    [
      'with a list of lengths',
      (lines) => whole(lines.map((line) => line.replace(/^(content-length: .*)/, '$1, 1'))),
    ],
    ['with a signed length', (lines) => whole(lines.map((line) => line.replace('content-length: ', '$&+')))],
    ['with a length in hex', (lines) => whole(lines.map((line) => line.replace('content-length: ', '$&0x')))],
    ['with a length and chunks', withLine('Transfer-Encoding: chunked')],
    ['with a length and another encoding', withLine('Transfer-Encoding: identity')],
    ['with chunks, twice', withLine('Transfer-Encoding: chunked, chunked')],
    ['with a folded line', withLine('X-A: b\r\n c')],
    ['with a line that ends in LF', withLine('X-A: b\nX-C: d')],
    ['with lines that end in LF', (lines) => `${lines.join('\n')}\n\n${body}`],
    ['with a CR in a value', withLine('X-A: b\rX-C: d')],
    ['with a line that ends in CR', (lines) => `${lines.join('\r')}\r\r${body}`],
    ['with a space before the colon', withLine('X-A : b')],
    ['with a name that holds a space', withLine('X A: b')],
    ['with no name', withLine(': b')],
    ['with a line without a colon', withLine('nonsense')],
    ['with a NUL in a value', withLine('X-A: b\0c')],
    ['with a NUL in a name', withLine('X\0A: b')],
    ['with a control character in a value', withLine('X-A: b\x01c')],
    ['with a second Host', withLine('Host: agent.test:7443')],
    ['with a second Signature', (lines) => whole([...lines, lineOf(lines, 'signature')])],
    ['with a second Signature-Input', (lines) => whole([...lines, lineOf(lines, 'signature-input')])],
    ['with another Signature', withLine('Signature: cx=:AAAA:')],
    ['with a second Content-Digest', (lines) => whole([...lines, lineOf(lines, 'content-digest')])],
    ['with a second Ctrl-Exec-Target', (lines) => whole([...lines, lineOf(lines, 'ctrl-exec-target')])],
    ['with a second Content-Type', withLine('Content-Type: application/json')],
    ['without Host', (lines) => whole(lines.filter((line) => !line.startsWith('host')))],
    ['with an absolute target', first('POST https://agent.test:7443/run HTTP/1.1')],
    ['with the target *', first('POST * HTTP/1.1')],
    ['with an authority as target', first('POST agent.test:7443 HTTP/1.1')],
    ['with a target without a slash', first('POST run HTTP/1.1')],
    ['with a NUL in the target', first('POST /run\0 HTTP/1.1')],
    ['with a space in the target', first('POST /run now HTTP/1.1')],
    ['without a target', first('POST  HTTP/1.1')],
    ['with a fragment', first('POST /run#a HTTP/1.1')],
    ['with two slashes', first('POST //run HTTP/1.1')],
    ['with dots', first('POST /x/../run HTTP/1.1')],
    ['with an escaped letter', first('POST /%72un HTTP/1.1')],
    ['with a lower-case method', first('post /run HTTP/1.1')],
    ['with an unknown method', first('RUN /run HTTP/1.1')],
    ['in HTTP/0.9', () => 'POST /run\r\n\r\n'],
    ['in HTTP/0.9, with headers', first('POST /run')],
    ['in HTTP/2.0', first('POST /run HTTP/2.0')],
    ['in HTTP/1.2', first('POST /run HTTP/1.2')],
    ['in HTTP/1.10', first('POST /run HTTP/1.10')],
    ['in the preface of HTTP/2', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['in TLS once more', () => '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
    ['after rubbish', (lines) => `rubbish\r\n${whole(lines)}`],
    [
      'with 33 header lines',
      (lines) => whole([...lines, ...Array.from({ length: 33 - lines.length + 1 }, () => 'X: y')]),
    ],
    ['with 5,000 header lines', (lines) => whole([...lines, ...Array.from({ length: 5_000 }, () => 'X: y')])],
    ['with a header of 64 KiB', withLine(`X: ${'y'.repeat(65_536)}`)],
    ['with a header name of 64 KiB', withLine(`${'x'.repeat(65_536)}: y`)],
    ['with a target of 64 KiB', first(`POST /${'x'.repeat(65_536)} HTTP/1.1`)],
    ['with a chunk size that is none', chunked(`zz\r\n${body}\r\n0\r\n\r\n`)],
    ['with a negative chunk size', chunked(`-${size}\r\n${body}\r\n0\r\n\r\n`)],
    ['with a chunk size in C', chunked(`0x${size}\r\n${body}\r\n0\r\n\r\n`)],
    ['with a chunk size beyond 64 bits', chunked(`1${'0'.repeat(16)}\r\n${body}\r\n0\r\n\r\n`)],
    ['with a chunk size that ends in LF', chunked(`${size}\n${body}\r\n0\r\n\r\n`)],
    ['with a space in the chunk size', chunked(`${size} \r\n${body}\r\n0\r\n\r\n`)],
    ['with a chunk longer than its size', chunked(`1\r\n${body}\r\n0\r\n\r\n`)],
    ['with a CR in a chunk extension', chunked(`${size};a=\r${body}\r\n0\r\n\r\n`)],
    ['with a chunk extension of 64 KiB', chunked(`${size};a=${'b'.repeat(65_536)}\r\n${body}\r\n0\r\n\r\n`)],
    ['with a trailer that is none', chunked(`${size}\r\n${body}\r\n0\r\nnonsense\r\n\r\n`)],
    ['with trailers of 64 KiB', chunked(`${size}\r\n${body}\r\n0\r\nx: ${'y'.repeat(65_536)}\r\n\r\n`)],
    [
      'with chunks in HTTP/1.0',
      (lines) =>
        chunked(`${size}\r\n${body}\r\n0\r\n\r\n`)(
          first('POST /run HTTP/1.0')(lines).split('\r\n\r\n')[0]?.split('\r\n') ?? [],
        ),
    ],
    ['with an upgrade', (lines) => whole([...lines, 'Connection: upgrade', 'Upgrade: h2c'])],
    ['with an expectation', withLine('Expect: 100-continue')],
    [
      'with a body longer than its length',
      (lines) => whole(lines.map((line) => line.replace(/^content-length.*/, 'content-length: 5'))),
    ],
  ])('%s', async (_what, alter) => {
    const answer = await sent(alter);
    // Nothing at all where what follows could be taken for the answer to something else.
    if (answer !== '') expect(answer).toMatch(/^HTTP\/1\.[01] (400|401|404|405|413|417|431|505) [^\r]*\r\n/);
    expect(answer.match(/HTTP\/1\.[01] /g)?.length ?? 0).toBeLessThanOrEqual(1);
    await unharmed();
  });

  it.each(['1.0', '1.1'])('with a body above 1 MiB, in HTTP/%s', async (version) => {
    const { who } = scene();
    const socket = await openTls(agent.port, who);
    const answer = received(socket);
    const large = `{"script":"touch","args":[]${' '.repeat(1_048_576)}}`;
    socket.write(bytesOf(signedFor(socket, who, requestOf('/run', large)), version));
    expect(await answer).toMatch(/^HTTP\/1\.[01] 413 /);
    await unharmed();
  });

  it('with chunks above 1 MiB', async () => {
    const answer = await sent(chunked(`${`10000\r\n${' '.repeat(65_536)}\r\n`.repeat(17)}0\r\n\r\n`));
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    await unharmed();
  });

  it('and what is pipelined behind a ping is not done', async () => {
    const { who } = scene();
    for (const behind of ['rubbish\r\n\r\n', '\0\x01\x02', undefined]) {
      const socket = await openTls(agent.port, who);
      const answers = received(socket);
      const ping = bytesOf(signedFor(socket, who, requestOf('/ping', '{}')));
      const run = bytesOf(signedFor(socket, who, requestOf('/run', body)));
      socket.write(Buffer.concat([ping, behind === undefined ? run : Buffer.from(behind, 'latin1')]));
      expect((await answers).match(/HTTP\/1\.1 200 /g)?.length ?? 0).toBeLessThanOrEqual(1);
      await unharmed();
    }
  });
});

describe('a body that is signed and no JSON is answered `invalid JSON`', () => {
  const text = (value: string) => new TextEncoder().encode(value);
  it.each<[string, Uint8Array]>([
    ['nothing', text(' ')],
    ['cut off', text('{"script":"touch","args":[]')],
    ['an array', text('["touch"]')],
    ['a string', text('"touch"')],
    ['two objects', text(`${body}${body}`)],
    ['nested 65 deep', text(`{"script":"touch","args":[],"x":${'['.repeat(64)}${']'.repeat(64)}}`)],
    ['nested 500,000 deep', text(`{"script":"touch","args":${'['.repeat(500_000)}`)],
    ['a name twice', text('{"script":"touch","script":"touch"}')],
    ['a name twice, once escaped', text('{"script":"touch","\\u0073cript":"touch"}')],
    ['__proto__', text('{"script":"touch","__proto__":{"args":[]}}')],
    ['__proto__, escaped', text('{"script":"touch","\\u005f_proto__":{"args":[]}}')],
    ['constructor.prototype', text('{"script":"touch","constructor":{"prototype":{"args":[]}}}')],
    ['half of a pair', text('{"script":"touch","args":["\\ud800"]}')],
    ['the halves of a pair in the wrong order', text('{"script":"touch","args":["\\udc00\\ud800"]}')],
    ['bytes that are not UTF-8', Uint8Array.of(...text('{"script":"touch","args":["'), 0xff, ...text('"]}'))],
    [
      'a long form of UTF-8',
      Uint8Array.of(...text('{"script":"touch","args":["'), 0xc0, 0xaf, ...text('"]}')),
    ],
    [
      'half of a pair in UTF-8',
      Uint8Array.of(...text('{"script":"touch","args":["'), 0xed, 0xa0, 0x80, ...text('"]}')),
    ],
    ['a byte order mark', Uint8Array.of(0xef, 0xbb, 0xbf, ...text(body))],
    ['UTF-16', Buffer.from(body, 'utf16le')],
    ['a number beyond all', text('{"script":"touch","args":[],"timeout":1e999}')],
    ['a number of 100,000 digits', text(`{"script":"touch","args":[],"timeout":${'9'.repeat(100_000)}}`)],
    ['NaN', text('{"script":"touch","args":[],"timeout":NaN}')],
    ['a comment', text('{"script":"touch","args":[]/**/}')],
    ['a comma too many', text('{"script":"touch","args":[],}')],
    ['a line feed in a string', text('{"script":"touch","args":["\n"]}')],
    ['a NUL behind it', text(`${body}\0`)],
  ])('%s', async (_what, bytes) => {
    const { who } = scene();
    const socket = await openTls(agent.port, who);
    const answer = received(socket);
    const request = signedFor(socket, who, { ...requestOf('/run', 'x'), body: bytes });
    socket.write(bytesOf(request, '1.0'));
    const { status, body: told } = parseAnswer(await answer);
    expect([status, Buffer.from(told).toString()]).toEqual([200, '{"exit":-1,"error":"invalid JSON"}']);
    await unharmed();
  });
});

describe('what deployed dispatchers send goes through', () => {
  it.each<[string, (lines: string[]) => string]>([
    [
      'in HTTP/1.0 without Host',
      (lines) => whole(['POST /ping HTTP/1.0', ...lines.slice(1).filter((line) => !line.startsWith('host'))]),
    ],
    [
      'with `Connection: TE, close`',
      (lines) =>
        whole(['POST /ping HTTP/1.1', ...lines.slice(1), 'TE: deflate,gzip;q=0.3', 'Connection: TE, close']),
    ],
  ])('%s', async (_what, alter) => {
    // As far as the signature, which is not theirs.
    expect(await sent(alter)).toMatch(/^HTTP\/1\.[01] 401 .*\{"error":"signature (invalid|required)"\}$/s);
    await unharmed();
  });

  it('the run that was altered above is run as it is', async () => {
    expect(await sent((lines) => whole([...lines, closing]))).toMatch(
      /^HTTP\/1\.1 200 .*"stdout":"done\\n"/s,
    );
    expect(existsSync(scene().ran)).toBe(true);
  });
});
