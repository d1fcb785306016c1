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
    }
  | { readonly verdict: 'deny'; readonly reason: string };

/** What other terminals may know of a session; nonces and other secrets never leave pairing mode's memory. */
export interface PairingRequest {
  /** Session id, 32 lower-case hex digits. */
  readonly id: string;
  readonly state: PairingState;
  /** The host name that the agent claims, validated. */
  readonly host: string;
  /** The address that the connection came from. */
  readonly ip: string;
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
}

/** The request with what was decided: an approval waits for the agent, a denial is the end. */
export const decided = (request: PairingRequest, decision: PairingDecision): PairingRequest => ({
  ...request,
  decision,
  state: decision.verdict === 'deny' ? 'denied' : request.state,
});

/** Why nobody can decide on a request at `now`: its state, `decided` or `expired`; undefined when somebody can. */
export function whyUndecidable(request: PairingRequest, now: number): string | undefined {
  if (request.state !== 'open') return request.state;
  if (request.decision !== undefined) return 'decided';
  return request.expiresAt <= now ? 'expired' : undefined;
}
