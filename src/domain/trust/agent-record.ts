import type { AgentStanding } from './agent-standing.js';

/** Where an agent is reached. */
export interface AgentEndpoint {
  /** The host name that the agent gave at pairing, or the one an operator set. */
  readonly host: string;
  /** The address it paired from, or the one an operator set; IPv6 without brackets. */
  readonly ip: string;
  readonly port: number;
  /** Which of the two is dialled. */
  readonly lookupBy: 'hostname' | 'ip';
}

/**
 * A key that may answer for an agent. `issued` until it was seen (M6, or a first connection that it answered); then
 * `active`, and older pins are dropped.
 */
export interface KeyPin {
  /** SHA-256 of the SubjectPublicKeyInfo, lower-case hex. */
  readonly spkiSha256: string;
  readonly state: 'issued' | 'active';
  /** Serial of the certificate that was issued for the key, canonical hex. */
  readonly serial: string;
  /** Epoch milliseconds. */
  readonly notAfter: number;
  /** Epoch milliseconds. */
  readonly issuedAt: number;
  /** Taken over as the agent's endpoint when the pin becomes active; only on an `issued` pin. */
  readonly endpoint?: AgentEndpoint;
  /** Only on an `issued` pin: it came of a renewal, and stays until it was seen or another renewal takes its place. */
  readonly renewal?: true;
}

/** One agent in the registry. `name` is unique, lower case. */
export interface AgentRecord {
  readonly name: string;
  readonly endpoint: AgentEndpoint;
  /**
   * At least one, unless it is `adopted`: the active one, then one of a renewal, then one of a pairing.
   */
  readonly pins: readonly KeyPin[];
  readonly pairing: 'v1' | 'v2';
  /** When the certificate of the last pairing was issued that was completed, or before there is one the first. Epoch milliseconds. */
  readonly pairedAt: number;
  /** As last reported by the agent; empty until the first discovery. */
  readonly tags: Readonly<Record<string, string>>;
  readonly standing: AgentStanding;
  /** It was taken over from another installation, and its key was not seen yet: none is active. */
  readonly adopted?: true;
}
