import { readdirSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { expect } from 'vitest';
import type { Credentials } from '../../../src/ports/channel.js';
import type { AgentOnDisk, Started } from '../commands/commands.js';
import { eventually, rawRequest } from '../fleet/fleet.js';
import { bodies, clientHello, mutated, seeded } from './mutate.js';
import { bytesOf, nextAnswer, requestOf, signedFor } from './raw-http.js';
import { openTcp, openTls } from './raw-tls.js';

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
