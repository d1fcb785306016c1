import { setMaxListeners } from 'node:events';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import type { Crypto } from '../../ports/crypto.js';
import {
  outdated,
  type Transport,
  type TransportAnswer,
  type TransportError,
  type TransportRequest,
  type TransportTarget,
} from '../../ports/transport.js';
import { openConnection, type Secured, tlsContexts } from './connect.js';
import { type Channel, exchange } from './exchange.js';
import { aborted, connectionFailed, timedOut } from './failures.js';

/** Idle connections are closed after this many milliseconds, before the listener of the other side does. */
const keepIdle = 60_000;

/** Milliseconds after which a resolver counts as failed. */
const lookupTimeout = 10_000;

/** The connections to one target. */
interface Pool {
  readonly target: TransportTarget;
  readonly idle: Channel[];
  /** Requests that have a connection, or wait for one. */
  users: number;
  /** Forgotten: its connections are closed as they become idle. */
  retired: boolean;
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

const sameTrust = (a: TransportTarget['trust'], b: TransportTarget['trust']) =>
  a === b || (a !== 'any' && b !== 'any' && a.length === b.length && a.every((pem, i) => pem === b[i]));

/** Whether a connection made for `a` is what `b` asks for. */
const samePeerAndTerms = (a: TransportTarget, b: TransportTarget) =>
  a.host === b.host &&
  a.port === b.port &&
  a.tls13Only === b.tls13Only &&
  a.allowExpired === b.allowExpired &&
  a.credentials?.certificate === b.credentials?.certificate &&
  a.credentials?.key === b.credentials?.key &&
  sameTrust(a.trust, b.trust);

/**
 * The transport port over undici: TLS connections made and judged here, each with an undici client of its own, so that
 * the certificate behind an answer is known for certain. A kept connection is used for targets with the same
 * `connectionKey`, host, port, credentials and trust, until its peer's certificate expires.
 */
export const undiciTransport = ({ crypto }: { crypto: Crypto }): Transport => {
  const contextOf = tlsContexts();
  const pools = new Map<string, Pool>();
  const channels = new Set<Channel>();
  const running = new Map<AbortController, Promise<unknown>>();
  let closed = false;
  let library: Promise<typeof import('./client.js')> | undefined;

  const destroy = (channel: Channel) => {
    channel.socket.destroy();
    return channel.client.destroy();
  };

  const retire = (key: string, pool: Pool) => {
    pool.retired = true;
    if (pools.get(key) === pool) pools.delete(key);
    for (const channel of pool.idle.splice(0)) void destroy(channel);
  };

  const poolFor = (target: TransportTarget): Pool => {
    const known = pools.get(target.connectionKey);
    if (known && samePeerAndTerms(known.target, target)) return known;
    if (known) retire(target.connectionKey, known);
    const pool: Pool = { target, idle: [], users: 0, retired: false };
    pools.set(target.connectionKey, pool);
    return pool;
  };

  const dropIfUnused = (pool: Pool) => {
    const { connectionKey } = pool.target;
    if (pool.users === 0 && pool.idle.length === 0 && pools.get(connectionKey) === pool)
      pools.delete(connectionKey);
  };

  const channelOver = async (secured: Secured, pool: Pool): Promise<Channel> => {
    library ??= import('./client.js');
    const client = (await library).clientOver(secured.socket, keepIdle);
    const channel = { ...secured, client, fresh: true };
    channels.add(channel);
    secured.socket.once('close', () => {
      channels.delete(channel);
      const at = pool.idle.indexOf(channel);
      if (at >= 0) pool.idle.splice(at, 1);
      dropIfUnused(pool);
      void client.destroy();
    });
    return channel;
  };

  /** The last one that became idle, so that those too many grow old. */
  const keptChannel = (pool: Pool): Channel | undefined => {
    for (let channel = pool.idle.pop(); channel; channel = pool.idle.pop()) {
      const expired =
        pool.target.trust !== 'any' && !pool.target.allowExpired && channel.peer.notAfter < Date.now();
      if (!expired && !channel.socket.destroyed) return channel;
      void destroy(channel);
    }
    return undefined;
  };

  /** What the request's own judge says of a kept connection; without its yes the connection is closed. */
  const judged = async (
    target: TransportTarget,
    channel: Channel,
    timeout: number,
    signal: AbortSignal,
  ): Promise<Result<void, TransportError>> => {
    const ended = new AbortController();
    const otherwise = new Promise<Result<void, TransportError>>((resolve) => {
      const timer = setTimeout(() => resolve(err(timedOut(target, 'tls', timeout))), timeout);
      ended.signal.addEventListener('abort', () => clearTimeout(timer));
      signal.addEventListener('abort', () => resolve(err(aborted())), { signal: ended.signal });
    });
    let allowed = false;
    try {
      const verdict = await Promise.race([
        /* defence: connection-is-judged-again */ target.judge(channel.peer),
        otherwise,
      ]);
      allowed = verdict.isOk();
      return verdict;
    } finally {
      ended.abort();
      if (!allowed) void destroy(channel);
    }
  };

  const giveBack = (pool: Pool, channel: Channel) => {
    if (pool.retired || closed) void destroy(channel);
    else if (!channel.socket.destroyed) pool.idle.push(channel);
  };

  const send = async (
    pool: Pool,
    target: TransportTarget,
    request: TransportRequest,
    signal: AbortSignal,
  ): Promise<Result<TransportAnswer, TransportError>> => {
    for (;;) {
      const kept = keptChannel(pool);
      let channel = kept;
      // With the turn of the event loop that undici waits, this one makes sure that the kernel was asked in between
      // whether the peer has closed the connection meanwhile.
      if (kept) {
        const verdict = await judged(target, kept, request.connectTimeout, signal);
        // Nothing was sent: the peer may have a new key or certificate, and the connection is of before.
        if (verdict.isErr() && outdated.has(verdict.error.code)) continue;
        if (verdict.isErr()) return err(verdict.error);
        await nextTurn();
      }
      if (!channel) {
        const opened = await openConnection({ crypto, contextOf }, target, request.connectTimeout, signal);
        if (opened.isErr()) return err(opened.error);
        channel = await channelOver(opened.value, pool);
      }
      const end = await exchange(channel, target, request, signal).catch((bug: unknown) => {
        void destroy(channel);
        throw bug;
      });
      if (end !== 'unsent' && end.isOk()) {
        giveBack(pool, channel);
        return ok({ ...end.value, peer: channel.peer });
      }
      void destroy(channel);
      if (end !== 'unsent') return err(end.error);
      if (!kept) return err(connectionFailed(target, 'closed'));
    }
  };

  const perform = async (target: TransportTarget, request: TransportRequest, stop: AbortController) => {
    const onAbort = () => stop.abort();
    // Any number of requests may share a signal.
    if (request.signal) setMaxListeners(0, request.signal);
    request.signal?.addEventListener('abort', onAbort);
    const pool = poolFor(target);
    pool.users += 1;
    try {
      return await send(pool, target, request, stop.signal);
    } finally {
      request.signal?.removeEventListener('abort', onAbort);
      running.delete(stop);
      pool.users -= 1;
      dropIfUnused(pool);
    }
  };

  return {
    request(target, request) {
      if (closed || request.signal?.aborted) return new ResultAsync(Promise.resolve(err(aborted())));
      const stop = new AbortController();
      const outcome = perform(target, request, stop);
      running.set(stop, outcome);
      return new ResultAsync(outcome);
    },
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
    forget(connectionKey) {
      for (const [key, pool] of pools) {
        if (connectionKey === undefined || connectionKey === key) retire(key, pool);
      }
    },
    async close() {
      closed = true;
      const ending = [...running.values()];
      for (const stop of running.keys()) stop.abort();
      await Promise.allSettled(ending);
      await Promise.all([...channels].map(destroy));
    },
  };
};
