import { setMaxListeners } from 'node:events';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import type { Certificate } from '../../domain/certificate.js';
import { failure } from '../../domain/errors.js';
import { type HttpAnswer, jsonAnswer } from '../../domain/http-message.js';
import type { IncomingRequest, ListenOptions } from '../../ports/listener.js';
import {
  outdated,
  type Transport,
  type TransportAnswer,
  type TransportError,
  type TransportRequest,
  type TransportTarget,
} from '../../ports/transport.js';

const maxHeaderLines = 32;

/** One that listens, with what its next connections are made with. */
export interface Station {
  readonly options: ListenOptions;
  certificate: Certificate;
  clientCas: readonly string[] | undefined;
  /** False from when it begins to close; requests under way are still answered. */
  accepting: boolean;
  /** Aborted when nothing is answered any more. */
  readonly closed: AbortController;
  readonly links: Set<Link>;
  readonly underWay: Set<Promise<unknown>>;
}

/** A connection. */
export interface Link {
  readonly station: Station;
  readonly target: TransportTarget;
  readonly server: Certificate;
  readonly client: Certificate | undefined;
  /** False: it ends with its first answer. */
  readonly known: boolean;
}

const settled = <T, E>(result: Result<T, E>) => new ResultAsync(Promise.resolve(result));

/** Any number of requests may share a signal. */
export function listenTo(signal: AbortSignal | undefined, listener: () => void, done: AbortSignal): void {
  if (!signal) return;
  setMaxListeners(0, signal);
  signal.addEventListener('abort', listener, { signal: done });
}

const sameLink = (a: TransportTarget, b: TransportTarget) =>
  a.host === b.host && a.port === b.port && a.credentials?.certificate === b.credentials?.certificate;

/** What arrives at the station, as a request of the host at address `from`. */
export function incomingFrom(
  { station, client, server }: Link,
  from: string,
  request: Pick<IncomingRequest, 'method' | 'path' | 'query' | 'headers' | 'httpVersion'>,
  body: Uint8Array,
): IncomingRequest {
  const limit = station.options.maxBody;
  const what = "the request's body";
  return {
    ...request,
    peer: { address: from, certificate: client, presented: server, tlsVersion: 'TLSv1.3' },
    body: () =>
      settled(
        body.length <= limit
          ? ok(body.slice())
          : err(failure('too_large', `${what} is larger than ${limit} bytes`, { what, limit })),
      ),
  };
}

/** What a handler answers, as a listener would. */
export async function handledBy<A extends HttpAnswer>(
  { options }: Station,
  work: () => Promise<A>,
): Promise<A | HttpAnswer> {
  try {
    return await work();
  } catch (error) {
    options.failed?.(error);
    return jsonAnswer(500, { error: 'internal error' });
  }
}

/** What the station answers, as the real listener would. */
async function answerOf(link: Link, from: string, request: TransportRequest): Promise<HttpAnswer> {
  const { station } = link;
  const { method, path, query, body } = request;
  const headers = [...request.headers, ...(request.sign?.(link.server) ?? [])];
  if (headers.length > maxHeaderLines) return jsonAnswer(431, { error: 'too many headers' });
  const incoming = incomingFrom(link, from, { method, path, query, headers, httpVersion: '1.1' }, body);
  return handledBy(station, () => station.options.handle(incoming));
}

/**
 * An answer with all that streams after its body; as far as it has come where that is more than `limit`, or the asker gives up.
 * Undefined: the stream failed.
 */
async function collected(
  { options, closed }: Station,
  { stream, ...answer }: HttpAnswer,
  limit: number,
  given: AbortSignal,
): Promise<HttpAnswer | undefined> {
  if (!stream) return answer;
  const parts = [answer.body];
  let length = answer.body.length;
  const iterator = stream[Symbol.asyncIterator]();
  const gone = new AbortController();
  const left = new Promise<undefined>((resolve) => {
    gone.signal.addEventListener('abort', () => resolve(undefined));
  });
  const stop = new AbortController();
  for (const signal of [given, closed.signal]) {
    listenTo(signal, () => gone.abort(), stop.signal);
    if (signal.aborted) gone.abort();
  }
  try {
    while (length <= limit) {
      const next = await Promise.race([left, iterator.next()]);
      if (next?.done === true) return { ...answer, body: joined(parts) };
      if (next === undefined) break;
      parts.push(next.value.slice());
      length += next.value.length;
    }
    await iterator.return?.();
    return { ...answer, body: joined(parts) };
  } catch (error) {
    options.failed?.(error);
    return undefined;
  } finally {
    stop.abort();
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** A transport of the host at address `from`. */
export const memoryTransport = (
  from: string,
  connect: (from: string, target: TransportTarget) => Promise<Result<Link, TransportError>>,
): Transport => {
  const kept = new Map<string, Link>();
  const stop = new AbortController();
  const aborted = () => err(failure('aborted', 'the request was aborted', {}));

  const drop = (key: string, link: Link) => {
    kept.delete(key);
    link.station.links.delete(link);
  };

  const linkTo = async (target: TransportTarget): Promise<Result<Link, TransportError>> => {
    const known = kept.get(target.connectionKey);
    const { station } = known ?? {};
    const usable = known && station?.accepting && station.links.has(known) && sameLink(known.target, target);
    const verdict = usable ? await target.judge(known.server) : undefined;
    if (known && verdict?.isOk()) return ok(known);
    if (known) drop(target.connectionKey, known);
    if (verdict?.isErr() && !outdated.has(verdict.error.code)) return err(verdict.error);
    const made = await connect(from, target);
    if (made.isOk()) kept.set(target.connectionKey, made.value);
    return made;
  };

  /** Resolves as soon as the request is given up or the other side is gone, whatever the handler still does. */
  const givenUp = ({ target, station }: Link, request: TransportRequest, done: AbortSignal) =>
    new Promise<Result<never, TransportError>>((resolve) => {
      const place = `${target.host}:${target.port}`;
      const seconds = request.answerTimeout / 1000;
      const timer = setTimeout(() => {
        const message = `no answer from ${place} within ${seconds} s`;
        resolve(err(failure('timed_out', message, { phase: 'answer', seconds })));
      }, request.answerTimeout);
      done.addEventListener('abort', () => clearTimeout(timer));
      const onAbort = () => resolve(aborted());
      const onClosed = () => {
        const message = `${place} closed the connection before its answer`;
        resolve(err(failure('connection_failed', message, { host: target.host, reason: 'closed' })));
      };
      listenTo(stop.signal, onAbort, done);
      listenTo(request.signal, onAbort, done);
      listenTo(station.closed.signal, onClosed, done);
    });

  const exchange = async (
    link: Link,
    request: TransportRequest,
    done: AbortSignal,
  ): Promise<Result<TransportAnswer, TransportError>> => {
    const answering = answerOf(link, from, request).then((answer) =>
      collected(link.station, answer, request.maxAnswer, done),
    );
    link.station.underWay.add(answering);
    const answer = await answering;
    link.station.underWay.delete(answering);
    if (!link.known) link.station.links.delete(link);
    if (answer === undefined) {
      const reason = 'closed';
      const message = `${link.target.host} closed the connection before the end of its answer`;
      return err(failure('connection_failed', message, { host: link.target.host, reason }));
    }
    if (answer.body.length > request.maxAnswer) {
      const limit = request.maxAnswer;
      const message = `the answer of ${link.target.host} is larger than ${limit} bytes`;
      return err(failure('too_large', message, { what: 'the answer', limit }));
    }
    const headers = answer.headers.map(([name, value]) => [name.toLowerCase(), value] as const);
    return ok({ ...answer, headers, peer: link.server });
  };

  const perform = async (
    target: TransportTarget,
    request: TransportRequest,
  ): Promise<Result<TransportAnswer, TransportError>> => {
    if (stop.signal.aborted || request.signal?.aborted) return aborted();
    const linked = await linkTo(target);
    if (linked.isErr()) return err(linked.error);
    if (stop.signal.aborted || request.signal?.aborted) return aborted();
    const done = new AbortController();
    const end = await Promise.race([
      exchange(linked.value, request, done.signal),
      givenUp(linked.value, request, done.signal),
    ]);
    done.abort();
    return end;
  };

  return {
    request: (target, request) => new ResultAsync(perform(target, request)),
    forget(connectionKey) {
      for (const [key, link] of kept) {
        if (connectionKey === undefined || connectionKey === key) drop(key, link);
      }
    },
    async close() {
      stop.abort();
      for (const [key, link] of kept) drop(key, link);
    },
  };
};
