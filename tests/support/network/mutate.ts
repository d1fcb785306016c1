import { createServer } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { listening } from './raw-tls.js';

/** A generator of numbers from 0 (included) to 1 (not included) that gives the same ones for the same seed. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What parsers trip over. */
const pieces = [
  ...[
    '\r\n',
    '\n',
    '\r',
    '\0',
    ' ',
    '\t',
    ':',
    ';',
    ',',
    '"',
    '\\',
    '/',
    '%00',
    '..',
    '\x7f',
    '\xff',
    '\r\n\r\n',
  ],
  ...['Content-Length: 5\r\n', 'Transfer-Encoding: chunked\r\n', 'Host: b\r\n', 'Expect: 100-continue\r\n'],
  ...[
    'Connection: keep-alive\r\n',
    'Upgrade: h2c\r\n',
    '0\r\n\r\n',
    'ffffffffffffffff\r\n',
    'HTTP/0.9',
    'HTTP/2.0',
  ],
  ...[
    '{',
    '}',
    '[',
    ']',
    '{"a":',
    '[[[[[[[[',
    'null',
    'true',
    '1e999',
    '-0',
    '"__proto__":{},',
    '\\ud800',
    '\\u0000',
  ],
  ...[
    '\xef\xbb\xbf',
    '\xc0\xaf',
    '\xed\xa0\x80',
    '😀',
    '-1',
    '0',
    '4294967296',
    '99999999999999999999',
    'NaN',
  ],
  ...[
    '\n[tags]\n',
    '\n[profile x]\n',
    ' = ',
    '#',
    '1/2/3',
    '::1/64',
    '0.0.0.0/0',
    '/etc/passwd',
    'on',
    'off',
  ],
].map((piece) => Buffer.from(piece, 'latin1'));

/** One to four mistakes in `bytes`. */
export function mutated(bytes: Buffer, random: () => number): Buffer {
  const below = (limit: number) => Math.floor(random() * limit);
  let made = Buffer.from(bytes);
  for (let left = 1 + below(4); left > 0; left -= 1) {
    const at = below(made.length + 1);
    const [head, tail] = [made.subarray(0, at), made.subarray(at)];
    const length = below(Math.min(64, tail.length) + 1);
    const piece = pieces[below(pieces.length)] ?? Buffer.alloc(0);
    switch (below(7)) {
      case 0:
        made = Buffer.concat([head, piece, tail]);
        break;
      case 1:
        made = Buffer.concat([head, piece, tail.subarray(length)]);
        break;
      case 2:
        made = Buffer.concat([head, tail.subarray(length)]);
        break;
      case 3:
        made = Buffer.concat([head, tail.subarray(0, length), tail]);
        break;
      case 4:
        made = Buffer.from(head);
        break;
      case 5:
        made = Buffer.concat([head, Buffer.from(Array.from({ length }, () => below(256))), tail]);
        break;
      default: {
        made = Buffer.from(made);
        if (at < made.length) made[at] = (made[at] ?? 0) ^ (1 << below(8));
      }
    }
  }
  return made;
}

/** What a client of this host says first. */
export async function clientHello(): Promise<Buffer> {
  const server = createServer();
  const port = await listening(server);
  const heard = new Promise<Buffer>((resolve) =>
    server.once('connection', (socket) => {
      socket.on('error', () => {});
      socket.once('data', (bytes: Buffer) => {
        resolve(bytes);
        socket.destroy();
      });
    }),
  );
  const client = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false });
  client.on('error', () => {});
  const hello = await heard;
  client.destroy();
  server.close();
  return hello;
}

/** Requests that an agent understands, and their paths; none of them does anything. */
export const bodies: readonly (readonly [string, string])[] = [
  ['/ping', '{"reqid":"b7c3d1e400010000"}'],
  [
    '/run',
    '{"script":"none","args":["--db","app"],"reqid":"a3f9b2c1","username":"alice","token":"t","timeout":5}',
  ],
  [
    '/rotate-serial',
    '{"serial":"deadbeef","action":"remove","succession":[{"old":"1","new":"2","sig":"AA=="}]}',
  ],
  ['/renew', '{"reqid":"a1","key":"none"}'],
  [
    '/renew-complete',
    '{"cert":"-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n","ca":"x","reqid":"a1"}',
  ],
  ['/v2/crl', '{"crl_pem":"-----BEGIN X509 CRL-----\\nAAAA\\n-----END X509 CRL-----\\n"}'],
  ['/v2/cas', '{"ca_pem":["-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n"]}'],
];
