import type { ResultAsync } from 'neverthrow';
import type { Certificate, CertificateProfile } from '../domain/certificate.js';
import type { CtrlExecError } from '../domain/errors.js';

/** From when to when a certificate holds, epoch milliseconds; certificates carry whole seconds. */
export interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

/**
 * The private CA: P-384, pathLen 0 (wire-protocol 2.1).
 *
 * Contract: issued certificates carry names and the one usage of their profile, nothing from any CSR; serials are 16
 * random bytes whose first is in 0x10–0x7f, with at least one digit a–f (1.3); notAfter is never beyond the CA's own.
 * A failed call has written nothing.
 */
export interface CertificateAuthority {
  /** Makes key and certificate and stores them. An existing CA is never overwritten. */
  create(
    validity: Validity,
  ): ResultAsync<Certificate, CtrlExecError<'ca_exists' | 'crypto_failed' | 'file_failed'>>;
  /** The CA certificates in force, current one first. */
  certificates(): ResultAsync<
    readonly Certificate[],
    CtrlExecError<'ca_missing' | 'certificate_invalid' | 'file_failed'>
  >;
  /** Issues a certificate for the key `spki` (SubjectPublicKeyInfo, DER). */
  issue(
    profile: CertificateProfile,
    spki: Uint8Array,
    validity: Validity,
  ): ResultAsync<
    Certificate,
    CtrlExecError<'ca_missing' | 'certificate_invalid' | 'crypto_failed' | 'file_failed'>
  >;
}
