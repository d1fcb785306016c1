import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { Pool } from 'undici';
import type { ControlPlaneAnswer, ControlPlaneRequest } from '../../domain/deploy/control-plane-api.js';
import type { PullSettings } from '../../domain/settings/pull.js';
import type { ControlPlane, ControlPlaneError } from '../../ports/control-plane.js';
import { answerTooLarge, callAborted, callFailed, callTimedOut } from './control-plane-failures.js';

const limits = {
  /** Milliseconds for a whole call. */
  call: 30_000,
  /** Milliseconds that an idle connection is kept. */
  idle: 90_000,
  connections: 10,
  /** Bytes. */
  answer: 16 * 1024 * 1024,
} as const;

export interface ControlPlaneOptions extends Pick<PullSettings, 'server' | 'apiKey' | 'insecureSkipVerify'> {
  /** Certificates of the CAs that vouch for the control plane, PEM each. */
  readonly trusted: readonly string[];
  /** Milliseconds for a whole call. Default 30 seconds. */
  readonly timeout?: number;
  /** Who calls, for the other side's log. */
  readonly userAgent: string;
}

/** The control plane over HTTPS, TLS 1.3 at least. Throws where a trusted certificate cannot be used. */
export function undiciControlPlane(options: ControlPlaneOptions): ControlPlane {
  const { server, timeout = limits.call } = options;
  const pool = new Pool(server.origin, {
    connections: limits.connections,
    pipelining: 1,
    keepAliveTimeout: limits.idle,
    keepAliveMaxTimeout: limits.idle,
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: {
      timeout,
      minVersion: 'TLSv1.3',
      ca: [...options.trusted],
      rejectUnauthorized: !options.insecureSkipVerify,
    },
  });
  const closed = new AbortController();

  const exchange = async (
    request: ControlPlaneRequest,
    given: AbortSignal | undefined,
  ): Promise<Result<ControlPlaneAnswer, ControlPlaneError>> => {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), timeout);
    const signal = AbortSignal.any([late.signal, closed.signal, ...(given ? [given] : [])]);
    try {
      const { statusCode, headers, body } = await pool.request({
        method: request.method,
        path: server.basePath + request.path,
        headers: {
          authorization: `Bearer ${options.apiKey}`,
          accept: 'application/json',
          'user-agent': options.userAgent,
          ...(request.body && { 'content-type': 'application/json' }),
        },
        body: request.body ? JSON.stringify(request.body) : null,
        signal,
      });
      // A connection whose answer is not read to its end is of no further use.
      const tooLarge = () => {
        body.on('error', () => undefined).destroy();
        return err(answerTooLarge(server, limits.answer));
      };
      if (Number(headers['content-length'] ?? 0) > limits.answer) return tooLarge();
      const chunks: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of body) {
        size += (chunk as Uint8Array).length;
        if (size > limits.answer) return tooLarge();
        chunks.push(chunk as Uint8Array);
      }
      return ok({ status: statusCode, body: new Uint8Array(Buffer.concat(chunks)) });
    } catch (thrown) {
      if (closed.signal.aborted || given?.aborted) return err(callAborted());
      return err(late.signal.aborted ? callTimedOut(server, timeout) : callFailed(server, thrown));
    } finally {
      clearTimeout(timer);
    }
  };

  return {
    send(request, signal) {
      if (closed.signal.aborted || signal?.aborted)
        return new ResultAsync(Promise.resolve(err(callAborted())));
      return new ResultAsync(exchange(request, signal));
    },
    async close() {
      closed.abort();
      await pool.destroy();
    },
  };
}
