import { connect, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import type { Credentials } from '../../../src/ports/channel.js';
import { bytesOf, requestOf, signedFor } from '../network/raw-http.js';

/** Where a client stops, or how it goes on. */
export const slowStages = [
  'says nothing',
  'stops within its handshake',
  'has no certificate and says nothing more',
  'sends a header without an end',
  'sends a header byte by byte',
  'sends half of a body',
  'does not read its answer',
] as const;

export type SlowStage = (typeof slowStages)[number];

/** The record of a ClientHello, but for most of it. */
const halfHello = Buffer.from('16030102000100 01fc0303'.replace(' ', ''), 'hex');

/** Milliseconds after which a client that was closed comes again. */
const again = 250;

const needsTime = (stage: SlowStage) => /^sends|^does not read/.test(stage);

const maxUnread = 4;

/**
 * Milliseconds after which who does not read looks whether it was ended: a socket that is not read does not notice. The agent
 * bears 30 s.
 */
const looksAfter = 40_000;

interface SlowOptions {
  readonly port: number;
  /** What those show that come through the handshake. */
  readonly who: Credentials;
  /** Where they come from, in turn. */
  readonly addresses: readonly string[];
  /** A script whose answer has `answerLength` bytes or more. */
  readonly script: string;
  readonly answerLength: number;
}

/**
 * Keeps `count` slow clients of all stages on an agent: who is closed comes again, until `stop` is called.
 * @returns how many times each stage was ended by the agent, and how many were open at once at most
 */
export function slowClients(count: number, { port, who, addresses, script, answerLength }: SlowOptions) {
  const open = new Set<Socket>();
  const timers = new Set<NodeJS.Timeout>();
  const ended = new Map<SlowStage, number>(slowStages.map((stage) => [stage, 0]));
  let stopped = false;
  let most = 0;

  const later = (work: () => void) => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      work();
    }, again);
    timers.add(timer);
  };

  const begin = (stage: SlowStage, localAddress: string) => {
    if (stopped) return;
    const tcp = connect({ host: '127.0.0.1', port, localAddress });
    open.add(tcp);
    most = Math.max(most, open.size);
    tcp.on('error', () => {});
    let since: number | undefined;
    tcp.once('close', () => {
      open.delete(tcp);
      // Sooner it was not its slowness: it gave way to another one, or there was no place.
      const least = needsTime(stage) ? 3_000 : 0;
      if (since !== undefined && performance.now() - since >= least && !stopped)
        ended.set(stage, (ended.get(stage) ?? 0) + 1);
      if (!stopped) later(() => begin(stage, localAddress));
    });
    tcp.once('connect', () =>
      act(
        stage,
        tcp,
        () => {
          since = performance.now();
        },
        () => {
          since = undefined;
        },
      ),
    );
  };

  const secured = (tcp: Socket, credentials: Credentials | undefined, then: (socket: TLSSocket) => void) => {
    const own: ConnectionOptions = credentials ? { key: credentials.key, cert: credentials.certificate } : {};
    const socket = connectTls({ socket: tcp, rejectUnauthorized: false, ...own });
    socket.on('error', () => {});
    socket.once('close', () => tcp.destroy());
    socket.once('secureConnect', () => then(socket));
  };

  /** `arrived`: from now on it does what it is there for. `served`: it was given everything all the same. */
  const act = (stage: SlowStage, tcp: Socket, arrived: () => void, served: () => void) => {
    const run = (socket: TLSSocket) =>
      bytesOf(signedFor(socket, who, requestOf('/run', JSON.stringify({ script, args: [] }))));
    if (stage === 'says nothing' || stage === 'stops within its handshake') {
      tcp.resume();
      if (stage !== 'says nothing') tcp.write(halfHello);
      arrived();
      return;
    }
    const mine = stage === 'has no certificate and says nothing more' ? undefined : who;
    secured(tcp, mine, (socket) => {
      arrived();
      if (stage === 'does not read its answer') {
        socket.pause().write(run(socket));
        const looking = setTimeout(() => {
          let left = answerLength;
          socket.on('data', ({ length }: Buffer) => {
            left -= length;
            if (left <= 0) served();
          });
          socket.resume();
        }, looksAfter);
        socket.once('close', () => clearTimeout(looking));
        return;
      }
      socket.resume();
      if (stage === 'sends a header without an end') socket.write('POST /run HTTP/1.1\r\nHost: a\r\n');
      if (stage === 'sends half of a body') socket.write(run(socket).subarray(0, -5));
      if (stage === 'sends a header byte by byte') {
        const header = [...'POST /run HTTP/1.1\r\nX: '];
        const drip = setInterval(() => socket.writable && socket.write(header.shift() ?? 'y'), 100);
        socket.once('close', () => clearInterval(drip));
      }
    });
  };

  for (let index = 0; index < count; index += 1) {
    const at = slowStages[index % slowStages.length] ?? 'says nothing';
    // An answer that nobody reads stays in memory for as long as that is borne: a few are enough.
    const stage =
      at === 'does not read its answer' && index > maxUnread * slowStages.length ? slowStages[0] : at;
    begin(stage, addresses[Math.floor(index / slowStages.length) % addresses.length] ?? '127.0.0.1');
  }

  return {
    ended: (stage: SlowStage) => ended.get(stage) ?? 0,
    most: () => most,
    stop() {
      stopped = true;
      for (const timer of timers) clearTimeout(timer);
      for (const socket of open) socket.destroy();
    },
  };
}
