import { err, errAsync, ok, type Result, ResultAsync } from 'neverthrow';
import { utf8 } from '../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import type { HeaderList } from '../../domain/protocol/http-message.js';
import type { Certificate } from '../../domain/trust/certificate.js';
import type {
  AnswerHead,
  BodyConsumer,
  Channel,
  ChannelError,
  ChannelTarget,
  Connection,
  ConnectOptions,
  ExchangeError,
} from '../../ports/channel.js';
import type { Clock } from '../../ports/clock.js';
import type { Crypto } from '../../ports/crypto.js';
import type { EventLog } from '../../ports/event-log.js';
import type { Random } from '../../ports/random.js';
import { aborted, wait } from '../core/wait.js';
import { type BoundedBody, boundedBody } from './bounded-body.js';
import type { Answers, Endpoint, Peer, Reading } from './endpoint.js';
import { type FollowedAnswer, followedAnswer, isStream, type OutputPiece } from './followed-answer.js';
import { checkAnswer, isUnsigned, type RequestOnWire, type Signer, signRequest } from './message-signing.js';
import { isStranger, readAnswer, readOutcome } from './reading.js';

/**
 * What asking an agent can meet. `sent`: the request may have reached the agent; without it, it certainly has not. `refused`: the
 * agent has said no to it, and has not begun anything.
 */
export type CallError = (
  | ChannelError
  | CtrlExecError<
      'wrong_identity' | 'unpinned' | 'revoked' | 'unverified' | 'store_failed' | 'denied' | 'refused'
    >
) & { readonly sent?: true };

/** What an answer shows of the agent that gave it. */
export interface Shown {
  /** By the key of its certificate. An answer without any signature is one of a legacy agent, or is to be refused. */
  readonly signed: boolean;
  /** `answered`: it does what it is asked. `stranger`: it does not know who asks. `refused`: it says no for another reason. */
  readonly how: 'answered' | 'refused' | 'stranger';
}

/** What the seam asks of the side that calls, about one agent. */
export interface Trust {
  /** Whether this peer may be spoken with. Asked before anything is sent over a connection; it may take its time. */
  judge(peer: Certificate): ResultAsync<void, CallError>;
  signer(): Signer;
  /**
   * Keeps what a verified answer shows, before the answer is used, and says whose it is. Err `unverified`: the answer is not
   * signed, and this agent must sign.
   */
  onVerified(peer: Certificate, shown: Shown): ResultAsync<Peer, CallError>;
}

/** An agent as it is called. */
export interface Callee {
  readonly target: ChannelTarget;
  readonly trust: Trust;
  /** For the log: `host:port`. */
  readonly host: string;
}

export interface CallOptions {
  /** Milliseconds from the request's last byte to the answer's last; of a stream, without a byte of it. */
  readonly answerTimeout: number;
  readonly signal?: AbortSignal | undefined;
  /** Bytes that are kept of each stream of a run's output; more is `truncated`. Default: 8 MiB. */
  readonly maxOutput?: number;
  /** Takes the output of an answer that is streamed, piece by piece; nothing is vouched for before the call has ended well. */
  readonly onOutput?: ((piece: OutputPiece) => Promise<void>) | undefined;
}

/** What a verified agent has answered. */
export interface Called<A extends Answers> {
  readonly answer: Reading<A>;
  readonly peer: Peer;
  /** Whole milliseconds. */
  readonly rtt: number;
}

/** Asks agents (wire-protocol 1.2, 2.3): every request is signed for the key that answers, and every answer is verified. */
export interface Client {
  call<R, A extends Answers>(
    endpoint: Endpoint<R, A>,
    callee: Callee,
    request: R,
    options: CallOptions,
  ): ResultAsync<Called<A>, CallError>;
}

/** What a fresh connection may show in another light: the peer may have a new key or certificate. */
const outdated: ReadonlySet<CallError['code']> = new Set(['wrong_identity', 'revoked', 'tls_failed']);

/** Bytes of each stream of a run's output. */
const defaultMaxOutput = 8 * 1024 * 1024;

/** Bytes of an answer that refuses something. */
const maxRefusal = 1024 * 1024;

/** Milliseconds that a connection waits for a decision about its peer: less than an agent waits for a request. */
const patience = 1000;

export interface ClientPorts {
  readonly channel: Channel;
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly events: EventLog;
  readonly random: Random;
}

/** A connection whose peer may be spoken with, and since when it was made, by the monotonic clock. */
interface Lease {
  readonly connection: Connection;
  readonly since: number;
}

/** What travels of a request. */
type Asked = Pick<RequestOnWire, 'method' | 'path' | 'body'>;

/** @param connectTimeout milliseconds for TCP and TLS together */
export const protocolClient = (ports: ClientPorts, connectTimeout: number): Client => ({
  call<R, A extends Answers>(
    endpoint: Endpoint<R, A>,
    callee: Callee,
    request: R,
    options: CallOptions,
  ): ResultAsync<Called<A>, CallError> {
    const { signal } = options;
    if (signal?.aborted) return errAsync(aborted());
    const attempt = async (fresh: boolean): Promise<Result<Called<A>, CallError>> => {
      const leased = await admitted(ports, callee, { timeout: connectTimeout, signal, fresh });
      if (leased.isErr()) return err(leased.error);
      const called = await askOver(ports, leased.value, callee, endpoint, request, options);
      // Closed before a byte of the request was sent.
      const stale = called.isErr() && !called.error.sent && called.error.code === 'connection_failed';
      return stale && leased.value.connection.kept ? attempt(true) : called;
    };
    return new ResultAsync(attempt(false));
  },
});

/** A connection whose peer may be spoken with. Where the decision takes its time, no connection waits for it. */
async function admitted(
  ports: ClientPorts,
  callee: Callee,
  options: ConnectOptions,
): Promise<Result<Lease, CallError>> {
  const since = ports.clock.monotonic();
  const connected = await ports.channel.connect(callee.target, options);
  if (connected.isErr()) return err(connected.error);
  const connection = connected.value;
  const judge = async () => /* defence: connection-is-judged-again */ callee.trust.judge(connection.peer);
  const decision = judge();
  const decided = await orAborted(decision, options.signal, ports.clock).catch((bug: unknown) => {
    connection.discard();
    throw bug;
  });
  if (decided === undefined) {
    connection.release();
    const late = await orAborted(decision, options.signal);
    return late?.isErr() ? err(late.error) : admitted(ports, callee, options);
  }
  if (decided.isOk()) return ok({ connection, since });
  connection.discard();
  return connection.kept && outdated.has(decided.error.code)
    ? admitted(ports, callee, { ...options, fresh: true })
    : err(decided.error);
}

/** The decision, or the signal; undefined: with a clock, it takes longer than `patience`. */
async function orAborted(
  decision: Promise<Result<void, CallError>>,
  signal: AbortSignal | undefined,
  clock?: Clock,
): Promise<Result<void, CallError> | undefined> {
  const over = new AbortController();
  const given = new Promise<Result<void, CallError>>((resolve) => {
    const stop = () => resolve(err(aborted()));
    signal?.addEventListener('abort', stop, { signal: over.signal });
    if (signal?.aborted) stop();
  });
  const late = async () => clock && void (await wait(clock, patience, over.signal));
  try {
    return await Promise.race([decision, given, ...(clock ? [late()] : [])]);
  } finally {
    over.abort();
  }
}

/** One exchange over a connection, and what its answer says. */
async function askOver<R, A extends Answers>(
  ports: ClientPorts,
  { connection, since }: Lease,
  callee: Callee,
  endpoint: Endpoint<R, A>,
  request: R,
  options: CallOptions,
): Promise<Result<Called<A>, CallError>> {
  const { clock, crypto, events } = ports;
  const { peer } = connection;
  const { method } = endpoint;
  const { path, members } = located(endpoint, request);
  const body = method === 'GET' ? new Uint8Array() : utf8(JSON.stringify(members));
  const sent = signed(ports, connection, callee.trust.signer(), { method, path, body });
  const refuse = (status: number, reason: string): CallError => {
    const fields = { host: callee.host, path, status, reason };
    events.emit({ action: 'result-unverified', level: 'error', fields });
    return failure('unverified', 'unverified result', { reason });
  };

  let followed: { readonly head: AnswerHead; readonly answer: FollowedAnswer } | undefined;
  let bounded: BoundedBody | undefined;
  const { answerTimeout, maxOutput = defaultMaxOutput, onOutput, signal } = options;
  const { host, port } = callee.target;
  const onBody = (head: AnswerHead): BodyConsumer<CallError> | undefined => {
    if (onOutput && endpoint.streams !== undefined && isStream(head)) {
      const answer = followedAnswer(ports, { head, peer, sent, maxOutput }, onOutput);
      followed = { head, answer };
      return async (bytes) => (await answer.take(bytes)).mapErr((reason) => refuse(head.status, reason));
    }
    if (!endpoint.output || head.status >= 300) return undefined;
    const limits = { host, port, maxOutput, maxBody: endpoint.maxAnswer, timeout: answerTimeout, signal };
    bounded = boundedBody(ports, limits);
    return bounded.take;
  };
  const exchanged = await connection
    .exchange<CallError>({
      ...sent,
      answerTimeout,
      maxAnswer: endpoint.output ? maxRefusal : endpoint.maxAnswer,
      signal,
      onBody,
    })
    .then(
      (ended) => ended,
      (bug: unknown) => {
        bounded?.close();
        throw bug;
      },
    );
  if (exchanged.isOk()) connection.release();
  else connection.discard();

  const whose = (shown: Shown) => callee.trust.onVerified(peer, shown);
  const rtt = Math.round(clock.monotonic() - since);
  if (followed) {
    const { head, answer } = followed;
    const verdict = answer.verdict();
    // What has ended as it must is not spoilt by how its connection ends.
    // defence: stream-needs-its-end
    if (verdict.isErr())
      return err(exchanged.isErr() ? endOf(exchanged.error) : asSent(refuse(head.status, verdict.error)));
    return readOutcome(endpoint.answers, request, head.status, verdict.value)
      .mapErr((error): CallError => error)
      .asyncAndThen((read) =>
        whose({ signed: true, how: 'answered' }).map((by): Called<A> => ({ answer: read, peer: by, rtt })),
      )
      .mapErr(asSent);
  }
  if (exchanged.isErr()) {
    bounded?.close();
    return err(endOf(exchanged.error));
  }

  const answer = exchanged.value;
  const said = bounded ? { ...answer, sha256: bounded.sha256() } : answer;
  const object = bounded?.read();
  bounded?.close();
  const checked = checkAnswer(crypto, said, sent, { certificate: peer, now: clock.now() });
  // Whoever knows the agent decides about one without any signature.
  if (checked.isErr() && !isUnsigned(answer)) return err(asSent(refuse(answer.status, checked.error)));
  const read = readAnswer(endpoint, request, answer, object);
  const how = read.isOk() ? 'answered' : isStranger(read.error) ? 'stranger' : 'refused';
  const by = await whose({ signed: checked.isOk(), how });
  if (by.isErr()) {
    const { error } = by;
    return err(asSent(error.code === 'unverified' ? refuse(answer.status, error.reason) : error));
  }
  return read.map((reading): Called<A> => ({ answer: reading, peer: by.value, rtt })).mapErr(asSent);
}

/** A request as it is sent over a connection, signed for the key behind it. */
function signed(
  { clock, crypto, random }: ClientPorts,
  { authority, peer }: Connection,
  signer: Signer,
  asked: Asked,
): RequestOnWire {
  const headers: HeaderList = [
    ['host', authority],
    ...(asked.body.length > 0 ? ([['content-type', 'application/json']] as const) : []),
  ];
  const bare = { ...asked, query: '', headers };
  const by = { targetSpki: peer.spki, now: clock.now(), nonce: random.bytes(16) };
  return { ...bare, headers: [...headers, ...signRequest(crypto, signer, bare, by)] };
}

const asSent = (error: CallError): CallError => ({ ...error, sent: true });

/** How an exchange ended, as the error of a call. */
const endOf = ({ sent, ...error }: ExchangeError<CallError>): CallError =>
  ({ ...error, ...(sent && { sent: true as const }) }) as CallError;

/** The path of a request, and its other members. */
function located<R, A extends Answers>({ path, request: codec }: Endpoint<R, A>, request: R) {
  const members = codec.write(request);
  const member = /:([a-z]+)$/.exec(path)?.[1];
  return { path: member === undefined ? path : path.replace(`:${member}`, String(members[member])), members };
}
