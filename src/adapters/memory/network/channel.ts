import { setMaxListeners } from 'node:events';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { failure } from '../../../domain/core/errors.js';
import { authority } from '../../../domain/core/host-argument.js';
import { readTimeout } from '../../../domain/protocol/connection-failures.js';
import { type HttpAnswer, jsonAnswer } from '../../../domain/protocol/http-message.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type {
  BodyConsumer,
  Channel,
  ChannelAnswer,
  ChannelError,
  ChannelTarget,
  Connection,
  ConnectOptions,
  Exchange,
  ExchangeError,
} from '../../../ports/channel.js';
import type { IncomingRequest, ListenOptions } from '../../../ports/listener.js';

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
  readonly target: ChannelTarget;
  readonly server: Certificate;
  readonly client: Certificate | undefined;
  /** False: it ends with its first answer. */
  readonly known: boolean;
  /** Why the station does not take the certificate of this side, which it tells by closing. */
  readonly refused?: string;
}

const settled = <T, E>(result: Result<T, E>) => new ResultAsync(Promise.resolve(result));

/** Any number of requests may share a signal. */
export function listenTo(signal: AbortSignal | undefined, listener: () => void, done: AbortSignal): void {
  if (!signal) return;
  setMaxListeners(0, signal);
  signal.addEventListener('abort', listener, { signal: done });
}

const termsOf = ({
  host,
  port,
  credentials,
  trust,
  allowExpired = false,
  tls13Only = false,
}: ChannelTarget) => JSON.stringify([host, port, credentials, trust, allowExpired, tls13Only]);

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
async function answerOf(link: Link, from: string, request: Exchange<unknown>): Promise<HttpAnswer> {
  const { station } = link;
  const { method, path, query, headers, body } = request;
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

const aborted = () => failure('aborted', 'the request was aborted', {});

const closed = ({ host, port }: ChannelTarget, reason = 'closed') =>
  failure('connection_failed', `${host}:${port} closed the connection before its answer`, { host, reason });

/** A channel of the host at address `from`. */
export const memoryChannel = (
  from: string,
  connect: (from: string, target: ChannelTarget) => Promise<Result<Link, ChannelError>>,
  resolves: (host: string) => boolean,
): Channel => {
  const idle: Link[] = [];
  const leased = new Set<Link>();
  const retired = new WeakSet<Link>();
  const stop = new AbortController();

  const drop = (link: Link) => link.station.links.delete(link);
  const stands = ({ station }: Link) => station.accepting && !station.closed.signal.aborted;
  const isOpen = (link: Link) => stands(link) && link.station.links.has(link);

  /** The last one that became idle. */
  const keptLink = (target: ChannelTarget): Link | undefined => {
    for (;;) {
      const at = idle.findLastIndex((link) => link.target.key === target.key);
      const [link] = at < 0 ? [] : idle.splice(at, 1);
      if (!link || (isOpen(link) && termsOf(link.target) === termsOf(target))) return link;
      drop(link);
    }
  };

  /** Ends as soon as the exchange is given up or the other side is gone, whatever the handler still does. */
  const patienceFor = ({ target, station }: Link, request: Exchange<unknown>, done: AbortSignal) => {
    let timer: NodeJS.Timeout | undefined;
    let giveUp: (error: ChannelError) => void = () => undefined;
    const over = new Promise<Result<never, ChannelError>>((resolve) => {
      giveUp = (error) => resolve(err(error));
    });
    const stopClock = () => clearTimeout(timer);
    const startClock = () => {
      stopClock();
      if (done.aborted) return;
      timer = setTimeout(() => giveUp(readTimeout(request.answerTimeout)), request.answerTimeout);
    };
    done.addEventListener('abort', stopClock);
    listenTo(stop.signal, () => giveUp(aborted()), done);
    listenTo(request.signal, () => giveUp(aborted()), done);
    listenTo(station.closed.signal, () => giveUp(closed(target)), done);
    startClock();
    return { over, startClock, stopClock };
  };

  const converse = async <E>(
    link: Link,
    request: Exchange<E>,
    clock: { startClock(): void; stopClock(): void },
    done: AbortSignal,
  ): Promise<Result<ChannelAnswer, ChannelError | E>> => {
    const { station, target } = link;
    const parts: Uint8Array[] = [];
    let size = 0;
    let objection: { readonly error: E } | undefined;
    let bug: { readonly thrown: unknown } | undefined;
    const collect: Part = async (bytes) => {
      parts.push(bytes);
      size += bytes.length;
      return size <= request.maxAnswer;
    };
    const consumedBy =
      (consume: BodyConsumer<E>): Part =>
      async (bytes) => {
        clock.stopClock();
        try {
          const outcome = await consume(bytes);
          if (outcome.isErr()) objection = { error: outcome.error };
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
      const head = { status: answer.status, headers };
      const consume = done.aborted ? undefined : request.onBody?.(head);
      const whole = { ...answer, ...(stream && { stream }) };
      const complete = await handOn(station, whole, consume ? consumedBy(consume) : collect, done);
      return { head, complete };
    };
    const answering = work();
    station.underWay.add(answering);
    const { head, complete } = await answering;
    station.underWay.delete(answering);
    if (!link.known) drop(link);
    if (bug) throw bug.thrown;
    if (objection) return err(objection.error);
    if (!complete) return err(closed(target));
    if (size > request.maxAnswer) {
      const limit = request.maxAnswer;
      const message = `the answer of ${target.host} is larger than ${limit} bytes`;
      return err(failure('too_large', message, { what: 'the answer', limit }));
    }
    return ok({ ...head, body: joined(parts) });
  };

  const exchange = async <E>(
    link: Link,
    request: Exchange<E>,
  ): Promise<Result<ChannelAnswer, ExchangeError<E>>> => {
    const fails = (error: ChannelError | E, sent: boolean) => {
      drop(link);
      return err({ ...error, sent } as ExchangeError<E>);
    };
    if (stop.signal.aborted || request.signal?.aborted) return fails(aborted(), false);
    if (!isOpen(link)) return fails(closed(link.target), false);
    if (link.refused !== undefined) return fails(closed(link.target, link.refused), true);
    const done = new AbortController();
    const patience = patienceFor(link, request, done.signal);
    try {
      const end = await Promise.race([converse(link, request, patience, done.signal), patience.over]);
      return end.isOk() ? ok(end.value) : fails(end.error, true);
    } finally {
      done.abort();
    }
  };

  const lease = (link: Link, kept: boolean): Connection => {
    leased.add(link);
    return {
      peer: link.server,
      kept,
      authority: authority(link.target.host, link.target.port),
      exchange: (request) => new ResultAsync(exchange(link, request)),
      release() {
        if (!leased.delete(link)) return;
        if (retired.has(link) || stop.signal.aborted) drop(link);
        else if (isOpen(link)) idle.push(link);
      },
      discard() {
        if (leased.delete(link)) drop(link);
      },
    };
  };

  const forget = (key?: string) => {
    const isMeant = ({ target }: Link) => key === undefined || key === target.key;
    for (const link of [...leased].filter(isMeant)) retired.add(link);
    for (const link of idle.filter(isMeant)) {
      idle.splice(idle.indexOf(link), 1);
      drop(link);
    }
  };

  const connectTo = async (
    target: ChannelTarget,
    { fresh, signal }: ConnectOptions,
  ): Promise<Result<Connection, ChannelError>> => {
    if (stop.signal.aborted || signal?.aborted) return err(aborted());
    const kept = fresh ? undefined : keptLink(target);
    if (kept) return ok(lease(kept, true));
    return (await connect(from, target)).map((link) => lease(link, false));
  };

  return {
    connect: (target, options) => new ResultAsync(connectTo(target, options)),
    isUnknownHost: async (host) => !resolves(host),
    forget,
    async close() {
      stop.abort();
      forget();
    },
  };
};
