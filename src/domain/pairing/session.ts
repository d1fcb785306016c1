import type { LogEvent } from '../core/event.js';
import type { Certificate } from '../trust/certificate.js';
import {
  type Applicant,
  type Approval,
  type Effect,
  type Introduction,
  type Message,
  type Outcome,
  type PairingInput,
  type Step,
  verdictOn,
} from './effects.js';
import type { PairingErrorCode } from './messages.js';
import type { PairingRequest } from './request.js';
import {
  confirmMessage,
  installedMessage,
  joinAgentMessage,
  joinDispatcherMessage,
  pairingCode,
  type Sha256,
} from './transcript.js';
import { boundElsewhere } from './units.js';

/** Why the pairing port refuses a message; `detail` is for the log only. */
export interface Refusal {
  readonly code: PairingErrorCode;
  readonly detail: string;
}

export const refusal = (code: PairingErrorCode, detail: string): Refusal => ({ code, detail });

/** A join token that was usable at M1. */
export interface SessionToken {
  /** 16 hex digits. */
  readonly id: string;
  /** Registry name of its one host. */
  readonly name: string;
  /** A secret: what both sides prove to know. */
  readonly key: Uint8Array;
}

/** One agent's ceremony of version 2, as pairing mode remembers it: data, nothing else. */
export interface Session extends Applicant {
  readonly version: 'v2';
  /** `active`: its installation was reported. `ended`: it was denied, for `reason`, or has destroyed itself. */
  readonly phase: 'started' | 'open' | 'issued' | 'active' | 'ended';
  readonly reason?: string;
  /** Epoch milliseconds: M3 until then, else whatever may still come. */
  readonly deadline: number;
  readonly introduction: Introduction;
  readonly th: Uint8Array;
  readonly commit: Uint8Array;
  /** Secret until M4. */
  readonly dispatcherNonce: Uint8Array;
  readonly agentNonce?: Uint8Array;
  readonly token?: SessionToken;
  /** Signed; handed out from phase `issued` on. */
  readonly certificate?: Certificate;
}

/** The answer to a message. */
export type Answer =
  | {
      readonly kind: 'nonce';
      /** Id of the session. */
      readonly id: string;
      readonly nonce: Uint8Array;
      readonly mac: Uint8Array | undefined;
    }
  | { readonly kind: 'pending' }
  | { readonly kind: 'denied'; readonly reason: string }
  | { readonly kind: 'approved'; readonly name: string; readonly certificatePem: string }
  | { readonly kind: 'ok' }
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  /** A failure of this side: the agent learns nothing of it, the log does. */
  | { readonly kind: 'failed'; readonly reason: string };

/** What the reducer calculates with. */
export interface PairingCrypto {
  readonly sha256: Sha256;
  hmacSha256(key: Uint8Array, data: Uint8Array): Uint8Array;
  equal(a: Uint8Array, b: Uint8Array): boolean;
  verify(spki: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean;
}

/** The answer to the message under way. */
export interface Answering {
  readonly do: 'answer';
  readonly answer: Answer;
}

type Stepped = Step<Session, Answering>;
type Doing = Effect<Answering>;

const answer = (given: Answer): Doing => ({ do: 'answer', answer: given });
const refuse = (code: PairingErrorCode, detail: string): Doing =>
  answer({ kind: 'refused', refusal: refusal(code, detail) });
const show: Doing = { do: 'show' };
const log = (event: LogEvent): Doing => ({ do: 'log', event });
const stay = (session: Session, ...effects: readonly Doing[]): Stepped => ({ session, effects });

/** The session has failed. It is remembered, so that the agent hears why, but nothing leads out of it. */
const destroy = (session: Session, reason: string, ...effects: readonly Doing[]): Stepped =>
  stay(
    { ...session, phase: 'ended', reason },
    { do: 'end', state: 'denied', known: session.phase === 'open' },
    show,
    ...effects,
  );

/**
 * The dispatcher's side of a pairing of version 2 after M1 (wire-protocol 2.2), as a pure function: what becomes of a session
 * at a message, a notice or an outcome, and what is to be done. A message is answered exactly once, by the step that it
 * causes or by that of the outcome of its effects.
 */
export const sessionSteps = (crypto: PairingCrypto) => {
  const { sha256, equal } = crypto;

  const nonceAnswer = ({ id, token, th, dispatcherNonce }: Session, agentNonce: Uint8Array): Doing =>
    answer({
      kind: 'nonce',
      id,
      nonce: dispatcherNonce,
      mac: token && crypto.hmacSha256(token.key, joinDispatcherMessage(th, agentNonce, dispatcherNonce)),
    });

  const onNonce = (
    session: Session,
    nonce: Uint8Array,
    mac: Uint8Array | undefined,
    now: number,
  ): Stepped => {
    const { phase, agentNonce, token, th, commit, dispatcherNonce } = session;
    if (phase === 'ended' || now >= session.deadline)
      return stay(session, refuse('expired', 'the session has ended'));
    // defence: session-takes-one-nonce
    if (agentNonce) {
      if (equal(agentNonce, nonce)) return stay(session, nonceAnswer(session, nonce));
      if (phase !== 'open')
        return stay(session, refuse('invalid', 'a second nonce, after the certificate was issued'));
      const why =
        'a second nonce: the session was destroyed. An agent sends one whose user did not confirm the code';
      return destroy(session, 'denied', refuse('invalid', why));
    }
    if (!token && mac) return destroy(session, 'denied', refuse('invalid', 'a join proof without a token'));
    const proof = token && crypto.hmacSha256(token.key, joinAgentMessage(th, commit, nonce));
    // defence: agent-proves-join-token
    if (proof && !(mac && equal(mac, proof)))
      return destroy(session, 'denied', refuse('join_refused', 'the proof does not fit the token'));
    const code = pairingCode(sha256, th, nonce, dispatcherNonce);
    return stay(session, { do: 'open', code, nonce, ...(token && { joinAs: token.name }) });
  };

  const onConfirm = (session: Session, message: Message & { kind: 'confirm' }, now: number): Stepped => {
    const { phase, agentNonce, th, dispatcherNonce, certificate, introduction } = session;
    if (!agentNonce) return stay(session, refuse('invalid', 'confirmation before the nonce'));
    if (!isSigned(session, confirmMessage(th, agentNonce, dispatcherNonce), message.sig))
      return stay(session, badSignature);
    if ((phase === 'issued' || phase === 'active') && certificate)
      return stay(session, approved(session, certificate));
    if (phase === 'ended')
      return stay(session, answer({ kind: 'denied', reason: session.reason ?? 'denied' }));
    const verdict = verdictOn(message.request, now);
    switch (verdict.kind) {
      case 'pending':
        return stay(session, answer({ kind: 'pending' }));
      case 'expired':
        return stay(session, refuse('expired', 'the session has expired'));
      case 'denied':
        return deniedBy(session, verdict, answer({ kind: 'denied', reason: verdict.reason }));
      case 'approved': {
        const { approval } = verdict;
        // What was signed and not recorded is tried again: whatever became of it, there is one certificate.
        return stay(
          session,
          certificate ? { do: 'issue', approval, certificate, introduction } : { do: 'sign', approval },
        );
      }
    }
  };

  const isSigned = ({ spki }: Session, data: Uint8Array, signature: Uint8Array): boolean =>
    /* defence: confirmation-is-of-this-session */ crypto.verify(spki, data, signature);

  const onInstalled = (session: Session, signature: Uint8Array): Stepped => {
    const { phase, th, certificate } = session;
    if (!certificate || (phase !== 'issued' && phase !== 'active'))
      return stay(session, refuse('invalid', 'nothing was issued in this session'));
    return isSigned(session, installedMessage(sha256, th, certificate.der), signature)
      ? stay(session, { do: 'activate', name: nameOf(session) })
      : stay(session, badSignature);
  };

  const onOutcome = (session: Session, outcome: Outcome): Stepped => {
    switch (outcome.kind) {
      case 'opened':
        return stay(
          { ...session, phase: 'open', agentNonce: outcome.nonce, deadline: session.expiresAt },
          show,
          nonceAnswer(session, outcome.nonce),
        );
      case 'signed': {
        const { approval, certificate, introduction } = outcome;
        return stay({ ...session, certificate }, { do: 'issue', approval, certificate, introduction });
      }
      case 'issued':
        return onIssued(session, outcome.approval);
      case 'activated':
        return stay({ ...session, phase: 'active' }, ...paired(session), show, answer({ kind: 'ok' }));
      case 'refused':
        return onRefused(session, outcome.code, outcome.reason);
      case 'failed':
        return stay(session, answer({ kind: 'failed', reason: outcome.reason }));
    }
  };

  const step = (session: Session, message: PairingInput, now: number): Stepped => {
    switch (message.kind) {
      case 'nonce':
        return onNonce(session, message.nonce, message.mac, now);
      case 'confirm':
        return onConfirm(session, message, now);
      case 'installed':
        return onInstalled(session, message.sig);
      case 'look':
        return onLook(session, message.request, now);
      case 'close':
        return expire(session);
      case 'gone':
        return stay(session);
      default:
        return onOutcome(session, message);
    }
  };
  return step;
};

const badSignature = refuse('invalid', 'the signature does not verify with the key of the CSR');

/** The name that was approved is the one that the certificate has. */
const nameOf = ({ certificate, host }: Session): string => certificate?.commonName ?? host;

const approved = (session: Session, { pem }: Certificate): Doing =>
  answer({ kind: 'approved', name: nameOf(session), certificatePem: pem });

const deniedBy = (
  session: Session,
  { reason, wrongCode }: { readonly reason: string; readonly wrongCode: boolean },
  ...effects: readonly Doing[]
): Stepped =>
  stay(
    { ...session, phase: 'ended', reason },
    ...(wrongCode ? [{ do: 'count-wrong-code' } as const] : []),
    show,
    ...effects,
  );

/** Nothing is remembered of it: whoever asks is told what the store knows. */
const expire = (session: Session): Stepped => {
  const known = session.phase === 'open';
  return {
    session: undefined,
    effects: known || session.phase === 'started' ? [{ do: 'end', state: 'expired', known }, show] : [],
  };
};

/** Time, and what others decided on it. */
function onLook(session: Session, request: PairingRequest | undefined, now: number): Stepped {
  if (session.phase === 'started' || session.phase === 'open') {
    const verdict = verdictOn(request, now);
    if (verdict.kind === 'expired') return expire(session);
    if (verdict.kind === 'denied') {
      const denied = deniedBy(session, verdict);
      return now >= session.deadline ? { ...denied, session: undefined } : denied;
    }
  }
  return now >= session.deadline ? expire(session) : stay(session);
}

function onIssued(session: Session, { name }: Approval): Stepped {
  const { certificate } = session;
  if (!certificate) return stay(session, answer({ kind: 'failed', reason: 'issued without a certificate' }));
  const fields = { request: session.id, host: name, serial: certificate.serial, ip: session.ip };
  return stay(
    { ...session, phase: 'issued' },
    log({ action: 'pairing-issued', fields }),
    show,
    approved(session, certificate),
  );
}

const paired = (session: Session): readonly Doing[] =>
  session.phase === 'active'
    ? []
    : [
        log({
          action: 'agent-paired',
          fields: { request: session.id, host: nameOf(session), ip: session.ip },
        }),
      ];

/** What the store would not do: a token or a name that cannot be used any more, or somebody was faster. */
function onRefused(session: Session, code: string, reason: string): Stepped {
  if (session.phase === 'issued' || session.phase === 'active')
    return stay(session, refuse('name_registered', reason));
  if (code === 'not_ready' || code === 'pairing_unknown')
    return { session: undefined, effects: [show, refuse('expired', reason)] };
  if (code !== 'pairing_denied') return destroy(session, reason, refuse('name_registered', reason));
  const { token, host, ip } = session;
  const misused = log({
    action: 'join-token-misused',
    level: 'error',
    fields: { token: token?.id ?? '', host: token?.name ?? host, ip },
  });
  return destroy(
    session,
    reason,
    ...(reason === boundElsewhere ? [misused] : []),
    refuse('join_refused', reason),
  );
}
