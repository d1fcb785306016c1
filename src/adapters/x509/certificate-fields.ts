import 'reflect-metadata';
import { Buffer } from 'node:buffer';
import { Name } from '@peculiar/x509';
import { err, ok, type Result } from 'neverthrow';
import type { Validity } from '../../ports/certificate-authority.js';
import type { Random } from '../../ports/random.js';

/** The subject with this one common name. Explicitly a string type: the library gives `#`, `"` and `\` a meaning. */
export const subjectOf = (commonName: string) => new Name([{ CN: [{ utf8String: commonName }] }]);

/**
 * A serial whose every text form, with or without padding, in hex, is the same and is not taken for a decimal number
 * (wire-protocol 1.3). Each draw fits with a probability of about 7/16.
 */
export function newSerial(random: Random): Result<string, string> {
  for (let draw = 0; draw < 100; draw++) {
    const serial = Buffer.from(random.bytes(16)).toString('hex');
    if (/^[1-7][0-9a-f]{31}$/.test(serial) && /[a-f]/.test(serial)) return ok(serial);
  }
  return err('the random source gives no usable serial');
}

/** From when to when, in whole seconds. */
export interface CertificatePeriod {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** Whole seconds, not beyond `latest` (epoch ms); else what is wrong with it. */
export function certificatePeriod(
  validity: Validity,
  latest = Number.POSITIVE_INFINITY,
): Result<CertificatePeriod, string> {
  const wholeSeconds = (time: number) => new Date(Math.floor(time / 1000) * 1000);
  const notBefore = wholeSeconds(validity.notBefore);
  const notAfter = wholeSeconds(Math.min(validity.notAfter, latest));
  const inRange = [notBefore, notAfter].every((date) => {
    const year = date.getUTCFullYear();
    return year >= 1970 && year <= 9999;
  });
  if (!inRange) return err('dates are not within the years 1970 to 9999');
  if (notAfter <= notBefore) return err(`ends at ${notAfter.toISOString()}, before it begins`);
  return ok({ notBefore, notAfter });
}
