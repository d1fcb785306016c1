import { isIP } from 'node:net';
import { rootCertificates } from 'node:tls';
import { err, type Result, ResultAsync } from 'neverthrow';
import { type Dispatcher, Pool, ProxyAgent } from 'undici';
import type { ControlPlaneRequest } from '../../domain/deploy/control-plane-api.js';
import type { ControlPlaneProxy } from '../../domain/deploy/proxy.js';
import { answerTooLarge } from '../../domain/protocol/connection-failures.js';
import type { PullSettings } from '../../domain/settings/pull.js';
import type { ControlPlane, ControlPlaneError } from '../../ports/control-plane.js';
import { readAnswer } from './control-plane-answers.js';
import { callAborted, callFailed, callTimedOut } from './control-plane-failures.js';

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
  /** Through which the control plane is called. Default none. */
  readonly proxy?: ControlPlaneProxy | undefined;
  /** Milliseconds for a whole call. Default 30 seconds. */
  readonly timeout?: number;
  /** Who calls, for the other side's log. */
  readonly userAgent: string;
}

/** Rejects with the signal. What the call comes to then is of no interest. */
const rejection = (signal: AbortSignal, call: Promise<unknown>): Promise<never> =>
  new Promise((_resolve, reject) => {
    const onAbort = () => {
      call.catch(() => undefined);
      reject(signal.reason);
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });

/** The control plane over HTTPS, TLS 1.3 at least. Throws where a trusted certificate cannot be used. */
export function undiciControlPlane(options: ControlPlaneOptions): ControlPlane {
  const { proxy, timeout = limits.call } = options;
  const { server } = options;
  const place = proxy ? `${server.origin} through the proxy ${proxy.place}` : server.origin;
  const called = { ...server, place };
  const kept = {
    connections: limits.connections,
    pipelining: 1,
    keepAliveTimeout: limits.idle,
    keepAliveMaxTimeout: limits.idle,
    headersTimeout: 0,
    bodyTimeout: 0,
  };
  const tls = {
    timeout,
    minVersion: 'TLSv1.3' as const,
    ca: [...options.trusted],
    rejectUnauthorized: !options.insecureSkipVerify,
  };
  const { hostname } = new URL(server.origin);
  const pool: Dispatcher = proxy
    ? new ProxyAgent({
        ...kept,
        uri: proxy.url,
        clientFactory: (origin, given) => new Pool(origin, { ...given, headersTimeout: timeout }),
        // The proxy passes bytes on: the control plane is judged as without it.
        requestTls: { ...tls, ...(isIP(server.host) === 0 ? { servername: hostname } : {}) },
        proxyTls: { timeout, ca: [...options.trusted, ...rootCertificates] },
      })
    : new Pool(server.origin, { ...kept, connect: tls });
  const closed = new AbortController();

  const exchange = async (
    request: ControlPlaneRequest,
    given: AbortSignal | undefined,
  ): Promise<Result<Uint8Array, ControlPlaneError>> => {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), timeout);
    const signal = AbortSignal.any([late.signal, closed.signal, ...(given ? [given] : [])]);
    try {
      const answered = pool.request({
        origin: server.origin,
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
      // A call that waits for its tunnel does not hear the signal.
      const { statusCode, headers, body } = await Promise.race([answered, rejection(signal, answered)]);
      // A connection whose answer is not read to its end is of no further use.
      const tooLarge = () => {
        body.on('error', () => undefined).destroy();
        return err(answerTooLarge(called, limits.answer));
      };
      if (Number(headers['content-length'] ?? 0) > limits.answer) return tooLarge();
      const chunks: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of body) {
        size += (chunk as Uint8Array).length;
        if (size > limits.answer) return tooLarge();
        chunks.push(chunk as Uint8Array);
      }
      return readAnswer(request, { status: statusCode, body: new Uint8Array(Buffer.concat(chunks)) });
    } catch (thrown) {
      if (closed.signal.aborted || given?.aborted) return err(callAborted());
      return err(late.signal.aborted ? callTimedOut(called, timeout) : callFailed(called, thrown));
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
