import {
  type Applicant,
  type Effect,
  type Introduction,
  type PairingInput,
  type Step,
  verdictOn,
} from '../pairing/effects.js';
import { type HttpAnswer, jsonAnswer } from '../protocol/http-message.js';
import type { Certificate } from '../trust/certificate.js';
import { approvalTimeout, evenSerial } from './pairing.js';

/** An agent of version 1 whose connection waits for its second answer, as pairing mode remembers it. */
export interface LegacySession extends Applicant {
  readonly version: 'v1';
  /** 32 hex digits, echoed. */
  readonly nonce: string;
  readonly dispatcherId: string;
  /** Signed, and about to be recorded. */
  readonly certificate?: Certificate;
  readonly introduction?: Introduction;
}

/** Every answer of a deployed dispatcher has this status, whatever it says. */
export const legacyAnswer = (message: Readonly<Record<string, unknown>>): HttpAnswer =>
  jsonAnswer(200, message);

/** The second answer, on the connection that waits for it. */
export interface AnsweringLater {
  readonly do: 'answer-later';
  readonly answer: HttpAnswer;
}

type Stepped = Step<LegacySession, AnsweringLater>;
type Doing = Effect<AnsweringLater>;

const answerLater = (message: Readonly<Record<string, unknown>>): Doing => ({
  do: 'answer-later',
  answer: legacyAnswer(message),
});

const end = (state: 'denied' | 'expired', reason: string, ...effects: readonly Doing[]): Stepped => ({
  session: undefined,
  effects: [
    ...effects,
    { do: 'end', state, known: true },
    answerLater({ status: 'denied', reason }),
    { do: 'show' },
  ],
});

/**
 * The dispatcher's side of a pairing of version 1 (wire-protocol 1.5) after its first answer, as a pure function. A session
 * is remembered until its second answer, and given exactly one.
 */
export function legacyStep(session: LegacySession, message: PairingInput, now: number): Stepped {
  switch (message.kind) {
    case 'look': {
      const verdict = verdictOn(message.request, now);
      if (verdict.kind === 'expired') return end('expired', approvalTimeout);
      if (verdict.kind === 'denied')
        return end(
          'denied',
          verdict.reason,
          ...(verdict.wrongCode ? [{ do: 'count-wrong-code' } as const] : []),
        );
      return verdict.kind === 'approved'
        ? { session, effects: [{ do: 'sign', approval: verdict.approval }] }
        : { session, effects: [] };
    }
    case 'signed': {
      const { kind: _, ...signed } = message;
      return { session: { ...session, ...signed }, effects: [{ do: 'issue', ...signed }] };
    }
    case 'issued':
      return handOut(session, message.approval.name);
    case 'gone':
      return end('expired', 'gone');
    case 'close':
      return end('expired', 'pairing mode was closed');
    case 'refused':
      return end('denied', message.reason, refused(session, message));
    case 'failed':
      return end('denied', 'the dispatcher failed: see its log', refused(session, message));
    default:
      return { session, effects: [] };
  }
}

const refused = (
  { ip, host }: LegacySession,
  { kind, reason }: { readonly kind: 'refused' | 'failed'; readonly reason: string },
): Doing => ({
  do: 'log',
  event: {
    action: 'pairing-refused',
    level: kind === 'failed' ? 'error' : 'warning',
    fields: { ip, step: '/pair', reason: `${host} was approved and gets no certificate: ${reason}` },
  },
});

function handOut(session: LegacySession, name: string): Stepped {
  const { id, ip, nonce, certificate, introduction, dispatcherId } = session;
  const serial = introduction?.dispatchers[0]?.serial ?? '';
  return {
    session: undefined,
    effects: [
      {
        do: 'log',
        event: {
          action: 'pairing-issued',
          fields: { request: id, host: name, serial: certificate?.serial ?? '', ip },
        },
      },
      answerLater({
        status: 'approved',
        cert: certificate?.pem,
        ca: introduction?.cas.map(({ pem }) => pem).join(''),
        nonce,
        dispatcher_serial: evenSerial(serial),
        dispatcher_id: dispatcherId,
      }),
      { do: 'show' },
    ],
  };
}
