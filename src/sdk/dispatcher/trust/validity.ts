import type { Validity } from '../../../ports/certificate-authority.js';
import type { DispatcherContext } from '../context.js';

const day = 86_400_000;

/** A new certificate is valid from a little before now, so that a host whose clock is behind accepts it. Milliseconds. */
export const backdate = 5 * 60_000;

/** From a little before now for so many days. */
export function validFor({ clock }: Pick<DispatcherContext, 'clock'>, days: number): Validity {
  const now = clock.now();
  return { notBefore: now - backdate, notAfter: now + days * day };
}

/** A CA holds for ten years (wire-protocol 2.1). */
export const caDays = 3653;
