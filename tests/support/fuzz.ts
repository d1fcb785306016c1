import { readdirSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { expect } from 'vitest';
import type { Credentials } from '../../src/ports/transport.js';
import type { AgentOnDisk, Started } from './commands.js';
import { eventually, rawRequest } from './fleet.js';
import { bytesOf, nextAnswer, requestOf, signedFor } from './raw-http.js';
import { listening, openTcp, openTls } from './raw-tls.js';

/** A generator of numbers from 0 (included) to 1 (not included) that gives the same ones for the same seed. */
function seeded(seed: number): () => number {
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
function mutated(bytes: Buffer, random: () => number): Buffer {
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

/** How many inputs of each kind. */
export interface FuzzCounts {
  readonly http: number;
  readonly json: number;
  readonly tls: number;
  readonly configuration: number;
}

const settled = (socket: Socket): Promise<number> =>
  new Promise((resolve, reject) => {
    let count = 0;
    // Longer than any time that a peer is given here: who is still open then hangs.
    const hang = setTimeout(() => reject(new Error('the agent neither answers nor closes')), 60_000);
    socket.on('data', (chunk: Buffer) => {
      count += chunk.length;
    });
    socket.on('error', () => {});
    socket.once('close', () => {
      clearTimeout(hang);
      resolve(count);
    });
  });

/** What a client of this host says first. */
async function clientHello(): Promise<Buffer> {
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

const bodies: readonly (readonly [string, string])[] = [
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

/**
 * Sends an agent of its own process what is nearly right. It must not end, hang, report a bug or keep a descriptor, and
 * must answer pings all along.
 * @returns what was sent, for the record
 */
export async function fuzzAgent(
  agent: AgentOnDisk,
  daemon: Started,
  who: Credentials,
  counts: FuzzCounts,
  seed: number,
): Promise<Record<string, number>> {
  const random = seeded(seed);
  const tally: Record<string, number> = { seed };
  const note = (what: string) => {
    tally[what] = (tally[what] ?? 0) + 1;
  };
  const descriptors = () => readdirSync(`/proc/${daemon.child.pid}/fd`).length;
  const ping = async () =>
    expect((await rawRequest(agent.port, who, '/ping', '{}')).statusLine).toBe('HTTP/1.0 200 OK');
  /** Several at a time; the inputs are made in order, so that a seed gives the same ones. */
  const many = async (count: number, work: () => Promise<void>) => {
    let left = count;
    const lane = async () => {
      while (left > 0) {
        left -= 1;
        await work();
        if (left % 500 === 0) await ping();
      }
    };
    const began = performance.now();
    await Promise.all(Array.from({ length: Math.min(8, count) }, lane));
    console.log(`${count} in ${Math.round(performance.now() - began)} ms`);
    expect(daemon.child.exitCode).toBeNull();
    await ping();
  };
  const any = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;

  await ping();
  const before = descriptors();

  await many(counts.http, async () => {
    const [path, body] = any(bodies);
    const [choice, ownSeed] = [random(), Math.floor(random() * 2 ** 32)];
    const socket = await openTls(agent.port, who);
    const end = settled(socket);
    const valid = bytesOf(signedFor(socket, who, requestOf(path, body)), choice < 0.3 ? '1.0' : '1.1');
    socket.end(mutated(valid, seeded(ownSeed)));
    note((await end) > 0 ? 'http, answered' : 'http, closed');
  });

  const kept: TLSSocket[] = [];
  await many(counts.json, async () => {
    const [path, body] = any(bodies);
    const bytes = mutated(Buffer.from(body), random);
    const idle = kept.pop();
    const socket = idle && !idle.destroyed ? idle : await openTls(agent.port, who);
    const answer = nextAnswer(socket);
    socket.write(bytesOf(signedFor(socket, who, { ...requestOf(path, ' '), body: bytes })));
    note(`json, answered ${(await answer).status}`);
    kept.push(socket);
  });
  for (const socket of kept) socket.destroy();

  const hello = await clientHello();
  await many(counts.tls, async () => {
    const bytes = mutated(hello, random);
    const socket = await openTcp(agent.port);
    const end = settled(socket);
    socket.end(bytes);
    note((await end) > 0 ? 'tls, answered' : 'tls, closed');
  });

  await fuzzConfiguration(agent, daemon, counts.configuration, random, note);
  await ping();
  await eventually(() => expect(descriptors()).toBeLessThanOrEqual(before + 1));
  expect(daemon.output('stderr')).not.toMatch(/ACTION=internal-error|^ {4}at /m);
  return tally;
}

const configurationText = (port: number) => `port = ${port}
bind = 127.0.0.1
rate_limit_disable = on
allowed_ips = 127.0.0.0/8, ::1
script_dirs = /bin:/usr/bin
max_runs = 8
rate_limit_volume = 10/60/300
run_timeout = 5
[tags]
env = prod
[profile default]
memory = 1
`;

/** Each file takes the place of the former, and is read by a reload that says how it went. */
async function fuzzConfiguration(
  agent: AgentOnDisk,
  daemon: Started,
  count: number,
  random: () => number,
  note: (what: string) => void,
): Promise<void> {
  const text = configurationText(agent.port);
  let reloads = 0;
  let [seen, from] = [0, daemon.output('stderr').length];
  let failed = 0;
  const reload = async () => {
    reloads += 1;
    daemon.child.kill('SIGHUP');
    await eventually(() => {
      const news = daemon.output('stderr').slice(from);
      const whole = news.slice(0, news.lastIndexOf('\n') + 1);
      from += whole.length;
      seen += whole.match(/^ACTION=(reloaded|reload-failed) /gm)?.length ?? 0;
      failed = whole.match(/^ACTION=reload-failed /gm)?.length ?? failed;
      expect(daemon.child.exitCode).toBeNull();
      expect(seen).toBe(reloads);
    });
  };
  for (let left = count; left > 0; left -= 1) {
    const allowlist = random() < 0.3;
    const original = allowlist ? 'true = /bin/true\nid = /usr/bin/id profile=default\n' : text;
    writeFileSync(
      join(agent.home, allowlist ? 'scripts.conf' : 'agent.conf'),
      mutated(Buffer.from(original), random),
    );
    failed = 0;
    await reload();
    note(failed > 0 ? 'configuration, refused' : 'configuration, taken');
  }
  writeFileSync(join(agent.home, 'agent.conf'), text);
  writeFileSync(join(agent.home, 'scripts.conf'), '');
  await reload();
}

/** A seed: `FUZZ_SEED`, or another one each time. It is said, so that what it finds can be found again. */
export function fuzzSeed(): number {
  const given = process.env['FUZZ_SEED'];
  const seed = given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(given);
  console.log(`FUZZ_SEED=${seed}`);
  return seed;
}
