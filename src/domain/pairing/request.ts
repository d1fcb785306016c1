import { type CtrlExecError, failure } from '../core/errors.js';

/**
 * States of a pairing session at the dispatcher (wire-protocol 2.2). `started`: commitment sent; `open`: the code is
 * known, people may decide; `issued`: certificate handed out; `active`: installed. `denied` and `expired` are ends.
 */
export type PairingState = 'started' | 'open' | 'issued' | 'active' | 'denied' | 'expired';

/** What an operator decided, at whichever terminal. */
export type PairingDecision =
  | {
      readonly verdict: 'approve';
      readonly name: string;
      readonly replace: boolean;
      /** What the operator sets in place of what the agent asked for. */
      readonly lookupBy?: 'hostname' | 'ip';
      readonly port?: number;
      readonly ip?: string;
    }
  | {
      readonly verdict: 'deny';
      readonly reason: string;
      /** The operator gave another code than the one of the request. */
      readonly wrongCode?: true;
    };

/** What a request takes up while it waits. What people compare and what join tokens decide have places of their own. */
export interface PairingPlace {
  readonly kind: 'compare' | 'join';
  /** Who is counted as one: the source of the connection (`sourceOf`), or the id of the join token. */
  readonly key: string;
  /** Epoch milliseconds until which the place is held; 0: it is free again. */
  readonly until: number;
}

/** What other terminals may know of a session; nonces and other secrets never leave pairing mode's memory. */
export interface PairingRequest {
  /** Session id, 32 lower-case hex digits; 16 by version 1. */
  readonly id: string;
  readonly state: PairingState;
  /** The host name that the agent claims, validated. */
  readonly host: string;
  /** The address that the connection came from. */
  readonly ip: string;
  /** Another one, which the agent has by its own account: it may be behind address translation. Agents of version 1 alone say it. */
  readonly statedIp?: string;
  /** The operational port that the agent claims. */
  readonly port: number;
  readonly lookupBy: 'hostname' | 'ip';
  /** Six digits, from state `open` on. */
  readonly code: string | undefined;
  readonly version: 'v1' | 'v2';
  readonly decision: PairingDecision | undefined;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
  readonly place: PairingPlace;
}

/** How many places there are of a kind, and how many of them one key may have. */
export interface PlaceLimits {
  readonly total: number;
  readonly perKey: number;
}

/** `full`: all places of the kind are taken; `key_full`: the key has as many as it may. */
export type Admission = 'admitted' | 'full' | 'key_full';

/**
 * Whether a new request gets a place.
 * @param held those that hold a place of its kind now, oldest first
 * @returns `displaced`: those that give way to it. A join token's id is no secret, so of requests that have not proved the
 * token yet the oldest gives way: whoever knows the id alone cannot keep its host out.
 */
export function admit(
  { place: { kind, key } }: PairingRequest,
  held: readonly PairingRequest[],
  { total, perKey }: PlaceLimits,
): { readonly admission: Admission; readonly displaced: readonly PairingRequest[] } {
  const ofKey = held.filter(({ place }) => /* defence: places-by-source */ place.key === key);
  const unproven =
    /* defence: join-token-id-blocks-nobody */ kind === 'join'
      ? ofKey.filter(({ state }) => state === 'started')
      : [];
  const displaced = unproven.slice(0, Math.max(0, ofKey.length - perKey + 1));
  const left = held.length - displaced.length;
  if (ofKey.length - displaced.length >= perKey) return { admission: 'key_full', displaced: [] };
  return left >= total ? { admission: 'full', displaced: [] } : { admission: 'admitted', displaced };
}

/** What people compare on both hosts: the first eight digits of the request id, and the code. */
export const comparison = ({ id }: Pick<PairingRequest, 'id'>, code: string): string =>
  `${id.slice(0, 8)}-${code}`;

/** What a person at the dispatcher compares with what the agent shows, once it is known. Agents of version 1 show the code alone. */
export const compared = (request: Pick<PairingRequest, 'id' | 'code' | 'version'>): string | undefined =>
  request.code === undefined || request.version === 'v1' ? request.code : comparison(request, request.code);

/**
 * Whether `given` is the code of the request, as six digits or with the request id before it (`comparison`).
 * Undefined: it is neither.
 */
export function sameCode(request: Pick<PairingRequest, 'id' | 'code'>, given: string): boolean | undefined {
  if (/^\d{6}$/.test(given)) return given === request.code;
  const whole = given.toLowerCase();
  if (!/^[0-9a-f]{8}-\d{6}$/.test(whole)) return undefined;
  return /* defence: request-id-is-compared */ whole === comparison(request, request.code ?? '');
}

/** Whether it waits for its code, a decision or its agent. */
export const waits = ({ state }: Pick<PairingRequest, 'state'>): boolean =>
  state === 'started' || state === 'open';

/** Whether it has ended after its code was known, nobody has denied it, and its place is not free yet. */
export const isGivenUp = (request: PairingRequest, at: number): boolean =>
  !waits(request) && request.place.until > at;

const free = (place: PairingPlace): PairingPlace => ({ ...place, until: 0 });

/** With its code, which people may compare from now on, until `expiresAt` (epoch ms). */
export const opened = (
  request: PairingRequest,
  code: string,
  expiresAt: number,
  decision?: PairingDecision,
): PairingRequest => ({
  ...request,
  state: 'open',
  code,
  decision,
  expiresAt,
  place: { ...request.place, until: expiresAt },
});

/** The request with what was decided: an approval waits for the agent, a denial is the end and frees the place. */
export const decided = (request: PairingRequest, decision: PairingDecision): PairingRequest =>
  decision.verdict === 'deny'
    ? { ...request, decision, state: 'denied', place: free(request.place) }
    : { ...request, decision };

/**
 * The end of a request that waits. One whose code people could compare keeps its place: else whoever grinds codes would
 * get a further try at once.
 */
export const ended = (request: PairingRequest, state: 'denied' | 'expired'): PairingRequest => ({
  ...request,
  state,
  place:
    /* defence: given-up-keeps-its-place */ request.code !== undefined && request.place.kind === 'compare'
      ? request.place
      : free(request.place),
});

/** Its certificate is handed out. */
export const issued = (request: PairingRequest): PairingRequest => ({
  ...request,
  state: 'issued',
  place: free(request.place),
});

/** Why nobody can take this decision at `at`: the request's state, `decided` or `expired`; undefined when somebody can. */
export function whyUndecidable(
  request: PairingRequest,
  decision: PairingDecision,
  at: number,
): string | undefined {
  if (decision.verdict === 'deny' && isGivenUp(request, at)) return undefined;
  if (request.state !== 'open') return request.state;
  if (request.decision !== undefined) return 'decided';
  return request.expiresAt <= at ? 'expired' : undefined;
}

export const unknownRequest = (id: string): CtrlExecError<'pairing_unknown'> =>
  failure('pairing_unknown', `there is no pairing request ${id}`, { id });

export const notReady = (id: string, state: string): CtrlExecError<'not_ready'> =>
  failure('not_ready', `nothing more can be done with pairing request ${id}: it is ${state}`, { id, state });

/** The request, denied because the agent whose name it was approved for was revoked; undefined: it is none of these. */
export const deniedByRevocation = (request: PairingRequest, name: string): PairingRequest | undefined =>
  waits(request) && request.decision?.verdict === 'approve' && request.decision.name === name
    ? decided(request, { verdict: 'deny', reason: `${name} was revoked meanwhile` })
    : undefined;

/** Milliseconds for which an ended request is remembered. */
export const endedLifetime = 3_600_000;
/** Milliseconds for which a request is remembered whose certificate nobody has used: longer than its pin lives. */
export const issuedLifetime = 90_000_000;
