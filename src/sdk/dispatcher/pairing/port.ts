import { fromHex, hex } from '../../../domain/core/bytes.js';
import { type LegacyRefusal, readLegacyRequest } from '../../../domain/legacy/pairing.js';
import { legacyAnswer } from '../../../domain/legacy/pairing-session.js';
import type { Message } from '../../../domain/pairing/effects.js';
import type { PairingRequest } from '../../../domain/pairing/request.js';
import { type Answer, type Refusal, refusal } from '../../../domain/pairing/session.js';
import type { HttpAnswer } from '../../../domain/protocol/http-message.js';
import type { IncomingRequest, ListenerAnswer } from '../../../ports/listener.js';
import { refusalLog } from '../../core/refusals.js';
import { type Asker, route, serveAnonymously } from '../../protocol/anonymous-server.js';
import type { Outcome } from '../../protocol/endpoint.js';
import { confirm, installed, nonce, pairingAnswers, start } from '../../protocol/pairing-endpoints.js';
import type { DispatcherContext } from '../context.js';
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
  return (request) =>
    request.path === '/pair' && request.method === 'POST' && /* defence: version-1-is-switched-on */ allowV1
      ? version1(request)
      : version2(request);
}

const isRefusal = (error: SessionFailure): error is Refusal => 'detail' in error;

const answerTo = (error: SessionFailure): Answer =>
  isRefusal(error) ? { kind: 'refused', refusal: error } : { kind: 'failed', reason: error.message };

function version2Port({ context, sessions, ...entrance }: Entrance, refusals: Refusals) {
  const told = ({ address, step }: Asker, answer: Answer): PairingOutcome => {
    if (answer.kind === 'refused') {
      const { code, detail } = answer.refusal;
      refusals.refused(address, { step, reason: `${code}: ${detail}` });
    }
    if (answer.kind === 'failed') refusals.failed(address, { step, reason: answer.reason });
    return outcomeOf(answer);
  };

  /** What a session says to a message. One that is not there any more has ended, if it ever was. */
  const tell = async (
    session: Uint8Array,
    messageFor: (request: PairingRequest | undefined) => Message,
  ): Promise<Answer> => {
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
  const inTurn = (from: Asker, answer: () => Promise<Answer>) =>
    sessions.turn(answer).then((given) => told(from, given));

  return serveAnonymously({
    answers: pairingAnswers,
    absent: { outcome: 'absent', reason: 'no such route' },
    unread: ({ kind, reason }, from) =>
      told(from, kind === 'broken' ? { kind: 'failed', reason } : answerTo(refusal(kind, reason))),
    routes: [
      route(start, (message, from) =>
        sessions.turn(() =>
          startSession({ context, sessions, ...entrance }, message, from).match(
            (started): PairingOutcome => ({ outcome: 'started', ...started }),
            (error) => told(from, answerTo(error)),
          ),
        ),
      ),
      route(nonce, ({ session, nonce, mac }, from) =>
        inTurn(from, () => tell(session, () => ({ kind: 'nonce', nonce, mac }))),
      ),
      route(confirm, ({ session, sig }, from) =>
        inTurn(from, () => tell(session, (request) => ({ kind: 'confirm', sig, request }))),
      ),
      route(installed, ({ session, sig }, from) =>
        inTurn(from, () => tell(session, () => ({ kind: 'installed', sig }))),
      ),
    ],
  });
}

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

/** Seconds between two polls of an agent. */
const retryAfter = 2;

type PairingOutcome = Outcome<typeof pairingAnswers>;

/** What a session answers, in the words of the endpoints. */
function outcomeOf(given: Answer): PairingOutcome {
  switch (given.kind) {
    case 'nonce': {
      const { id, nonce, mac } = given;
      const session = fromHex(id) ?? new Uint8Array();
      return { outcome: 'nonce', v: 2, session, nonce, ...(mac && { mac }) };
    }
    case 'pending':
      return { outcome: 'pending', status: 'pending', retry_after: retryAfter };
    case 'denied':
      return { outcome: 'denied', status: 'denied', reason: given.reason };
    case 'approved':
      return { outcome: 'approved', status: 'approved', name: given.name, cert_pem: given.certificatePem };
    case 'ok':
      return { outcome: 'ok', status: 'ok' };
    case 'refused':
      return { outcome: given.refusal.code };
    case 'failed':
      return { outcome: 'internal' };
  }
}
