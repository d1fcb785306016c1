import { err, ok, type Result, type ResultAsync } from 'neverthrow';
import { hex } from '../../../domain/core/bytes.js';
import { type LegacyRefusal, readLegacyRequest } from '../../../domain/legacy/pairing.js';
import { legacyAnswer } from '../../../domain/legacy/pairing-session.js';
import type { Message } from '../../../domain/pairing/effects.js';
import { maxPairingBody, readPairingMessage } from '../../../domain/pairing/messages.js';
import type { PairingRequest } from '../../../domain/pairing/request.js';
import { type Answer, type Refusal, refusal } from '../../../domain/pairing/session.js';
import { type HttpAnswer, jsonAnswer } from '../../../domain/protocol/http-message.js';
import type { IncomingRequest, ListenerAnswer } from '../../../ports/listener.js';
import { refusalLog } from '../../core/refusals.js';
import type { DispatcherContext } from '../context.js';
import { answerOf } from './answers.js';
import type { SessionFailure } from './identity.js';
import { type Entrance, startLegacySession, startSession } from './start.js';

/** Logs what the pairing port refuses, and apart from it what fails on this side: of each one a minute for each source. */
export function pairingRefusals({ clock, events }: DispatcherContext) {
  type Refused = { readonly step?: string; readonly reason: string };
  const logAt = (isFailure: boolean) =>
    refusalLog<Refused>(clock, (ip, refused, more) =>
      events.emit({
        action: 'pairing-refused',
        level: isFailure ? 'error' : 'warning',
        fields: { ip, ...refused, more },
      }),
    );
  return { refused: logAt(false), failed: logAt(true) };
}

type Refusals = ReturnType<typeof pairingRefusals>;
type Handle<Answered> = (request: IncomingRequest) => Promise<Answered>;

/** Answers the messages of the pairing port. */
export function pairingPort(
  entrance: Entrance,
  refusals: Refusals,
  allowV1: boolean,
): Handle<ListenerAnswer> {
  const version2 = version2Port(entrance, refusals);
  const version1 = version1Port(entrance, refusals);
  return async (request) => {
    const notFound = { status: 'error', error: 'not_found', reason: 'no such route' };
    if (request.method !== 'POST') return jsonAnswer(404, notFound);
    if (request.path === '/pair' && /* defence: version-1-is-switched-on */ allowV1) return version1(request);
    return (await version2(request)) ?? jsonAnswer(404, notFound);
  };
}

const isRefusal = (error: SessionFailure): error is Refusal => 'detail' in error;

const answerTo = (error: SessionFailure): Answer =>
  isRefusal(error) ? { kind: 'refused', refusal: error } : { kind: 'failed', reason: error.message };

interface Told {
  readonly session: Uint8Array;
  /** `request`: what others know of the session. */
  readonly messageFor: (request: PairingRequest | undefined) => Message;
}

/** The messages after M1. */
const messages: Readonly<Record<string, (body: Uint8Array) => Result<Told, SessionFailure>>> = {
  '/pair/v2/nonce': (body) =>
    parsed('nonce', body).map(({ session, nonce, mac }) => ({
      session,
      messageFor: () => ({ kind: 'nonce', nonce, mac }),
    })),
  '/pair/v2/confirm': (body) =>
    parsed('signed', body).map(({ session, sig }) => ({
      session,
      messageFor: (request) => ({ kind: 'confirm', sig, request }),
    })),
  '/pair/v2/installed': (body) =>
    parsed('signed', body).map(({ session, sig }) => ({
      session,
      messageFor: () => ({ kind: 'installed', sig }),
    })),
};

function version2Port(entrance: Entrance, refusals: Refusals) {
  const { context, sessions } = entrance;

  /** What a session says to a message. One that is not there any more has ended, if it ever was. */
  const tell = async ({ session, messageFor }: Told): Promise<Answer> => {
    const id = hex(session);
    const found = await context.pairing.find([id]);
    if (found.isErr()) return answerTo(found.error);
    const [request] = found.value;
    const answer = sessions.find(id) && (await sessions.advance(id, messageFor(request)));
    if (answer) return answer;
    return answerTo(
      request ? refusal('expired', 'the session has ended') : refusal('unknown_session', 'no such session'),
    );
  };

  const logged = ({ path: step, peer }: IncomingRequest, answer: Answer): HttpAnswer => {
    if (answer.kind === 'refused') {
      const { code, detail } = answer.refusal;
      refusals.refused(peer.address, { step, reason: `${code}: ${detail}` });
    }
    if (answer.kind === 'failed') refusals.failed(peer.address, { step, reason: answer.reason });
    return answerOf(answer);
  };

  const handle = async (body: Uint8Array, request: IncomingRequest): Promise<HttpAnswer> => {
    const read = messages[request.path];
    if (read) return logged(request, await read(body).match(tell, answerTo));
    return parsed('start', body)
      .asyncAndThen((message) => startSession(entrance, message, request))
      .match(
        (started) => started,
        (error) => logged(request, answerTo(error)),
      );
  };

  return async (request: IncomingRequest): Promise<HttpAnswer | undefined> => {
    if (!messages[request.path] && request.path !== '/pair/v2/start') return undefined;
    // defence: pairing-port-needs-tls-1-3
    if (request.peer.tlsVersion !== 'TLSv1.3')
      return logged(request, answerTo(refusal('invalid', 'TLS 1.3 is needed')));
    const body = await bodyOf(request);
    return body.isErr()
      ? logged(request, answerTo(body.error))
      : sessions.turn(() => handle(body.value, request));
  };
}

const bodyOf = (request: IncomingRequest): ResultAsync<Uint8Array, SessionFailure> =>
  request
    .body()
    .mapErr(
      (error): SessionFailure => (error.code === 'too_large' ? refusal('too_large', error.message) : error),
    )
    .andThen((body) =>
      body.length > maxPairingBody
        ? err(refusal('too_large', `the request's body is larger than ${maxPairingBody} bytes`))
        : ok(body),
    );

const parsed = <K extends 'start' | 'nonce' | 'signed'>(kind: K, body: Uint8Array) =>
  readPairingMessage(kind, body).mapErr((reason): SessionFailure => refusal('invalid', reason));

/** `POST /pair` of version 1: refused at once, or answered twice. */
function version1Port(entrance: Entrance, refusals: Refusals): Handle<ListenerAnswer> {
  const { sessions } = entrance;
  const refuse = ({ path: step, peer }: IncomingRequest, said: LegacyRefusal, why: string) => {
    const log = said === 'internal error' ? refusals.failed : refusals.refused;
    log(peer.address, { step, reason: `${said}: ${why}` });
    return legacyAnswer({ status: 'error', reason: said });
  };
  return async (request) => {
    if (request.httpVersion !== '1.0')
      return refuse(request, 'invalid request', 'it is not in HTTP/1.0, where it could be answered twice');
    const body = await request.body();
    if (body.isErr()) {
      const said = body.error.code === 'too_large' ? 'request too large' : 'invalid request';
      return refuse(request, said, body.error.message);
    }
    const asked = readLegacyRequest(body.value);
    if (asked.isErr()) return refuse(request, asked.error.said, asked.error.reason);
    const begun = await sessions.turn(async () =>
      startLegacySession(entrance, asked.value, request.peer.address),
    );
    if (begun.isErr()) return refuse(request, ...legacyRefusal(begun.error));
    const { id, answered } = begun.value;
    return {
      ...legacyAnswer({ status: 'pending', reqid: id }),
      next: (gone) =>
        secondAnswer(gone, answered, () => void sessions.turn(() => sessions.advance(id, { kind: 'gone' }))),
    };
  };
}

const legacyRefusal = (error: SessionFailure): [said: LegacyRefusal, why: string] => {
  if (!isRefusal(error)) return ['internal error', error.message];
  return [error.code === 'queue_full' ? 'pairing queue full' : 'invalid request', error.detail];
};

/** An agent that is gone gets no certificate, whatever is decided later. */
function secondAnswer(
  gone: AbortSignal,
  answered: Promise<HttpAnswer>,
  onGone: () => void,
): Promise<HttpAnswer> {
  gone.addEventListener('abort', onGone, { once: true });
  if (gone.aborted) onGone();
  return answered.finally(() => gone.removeEventListener('abort', onGone));
}
