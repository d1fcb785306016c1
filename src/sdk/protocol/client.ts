import { err, errAsync, ok, type Result, ResultAsync } from 'neverthrow';
import { utf8 } from '../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import type { HeaderList } from '../../domain/protocol/http-message.js';
import type { Certificate } from '../../domain/trust/certificate.js';
import type { AnswerHead, Channel, ChannelError, ChannelTarget, Connection } from '../../ports/channel.js';
import type { Clock } from '../../ports/clock.js';
import type { Crypto } from '../../ports/crypto.js';
import type { EventLog } from '../../ports/event-log.js';
import type { Random } from '../../ports/random.js';
import { aborted, wait } from '../core/wait.js';
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

/** Milliseconds that a connection waits for a decision about its peer: less than an agent waits for a request. */
const patience = 1000;

export interface ClientPorts {
  readonly channel: Channel;
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly events: EventLog;
  readonly random: Random;
}

/** @param connectTimeout milliseconds for TCP and TLS together */
export function protocolClient(ports: ClientPorts, connectTimeout: number): Client {
  const { channel, clock, crypto, events, random } = ports;

  /** The decision; undefined: it takes longer than `patience`, where that is to end the waiting. */
  const decisionOf = async (
    decision: ResultAsync<void, CallError>,
    signal: AbortSignal | undefined,
    impatient: boolean,
  ): Promise<Result<void, CallError> | undefined> => {
    const over = new AbortController();
    const given = new Promise<Result<void, CallError>>((resolve) => {
      const stop = () => resolve(err(aborted()));
      signal?.addEventListener('abort', stop, { signal: over.signal });
      if (signal?.aborted) stop();
    });
    const late = async () => void (await wait(clock, patience, over.signal));
    try {
      return await Promise.race([decision, given, ...(impatient ? [late()] : [])]);
    } finally {
      over.abort();
    }
  };

  /** A connection whose peer may be spoken with. */
  const admitted = async (
    callee: Callee,
    signal: AbortSignal | undefined,
    fresh: boolean,
  ): Promise<Result<Connection, CallError>> => {
    const { target, trust } = callee;
    const connected = await channel.connect(target, { timeout: connectTimeout, fresh, signal });
    if (connected.isErr()) return err(connected.error);
    const connection = connected.value;
    const decision = trust.judge(connection.peer);
    const decided = await decisionOf(decision, signal, true);
    if (decided === undefined) {
      // No agent waits that long: it is asked over another connection, once there is a yes.
      connection.release();
      const late = await decisionOf(decision, signal, false);
      return late?.isErr() ? err(late.error) : admitted(callee, signal, fresh);
    }
    if (decided.isOk()) return ok(connection);
    connection.discard();
    return connection.kept && /* defence: connection-is-judged-again */ outdated.has(decided.error.code)
      ? admitted(callee, signal, true)
      : err(decided.error);
  };

  const perform = async <R, A extends Answers>(
    endpoint: Endpoint<R, A>,
    callee: Callee,
    request: R,
    options: CallOptions,
  ): Promise<Result<Called<A>, CallError>> => {
    const started = clock.monotonic();
    const { method } = endpoint;
    const { path, members } = located(endpoint, request);
    const body = method === 'GET' ? new Uint8Array() : utf8(JSON.stringify(members));

    const refuse = (status: number, reason: string): CallError => {
      const fields = { host: callee.host, path, status, reason };
      events.emit({ action: 'result-unverified', level: 'error', fields });
      return failure('unverified', 'unverified result', { reason });
    };

    const attempt = async (fresh: boolean): Promise<Result<Called<A>, CallError>> => {
      const leased = await admitted(callee, options.signal, fresh);
      if (leased.isErr()) return err(leased.error);
      const connection = leased.value;
      const { peer } = connection;
      const sent = signed(connection, callee.trust.signer(), { method, path, body });
      let followed: { readonly head: AnswerHead; readonly answer: FollowedAnswer } | undefined;
      const { onOutput } = options;
      const exchanged = await connection.exchange<CallError>({
        ...sent,
        answerTimeout: options.answerTimeout,
        maxAnswer: endpoint.maxAnswer,
        signal: options.signal,
        ...(endpoint.streams !== undefined &&
          onOutput && {
            onBody: (head: AnswerHead) => {
              if (!isStream(head)) return undefined;
              const answer = followedAnswer({ clock, crypto }, { head, peer, sent }, onOutput);
              followed = { head, answer };
              return async (bytes: Uint8Array) =>
                (await answer.take(bytes)).mapErr((reason) => refuse(head.status, reason));
            },
          }),
      });
      if (exchanged.isErr()) {
        connection.discard();
        const { sent: wasSent, ...error } = exchanged.error;
        // What has ended as it must is not spoilt by how its connection ends.
        const whole = followed?.answer.verdict().isOk();
        if (!whole && !wasSent && connection.kept && error.code === 'connection_failed') return attempt(true);
        if (!whole) return err({ ...error, ...(wasSent && { sent: true as const }) } as CallError);
      } else connection.release();
      const rtt = () => Math.round(clock.monotonic() - started);
      const known = (shown: Shown, answer: Reading<A>) =>
        callee.trust.onVerified(peer, shown).map((whose): Called<A> => ({ answer, peer: whose, rtt: rtt() }));
      if (followed) {
        const { head, answer } = followed;
        const verdict = answer.verdict();
        if (verdict.isErr()) return err(asSent(refuse(head.status, verdict.error)));
        return readOutcome(endpoint.answers, request, head.status, verdict.value)
          .mapErr((error): CallError => error)
          .asyncAndThen((reading) => known({ signed: true, how: 'answered' }, reading))
          .mapErr(asSent);
      }
      if (exchanged.isErr()) return err(asSent(exchanged.error as CallError));
      const answer = exchanged.value;
      const checked = checkAnswer(crypto, answer, sent, { certificate: peer, now: clock.now() });
      // defence: unsigned-answer-is-refused
      if (checked.isErr() && !isUnsigned(answer)) return err(asSent(refuse(answer.status, checked.error)));
      const reading = readAnswer(endpoint, request, answer);
      const how = reading.isOk() ? 'answered' : isStranger(reading.error) ? 'stranger' : 'refused';
      const whose = await callee.trust.onVerified(peer, { signed: checked.isOk(), how });
      if (whose.isErr())
        return err(
          asSent(whose.error.code === 'unverified' ? refuse(answer.status, whose.error.reason) : whose.error),
        );
      return reading
        .map((read): Called<A> => ({ answer: read, peer: whose.value, rtt: rtt() }))
        .mapErr(asSent);
    };
    return attempt(false);
  };

  const signed = (
    { authority, peer }: Connection,
    signer: Signer,
    { method, path, body }: { readonly method: string; readonly path: string; readonly body: Uint8Array },
  ): RequestOnWire => {
    const headers: HeaderList = [
      ['host', authority],
      ...(body.length > 0 ? ([['content-type', 'application/json']] as const) : []),
    ];
    const bare = { method, path, query: '', headers, body };
    const by = { targetSpki: peer.spki, now: clock.now(), nonce: random.bytes(16) };
    return { ...bare, headers: [...headers, ...signRequest(crypto, signer, bare, by)] };
  };

  return {
    call: (endpoint, callee, request, options) =>
      options.signal?.aborted
        ? errAsync(aborted())
        : new ResultAsync(perform(endpoint, callee, request, options)),
  };
}

const asSent = (error: CallError): CallError => ({ ...error, sent: true });

/** The path of a request, and its other members. */
function located<R, A extends Answers>({ path, request: codec }: Endpoint<R, A>, request: R) {
  const members = codec.write(request);
  const member = /:([a-z]+)$/.exec(path)?.[1];
  return { path: member === undefined ? path : path.replace(`:${member}`, String(members[member])), members };
}
