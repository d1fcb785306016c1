import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { failure } from '../../../domain/core/errors.js';
import type { HttpAnswer } from '../../../domain/protocol/http-message.js';
import type { ChannelError, ChannelTarget } from '../../../ports/channel.js';
import type {
  LegacyExchange,
  LegacyPairing,
  LegacyPairingError,
  LegacyPairingRequest,
} from '../../../ports/legacy-pairing.js';
import type { ListenerAnswer } from '../../../ports/listener.js';
import { handledBy, incomingFrom, type Link, listenTo } from './channel.js';

const maxBody = 65_536;

type Answered = Result<HttpAnswer, LegacyPairingError>;

const aborted = () => failure('aborted', 'the request was aborted', {});

const bounded = (answer: HttpAnswer): Answered =>
  answer.body.length <= maxBody
    ? ok(answer)
    : err(
        failure('too_large', `the answer is larger than ${maxBody} bytes`, {
          what: 'the answer',
          limit: maxBody,
        }),
      );

/** Pairing version 1 as the host at address `from` asks for it. */
export const memoryLegacyPairing = (
  from: string,
  connect: (from: string, target: ChannelTarget) => Promise<Result<Link, ChannelError>>,
): LegacyPairing => {
  const exchange = async (
    asked: LegacyPairingRequest,
  ): Promise<Result<LegacyExchange, LegacyPairingError>> => {
    const { host, port, signal } = asked;
    if (signal?.aborted) return err(aborted());
    const linked = await connect(from, { host, port, trust: 'any', key: '' });
    if (linked.isErr()) return err(linked.error);
    const link = linked.value;
    const { station } = link;
    const gone = new AbortController();
    let failed: LegacyPairingError | undefined;
    const hangUp = (error: LegacyPairingError) => {
      failed ??= error;
      station.links.delete(link);
      signal?.removeEventListener('abort', onAbort);
      gone.abort();
    };
    const onAbort = () => hangUp(aborted());
    signal?.addEventListener('abort', onAbort);
    const closed = failure('connection_failed', `${host}:${port} closed the connection`, {
      host,
      reason: 'closed',
    });
    listenTo(station.closed.signal, () => hangUp(closed), gone.signal);

    /** What is waited for, or what ends the connection before. */
    const within = (
      answering: Promise<HttpAnswer>,
      phase: 'answer' | 'pairing',
      timeout: number,
    ): Promise<Answered> =>
      new Promise((resolve) => {
        const onGone = () => settle(err(failed ?? aborted()));
        const seconds = timeout / 1000;
        const message = `no answer from ${host}:${port} within ${seconds} s`;
        const timer = setTimeout(
          () => hangUp(failure('timed_out', message, { phase, timeoutMs: seconds * 1000 })),
          timeout,
        );
        const settle = (answered: Answered) => {
          clearTimeout(timer);
          gone.signal.removeEventListener('abort', onGone);
          if (answered.isErr()) hangUp(answered.error);
          resolve(answered);
        };
        gone.signal.addEventListener('abort', onGone);
        if (gone.signal.aborted) onGone();
        void answering.then((answer) => settle(bounded(answer)));
      });

    const incoming = incomingFrom(
      link,
      from,
      {
        method: 'POST',
        path: '/pair',
        query: '',
        httpVersion: '1.0',
        headers: [
          ['content-type', 'application/json'],
          ['content-length', String(asked.body.length)],
        ],
      },
      asked.body,
    );
    const underWay = <A>(work: Promise<A>): Promise<A> => {
      station.underWay.add(work);
      void work.then(() => station.underWay.delete(work));
      return work;
    };
    let next: Promise<HttpAnswer> | undefined;
    /** The second answer: what has arrived can be read although the connection has ended since. */
    let arrived: HttpAnswer | undefined;
    const answering = underWay(
      handledBy<ListenerAnswer>(station, () => station.options.handle(incoming)).then((answer) => {
        const { next: more } = answer as ListenerAnswer;
        if (!more) return answer;
        next = underWay(handledBy(station, () => more(gone.signal)));
        void next.then((second) => {
          arrived = second;
        });
        return answer;
      }),
    );
    const first = await within(answering, 'answer', asked.answerTimeout);
    if (first.isErr()) return err(first.error);
    return ok({
      peer: link.server,
      first: first.value,
      second(timeout) {
        if (!next) hangUp(closed);
        if (arrived) {
          onAbort();
          return new ResultAsync(Promise.resolve(bounded(arrived)));
        }
        const answered = within(next ?? new Promise(() => undefined), 'pairing', timeout);
        return new ResultAsync(
          answered.then((answer) => {
            onAbort();
            return answer;
          }),
        );
      },
      close: onAbort,
    });
  };
  return { request: (asked) => new ResultAsync(exchange(asked)) };
};
