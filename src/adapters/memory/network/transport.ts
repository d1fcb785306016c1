import { setMaxListeners } from 'node:events';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { failure } from '../../../domain/core/errors.js';
import { readTimeout } from '../../../domain/protocol/agent-protocol.js';
import { type HttpAnswer, jsonAnswer } from '../../../domain/protocol/http-message.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type { IncomingRequest, ListenOptions } from '../../../ports/listener.js';
import {
  type BodyConsumer,
  outdated,
  type Transport,
  type TransportAnswer,
  type TransportError,
  type TransportRequest,
  type TransportTarget,
} from '../../../ports/transport.js';

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
  const what = "the request's body";
  return {
    ...request,
    peer: { address: from, certificate: client, presented: server, tlsVersion: 'TLSv1.3' },
    body: (limit = station.options.maxBody) =>
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

/** What becomes of the parts of a body: `false` where no more is wanted. */
type Part = (bytes: Uint8Array) => Promise<boolean>;

/** Hands on the body, then what streams after it, until all has gone or the asker gives up. False: the stream failed. */
async function handOn(
  { options, closed }: Station,
  { body, stream }: HttpAnswer,
  take: Part,
  given: AbortSignal,
): Promise<boolean> {
  const gone = new AbortController();
  const left = new Promise<undefined>((resolve) => {
    gone.signal.addEventListener('abort', () => resolve(undefined));
  });
  const stop = new AbortController();
  for (const signal of [given, closed.signal]) {
    listenTo(signal, () => gone.abort(), stop.signal);
    if (signal.aborted) gone.abort();
  }
  const iterator = stream?.[Symbol.asyncIterator]();
  try {
    let wanted = body.length === 0 || (await take(body.slice()));
    while (iterator && wanted) {
      const next = await Promise.race([left, iterator.next()]);
      if (next?.done === true) return true;
      if (next === undefined) break;
      wanted = !gone.signal.aborted && (await take(next.value.slice()));
    }
    await iterator?.return?.();
    return true;
  } catch (error) {
    options.failed?.(error);
    return false;
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
  resolves: (host: string) => boolean,
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

  /** Ends as soon as the request is given up or the other side is gone, whatever the handler still does. */
  const patienceFor = ({ target, station }: Link, request: TransportRequest, done: AbortSignal) => {
    let timer: NodeJS.Timeout | undefined;
    let giveUp: (error: TransportError) => void = () => undefined;
    const over = new Promise<Result<never, TransportError>>((resolve) => {
      giveUp = (error) => resolve(err(error));
    });
    const place = `${target.host}:${target.port}`;
    const stopClock = () => clearTimeout(timer);
    const startClock = () => {
      stopClock();
      if (done.aborted) return;
      timer = setTimeout(() => giveUp(readTimeout(request.answerTimeout)), request.answerTimeout);
    };
    done.addEventListener('abort', stopClock);
    const onAbort = () => giveUp(failure('aborted', 'the request was aborted', {}));
    const onClosed = () => {
      const message = `${place} closed the connection before its answer`;
      giveUp(failure('connection_failed', message, { host: target.host, reason: 'closed' }));
    };
    listenTo(stop.signal, onAbort, done);
    listenTo(request.signal, onAbort, done);
    listenTo(station.closed.signal, onClosed, done);
    startClock();
    return { over, startClock, stopClock };
  };

  const exchange = async (
    link: Link,
    request: TransportRequest,
    clock: { startClock(): void; stopClock(): void },
    done: AbortSignal,
  ): Promise<Result<TransportAnswer, TransportError>> => {
    const { station, target, server } = link;
    const parts: Uint8Array[] = [];
    let size = 0;
    let objection: TransportError | undefined;
    let bug: { readonly thrown: unknown } | undefined;
    const collect: Part = async (bytes) => {
      parts.push(bytes);
      size += bytes.length;
      return size <= request.maxAnswer;
    };
    const consumedBy =
      (consume: BodyConsumer): Part =>
      async (bytes) => {
        clock.stopClock();
        try {
          const outcome = await consume(bytes);
          if (outcome.isErr()) objection = outcome.error;
          clock.startClock();
          return outcome.isOk();
        } catch (thrown) {
          bug = { thrown };
          return false;
        }
      };
    const work = async () => {
      const { stream, ...answer } = await answerOf(link, from, request);
      const headers = answer.headers.map(([name, value]) => [name.toLowerCase(), value] as const);
      const head = { status: answer.status, headers, peer: server };
      const consume = done.aborted ? undefined : request.onBody?.(head);
      const whole = { ...answer, ...(stream && { stream }) };
      const complete = await handOn(station, whole, consume ? consumedBy(consume) : collect, done);
      return { head, complete };
    };
    const answering = work();
    station.underWay.add(answering);
    const { head, complete } = await answering;
    station.underWay.delete(answering);
    if (!link.known) station.links.delete(link);
    if (bug) throw bug.thrown;
    if (objection) return err(objection);
    if (!complete) {
      const reason = 'closed';
      const message = `${target.host} closed the connection before the end of its answer`;
      return err(failure('connection_failed', message, { host: target.host, reason }));
    }
    if (size > request.maxAnswer) {
      const limit = request.maxAnswer;
      const message = `the answer of ${target.host} is larger than ${limit} bytes`;
      return err(failure('too_large', message, { what: 'the answer', limit }));
    }
    return ok({ ...head, body: joined(parts) });
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
    const patience = patienceFor(linked.value, request, done.signal);
    try {
      const end = await Promise.race([exchange(linked.value, request, patience, done.signal), patience.over]);
      if (end.isErr()) drop(target.connectionKey, linked.value);
      return end;
    } finally {
      done.abort();
    }
  };

  return {
    request: (target, request) => new ResultAsync(perform(target, request)),
    isUnknownHost: async (host) => !resolves(host),
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
