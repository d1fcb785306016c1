import { lengthPrefixed } from '../core/bytes.js';
import type { Certificate } from './certificate.js';

const day = 86_400_000;

/** An agent's certificate is renewed when less than half of its lifetime remains (wire-protocol 2.4). */
export const renewalDue = (
  { notBefore, notAfter }: Pick<Certificate, 'notBefore' | 'notAfter'>,
  now: number,
): boolean => now > notBefore + (notAfter - notBefore) / 2;

/**
 * The dispatcher's identity is rotated when fewer than `renewalDays` remain, and where it lives shorter than twice as long,
 * at half of its lifetime. At once where it is not valid yet: the clock was ahead when it was made.
 */
export function rotationDue(
  { notBefore, notAfter }: Pick<Certificate, 'notBefore' | 'notAfter'>,
  renewalDays: number,
  now: number,
): boolean {
  const margin = Math.min(renewalDays * day, (notAfter - notBefore) / 2);
  return now < notBefore || now > notAfter - margin;
}

/** When the identity before the present one is given up, epoch milliseconds. */
export const overlapEnd = (switchedAt: number, overlapDays: number): number => switchedAt + overlapDays * day;

/** What a CA signs to vouch for the one that follows it. @param der the certificate of the new CA */
export const caEndorsementMessage = (der: Uint8Array): Uint8Array =>
  lengthPrefixed('ctrl-exec ca succession v2', der);

/**
 * What tells one set of CAs from another, whatever their order.
 * @param fingerprints of their certificates, lower-case hex
 */
export const caSetDigest = (fingerprints: readonly string[]): string => [...fingerprints].sort().join(',');
