import { setMaxListeners } from 'node:events';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { failure } from '../../../domain/core/errors.js';
import type { Channel, ChannelTarget, Connection } from '../../../ports/channel.js';
import {
  outdated,
  type Transport,
  type TransportAnswer,
  type TransportError,
  type TransportRequest,
  type TransportTarget,
} from '../../../ports/transport.js';

const channelTarget = ({ judge: _, connectionKey: key, ...target }: TransportTarget): ChannelTarget => ({
  ...target,
  key,
});

/** What the judge says, unless it takes longer than the milliseconds of connecting, or nobody waits any more. */
async function judged(
  target: TransportTarget,
  { connectTimeout, signal }: TransportRequest,
  connection: Connection,
): Promise<Result<void, TransportError>> {
  const over = new AbortController();
  const otherwise = new Promise<Result<void, TransportError>>((resolve) => {
    const message = `no TLS handshake with ${connection.authority} within ${connectTimeout / 1000} s`;
    const late = failure('timed_out', message, { phase: 'tls', timeoutMs: connectTimeout });
    const timer = setTimeout(() => resolve(err(late)), connectTimeout);
    over.signal.addEventListener('abort', () => clearTimeout(timer));
    const onAbort = () => resolve(err(failure('aborted', 'the request was aborted', {})));
    signal?.addEventListener('abort', onAbort, { signal: over.signal });
    if (signal?.aborted) onAbort();
  });
  try {
    return await Promise.race([
      /* defence: connection-is-judged-again */ target.judge(connection.peer),
      otherwise,
    ]);
  } catch (bug) {
    connection.discard();
    throw bug;
  } finally {
    over.abort();
  }
}

/** The transport port over a channel: connects, has the peer judged, and asks; afresh where a kept connection is out of date. */
export const channelTransport = (channel: Channel): Transport => {
  const request = async (
    target: TransportTarget,
    asked: TransportRequest,
  ): Promise<Result<TransportAnswer, TransportError>> => {
    const { sign, connectTimeout: timeout, signal, onBody, ...rest } = asked;
    // Any number of requests may share a signal.
    if (signal) setMaxListeners(0, signal);
    for (let fresh = false; ; fresh = true) {
      const connected = await channel.connect(channelTarget(target), { timeout, fresh, signal });
      if (connected.isErr()) return err(connected.error);
      const connection = connected.value;
      const { peer, kept } = connection;
      const verdict = await judged(target, asked, connection);
      if (verdict.isErr()) {
        connection.discard();
        if (kept && outdated.has(verdict.error.code)) continue;
        return err(verdict.error);
      }
      let objection: TransportError | undefined;
      const headers = [...rest.headers, ...(sign?.(peer) ?? [])];
      const answered = await connection.exchange<TransportError>({
        ...rest,
        headers,
        signal,
        onBody(head) {
          const take = onBody?.({ ...head, peer });
          return (
            take &&
            (async (bytes) => {
              const taken = await take(bytes);
              if (taken.isErr()) objection = taken.error;
              return taken;
            })
          );
        },
      });
      if (answered.isOk()) {
        connection.release();
        return ok({ ...answered.value, peer });
      }
      connection.discard();
      const { sent, ...error } = answered.error;
      if (sent || !kept || error.code === 'aborted') return err(objection ?? (error as TransportError));
    }
  };
  return {
    request: (target, asked) => new ResultAsync(request(target, asked)),
    isUnknownHost: channel.isUnknownHost,
    forget: channel.forget,
    close: channel.close,
  };
};
