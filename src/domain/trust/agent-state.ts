import type { AgentRecord, KeyPin } from './agent-record.js';
import type { SerialState } from './agent-standing.js';

const isOver = ({ notAfter }: Pick<KeyPin, 'notAfter'>, now: number): boolean => notAfter < now;

/** How a certificate of an agent stands. `issued`: it was not seen in use yet. */
export type CertificateState = KeyPin['state'] | 'revoked' | 'expired';

/** @param revoked serials @param now epoch milliseconds */
export function certificateState(pin: KeyPin, revoked: ReadonlySet<string>, now: number): CertificateState {
  if (revoked.has(pin.serial)) return 'revoked';
  return isOver(pin, now) ? 'expired' : pin.state;
}

/** How an agent stands by its certificates. `unpinned`: it was taken over from another installation, and its key was not seen yet. */
export type AgentState = CertificateState | 'unpinned';

/** `revoked` and `expired`: all of its certificates are. @param revoked serials @param now epoch milliseconds */
export function agentState(
  { pins, adopted }: Pick<AgentRecord, 'pins' | 'adopted'>,
  revoked: ReadonlySet<string>,
  now: number,
): AgentState {
  if (adopted) return 'unpinned';
  if (pins.every(({ serial }) => revoked.has(serial))) return 'revoked';
  if (pins.every((pin) => isOver(pin, now))) return 'expired';
  return pins.some(({ state }) => state === 'active') ? 'active' : 'issued';
}

/** The key that answers for an agent; undefined: none was seen yet. */
export const activePin = ({ pins }: Pick<AgentRecord, 'pins'>): KeyPin | undefined =>
  pins.find(({ state }) => state === 'active');

/** `unknown`: its key was not seen yet, or nobody knows what it trusts. `expired`: so is the certificate that it uses. */
export const contactStates = ['current', 'pending', 'stale', 'unknown', 'expired'] as const;
export type ContactState = (typeof contactStates)[number];

/**
 * How an agent stands as somebody who is to be reached.
 * @param serials how it stands to the dispatcher's serials; undefined: nobody has looked @param now epoch milliseconds
 */
export function contactState(
  agent: Pick<AgentRecord, 'pins' | 'standing'>,
  serials: SerialState | undefined,
  now: number,
): ContactState {
  const pin = activePin(agent);
  if (!pin) return 'unknown';
  if (isOver(pin, now)) return 'expired';
  return agent.standing.serials.length === 0 ? 'unknown' : (serials ?? 'unknown');
}
