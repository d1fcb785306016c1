import { okAsync, ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { type AnsweringLater, legacyStep } from '../../../domain/legacy/pairing-session.js';
import type { Effect, Outcome, PairingInput, Step } from '../../../domain/pairing/effects.js';
import type { PairingRequest } from '../../../domain/pairing/request.js';
import { type Answer, type Answering, type Session, sessionSteps } from '../../../domain/pairing/session.js';
import type { HttpAnswer } from '../../../domain/protocol/http-message.js';
import type { DispatcherContext } from '../context.js';
import { dropLapsed } from '../trust/revoked.js';
import { type AnySession, carryOut } from './effects.js';

/** So many wrong codes close what people compare (wire-protocol 2.2). */
const maxWrongCodes = 3;
/** So many requests that were given up within an hour are an alarm. */
const maxGivenUp = 10;
const hour = 3_600_000;
/** Milliseconds between two looks at the time and at what other terminals decided. */
const lookInterval = 1000;

interface SessionsOptions {
  readonly onChange: (request: PairingRequest) => void;
  /** Somebody is trying: nothing that people compare is taken any more. */
  readonly onWrongCodes: () => void;
}

/**
 * The sessions of pairing mode. It feeds messages, time and decisions to the reducers, one after the other, and carries out
 * what comes of them.
 */
export function pairingSessions(context: DispatcherContext, options: SessionsOptions) {
  const { clock, crypto, events, pairing } = context;
  const step = sessionSteps(crypto);
  const sessions = new Map<string, AnySession>();
  /** Connections of version 1 that wait for their second answer. */
  const connections = new Map<string, (answer: HttpAnswer) => void>();
  let last: Promise<unknown> = Promise.resolve();
  /** One after the other: what is looked at does not change until what was decided upon it is done. */
  const turn = <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(work, work);
    last = next;
    return next;
  };
  let wrongCodes = 0;
  let comparingClosed = false;
  let alarmedAt: number | undefined;
  let tidiedAt = clock.now();
  let cancelLook: (() => void) | undefined;
  let ended = false;

  const report = (reason: string) =>
    events.emit({ action: 'internal-error', level: 'error', fields: { reason } });
  const failed = ({ message }: CtrlExecError) => report(message);

  const show = async (id: string): Promise<void> => {
    const [request] = await pairing.find([id]).unwrapOr([]);
    try {
      if (request) options.onChange(request);
    } catch (error) {
      report(String(error));
    }
  };

  /** Many requests that came as far as a code and were given up: somebody may be grinding codes. */
  const alarm = async (ip: string): Promise<void> => {
    const now = clock.now();
    if (alarmedAt !== undefined && now < alarmedAt + hour) return;
    const requests = await pairing.givenUp(now - hour).unwrapOr(0);
    if (/* defence: given-up-requests-are-an-alarm */ requests < maxGivenUp) return;
    alarmedAt = now;
    events.emit({ action: 'pairing-given-up', level: 'error', fields: { requests, ip } });
  };

  const perform = async (
    session: AnySession,
    effect: Exclude<Effect<AnsweringLater>, Answering>,
  ): Promise<Outcome | undefined> => {
    const { id } = session;
    switch (effect.do) {
      case 'end':
        await pairing.end({ ids: [id], state: effect.state }).orTee(failed);
        if (effect.known) await alarm(session.ip);
        return undefined;
      case 'count-wrong-code':
        wrongCodes += 1;
        return undefined;
      case 'show':
        await show(id);
        return undefined;
      case 'log':
        events.emit(effect.event);
        return undefined;
      case 'answer-later':
        connections.get(id)?.(effect.answer);
        connections.delete(id);
        return undefined;
      default:
        return carryOut(context, session, effect);
    }
  };

  const stepOf = (session: AnySession, input: PairingInput): Step<AnySession, Answering | AnsweringLater> =>
    session.version === 'v1' ? legacyStep(session, input, clock.now()) : step(session, input, clock.now());

  /** Takes a session on, until nothing is left to be done. The answer to the message, if it is one. */
  const advance = async (id: string, first: PairingInput): Promise<Answer | undefined> => {
    let answer: Answer | undefined;
    for (let input: PairingInput | undefined = first; input; ) {
      const before = sessions.get(id);
      if (!before) break;
      const { session, effects } = stepOf(before, input);
      if (session) sessions.set(id, session);
      else sessions.delete(id);
      input = undefined;
      for (const effect of effects) {
        if (effect.do === 'answer') answer = effect.answer;
        else input = (await perform(before, effect)) ?? input;
      }
    }
    return answer;
  };

  /** Three wrong codes are no accident: somebody is trying. What was begun with a join token goes on. */
  const closeIfAttacked = async (): Promise<void> => {
    if (comparingClosed || /* defence: wrong-codes-close-comparing */ wrongCodes < maxWrongCodes) return;
    comparingClosed = true;
    events.emit({ action: 'pairing-codes-closed', level: 'error', fields: { reason: 'three wrong codes' } });
    options.onWrongCodes();
    for (const [id, session] of sessions)
      if (isWaiting(session) && !isJoining(session)) await advance(id, { kind: 'close' });
  };

  /** Tells the sessions what the time is, and what others decided on them. */
  const look = async (): Promise<void> => {
    const waiting = [...sessions.values()].filter(isWaiting).map(({ id }) => id);
    const found = await (waiting.length === 0 ? okAsync([]) : pairing.find(waiting));
    if (found.isErr()) return failed(found.error);
    const requests = new Map(found.value.map((request) => [request.id, request]));
    for (const id of [...sessions.keys()]) await advance(id, { kind: 'look', request: requests.get(id) });
    await closeIfAttacked();
  };

  const watch = (): void => {
    cancelLook ??= clock.after(lookInterval, () => {
      const done = () => {
        cancelLook = undefined;
        if (sessions.size > 0) watch();
      };
      void turn(look)
        .catch((bug) => report(String(bug)))
        .then(done);
    });
  };

  /** What ended long ago is forgotten, once an hour. */
  const tidy = async (): Promise<void> => {
    const now = clock.now();
    if (now < tidiedAt + hour) return;
    tidiedAt = now;
    await dropLapsed(context)
      .andThen(() => pairing.purge(now))
      .orTee(failed);
  };

  return {
    turn,
    /** A session that was begun; in turn. The second answer, if it is one of version 1. */
    add: (session: AnySession): Promise<HttpAnswer> => {
      sessions.set(session.id, session);
      watch();
      void turn(tidy).catch((bug) => report(String(bug)));
      return new Promise((resolve) => {
        if (session.version === 'v1') connections.set(session.id, resolve);
      });
    },
    /** The session of version 2 that has this id. */
    find: (id: string): Session | undefined => {
      const session = sessions.get(id);
      return session?.version === 'v2' ? session : undefined;
    },
    /** Gives it a message; in turn. */
    advance: async (id: string, message: PairingInput): Promise<Answer | undefined> => {
      const answer = await advance(id, message);
      await closeIfAttacked();
      return answer;
    },
    show,
    /** Whether what people compare is closed; in turn. */
    isComparingClosed: async (): Promise<boolean> => {
      await look();
      return comparingClosed;
    },
    /** Whether nobody is let in any more. */
    ended: () => ended,
    /** Ends them all. */
    end: (): ResultAsync<void, CtrlExecError<'store_failed'>> => {
      const ending = turn(async () => {
        ended = true;
        cancelLook?.();
        for (const id of [...sessions.keys()]) await advance(id, { kind: 'close' });
        return pairing.end({ state: 'expired' });
      });
      return new ResultAsync(ending).map(() => undefined);
    },
  };
}

const isWaiting = (session: AnySession): boolean =>
  session.version === 'v1' || session.phase === 'started' || session.phase === 'open';

const isJoining = (session: AnySession): boolean => session.version === 'v2' && session.token !== undefined;

export type PairingSessions = ReturnType<typeof pairingSessions>;
