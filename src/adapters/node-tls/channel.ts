import { setMaxListeners } from 'node:events';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { authority } from '../../domain/core/host-argument.js';
import { aborted } from '../../domain/protocol/connection-failures.js';
import type {
  Channel,
  ChannelError,
  ChannelTarget,
  Connection,
  ConnectOptions,
} from '../../ports/channel.js';
import type { Crypto } from '../../ports/crypto.js';
import { exchange, type Line } from './exchange.js';
import {
  type Interruption,
  openConnection,
  type Secured,
  takeLeave,
  tlsContexts,
} from './open-connection.js';

/** Idle connections are closed after this many milliseconds, before the listener of the other side does. */
const keepIdle = 60_000;

/** Milliseconds after which a resolver counts as failed. */
const lookupTimeout = 10_000;

/** The connections to one target. */
interface Pool {
  readonly target: ChannelTarget;
  readonly terms: string;
  readonly idle: Line[];
  /** Those that stand, and those that are being made. */
  lines: number;
  /** Forgotten: its connections are closed as they become idle. */
  retired: boolean;
}

/** What a connection is made of: it is shared among those that ask for the same. */
const termsOf = ({
  host,
  port,
  credentials,
  trust,
  allowExpired = false,
  tls13Only = false,
}: ChannelTarget) => JSON.stringify([host, port, credentials, trust, allowExpired, tls13Only]);

/**
 * The channel port over `node:http`, on TLS connections that are made here, so that the certificate behind an answer is known for
 * certain. A kept connection is used for targets with the same key, host, port, credentials and trust, for 60 seconds and until
 * its peer's certificate expires.
 */
export const tlsChannel = ({ crypto }: { crypto: Crypto }): Channel => {
  const contextOf = tlsContexts();
  const pools = new Map<string, Pool>();
  const lines = new Set<Line>();
  const underWay = new Set<() => void>();
  let closed = false;

  const interruptedBy =
    (signal: AbortSignal | undefined): Interruption =>
    (stop) => {
      if (closed || signal?.aborted) {
        stop();
        return () => {};
      }
      // Any number of exchanges may share a signal.
      if (signal) setMaxListeners(0, signal);
      signal?.addEventListener('abort', stop);
      underWay.add(stop);
      return () => {
        signal?.removeEventListener('abort', stop);
        underWay.delete(stop);
      };
    };

  const retire = (pool: Pool) => {
    pool.retired = true;
    if (pools.get(pool.target.key) === pool) pools.delete(pool.target.key);
    for (const { socket } of pool.idle.splice(0)) socket.destroy();
  };

  const poolFor = (target: ChannelTarget): Pool => {
    const known = pools.get(target.key);
    const terms = termsOf(target);
    if (known?.terms === terms) return known;
    if (known) retire(known);
    const pool: Pool = { target, terms, idle: [], lines: 0, retired: false };
    pools.set(target.key, pool);
    return pool;
  };

  const countDown = (pool: Pool) => {
    pool.lines -= 1;
    if (pool.lines === 0 && pools.get(pool.target.key) === pool) pools.delete(pool.target.key);
  };

  const lineOver = (secured: Secured, pool: Pool): Line => {
    const { socket } = secured;
    const hangUp = () => socket.destroy();
    const line: Line = {
      ...secured,
      used: false,
      idling: undefined,
      watch: () => socket.on('data', hangUp).on('end', hangUp),
      unwatch: () => socket.off('data', hangUp).off('end', hangUp),
    };
    line.watch();
    lines.add(line);
    socket.once('close', () => {
      lines.delete(line);
      clearTimeout(line.idling);
      const at = pool.idle.indexOf(line);
      if (at >= 0) pool.idle.splice(at, 1);
      countDown(pool);
    });
    return line;
  };

  /** The last one that became idle, so that those too many grow old. */
  const keptLine = ({ idle, target }: Pool): Line | undefined => {
    for (let line = idle.pop(); line; line = idle.pop()) {
      const expired = target.trust !== 'any' && !target.allowExpired && line.peer.notAfter < Date.now();
      if (!expired && !line.socket.destroyed) return line;
      line.socket.destroy();
    }
    return undefined;
  };

  const lease = (line: Line, pool: Pool, kept: boolean): Connection => {
    const { target } = pool;
    const { socket, peer } = line;
    let sent = false;
    let over = false;
    socket.ref();
    clearTimeout(line.idling);
    return {
      peer,
      kept,
      authority: authority(target.host, target.port),
      exchange(request) {
        sent = true;
        return new ResultAsync(exchange(line, target, request, interruptedBy(request.signal)));
      },
      release() {
        if (over) return;
        over = true;
        if (pool.retired || closed) socket.destroy();
        if (socket.destroyed) return;
        socket.unref();
        line.idling = setTimeout(() => socket.destroy(), keepIdle).unref();
        pool.idle.push(line);
      },
      discard() {
        if (over) return;
        over = true;
        if (sent) socket.destroy();
        else takeLeave(socket);
      },
    };
  };

  const connect = async (
    target: ChannelTarget,
    { timeout, fresh, signal }: ConnectOptions,
  ): Promise<Result<Connection, ChannelError>> => {
    if (closed || signal?.aborted) return err(aborted());
    const pool = poolFor(target);
    const kept = fresh ? undefined : keptLine(pool);
    if (kept) return ok(lease(kept, pool, true));
    pool.lines += 1;
    const opened = await openConnection({ crypto, contextOf }, target, timeout, interruptedBy(signal));
    if (opened.isErr()) countDown(pool);
    return opened.map((secured) => lease(lineOver(secured, pool), pool, false));
  };

  return {
    connect: (target, options) => new ResultAsync(connect(target, options)),
    async isUnknownHost(host) {
      // Loaded only now: it opens a channel of the resolver.
      const { lookup } = await import('node:dns');
      return new Promise((resolve) => {
        const giveUp = setTimeout(() => resolve(false), lookupTimeout);
        lookup(host, (error) => {
          clearTimeout(giveUp);
          resolve(error?.code === 'ENOTFOUND');
        });
      });
    },
    forget(key) {
      for (const pool of pools.values()) if (key === undefined || key === pool.target.key) retire(pool);
    },
    async close() {
      closed = true;
      for (const stop of underWay) stop();
      const ended = [...lines].map(({ socket }) => new Promise((resolve) => socket.once('close', resolve)));
      for (const { socket } of lines) socket.destroy();
      await Promise.all(ended);
    },
  };
};
