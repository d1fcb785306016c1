import type { LogEvent } from '../core/event.js';
import type { Certificate } from '../trust/certificate.js';
import type { PairingDecision, PairingRequest } from './request.js';

/** Whom an agent that pairs is to trust. */
export interface Introduction {
  /** The current CA first. */
  readonly cas: readonly Certificate[];
  /** This dispatcher's present certificate, then the next one, if there is one. */
  readonly dispatchers: readonly Certificate[];
}

/** Who pairs: what both versions of pairing know of an agent. */
export interface Applicant {
  /** As in `PairingRequest`. */
  readonly id: string;
  readonly host: string;
  readonly ip: string;
  readonly port: number;
  readonly lookupBy: 'hostname' | 'ip';
  /** SubjectPublicKeyInfo of its CSR, DER. */
  readonly spki: Uint8Array;
  /** Its CSR, DER. */
  readonly csrDer: Uint8Array;
  /** Epoch milliseconds at which the request ends unless it is paired by then. */
  readonly expiresAt: number;
}

export type Approval = Extract<PairingDecision, { verdict: 'approve' }>;

/** What a reducer of pairing wants to have done, and an `Outcome` answers. */
export type Wanted =
  /** The request gets its code. */
  | { readonly do: 'open'; readonly code: string; readonly nonce: Uint8Array; readonly joinAs?: string }
  /** A certificate is signed; nothing is recorded. */
  | { readonly do: 'sign'; readonly approval: Approval }
  /** It is recorded. */
  | {
      readonly do: 'issue';
      readonly approval: Approval;
      readonly certificate: Certificate;
      readonly introduction: Introduction;
    }
  /** The key was seen. */
  | { readonly do: 'activate'; readonly name: string };

/** What a reducer of pairing wants to have done; how it answers is its own. */
export type Effect<Telling> =
  | Wanted
  /** The request ends. `known`: people could see its code. */
  | { readonly do: 'end'; readonly state: 'denied' | 'expired'; readonly known: boolean }
  /** An operator gave a wrong code. */
  | { readonly do: 'count-wrong-code' }
  /** The request has changed: whoever shows it is told. */
  | { readonly do: 'show' }
  | { readonly do: 'log'; readonly event: LogEvent }
  | Telling;

/** What came of an effect. */
export type Outcome =
  | { readonly kind: 'opened'; readonly nonce: Uint8Array }
  | {
      readonly kind: 'signed';
      readonly approval: Approval;
      readonly certificate: Certificate;
      readonly introduction: Introduction;
    }
  | { readonly kind: 'issued'; readonly approval: Approval }
  | { readonly kind: 'activated' }
  /** What was wanted cannot be. `code` as the port has it. */
  | { readonly kind: 'refused'; readonly code: string; readonly reason: string }
  /** This side failed: its log says how. */
  | { readonly kind: 'failed'; readonly reason: string };

/** The messages of an agent after its first. */
export type Message =
  /** M3. */
  | { readonly kind: 'nonce'; readonly nonce: Uint8Array; readonly mac?: Uint8Array | undefined }
  /** M5. `request`: what others know of the session, read for this message. */
  | { readonly kind: 'confirm'; readonly sig: Uint8Array; readonly request: PairingRequest | undefined }
  /** M6. */
  | { readonly kind: 'installed'; readonly sig: Uint8Array };

/** What the reducers hear beside messages and outcomes. */
type Notice =
  /** A look at the request as others see it, once a second. */
  | { readonly kind: 'look'; readonly request: PairingRequest | undefined }
  /** The connection of an agent of version 1 has ended: nothing that is issued now would reach it. */
  | { readonly kind: 'gone' }
  /** Pairing mode ends. */
  | { readonly kind: 'close' };

/** All that a reducer of pairing takes in. What does not concern its version changes nothing. */
export type PairingInput = Message | Notice | Outcome;

export interface Step<Session, Telling> {
  /** Undefined: nothing more is known of it. */
  readonly session: Session | undefined;
  readonly effects: readonly Effect<Telling>[];
}

/** What others have decided on a request. */
export type Verdict =
  | { readonly kind: 'pending' }
  | { readonly kind: 'approved'; readonly approval: Approval }
  | { readonly kind: 'denied'; readonly reason: string; readonly wrongCode: boolean }
  | { readonly kind: 'expired' };

/** What others have decided on a request, at this moment (epoch ms). */
export function verdictOn(request: PairingRequest | undefined, now: number): Verdict {
  const decision = request?.decision;
  if (decision?.verdict === 'deny')
    return { kind: 'denied', reason: decision.reason, wrongCode: decision.wrongCode ?? false };
  if (request?.state === 'denied') return { kind: 'denied', reason: 'denied', wrongCode: false };
  if (!request || request.state === 'expired' || now >= request.expiresAt) return { kind: 'expired' };
  return decision ? { kind: 'approved', approval: decision } : { kind: 'pending' };
}
