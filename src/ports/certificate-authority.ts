import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { Certificate, CertificateProfile } from '../domain/trust/certificate.js';
import type { RevocationList, RevokedCertificate } from '../domain/trust/revocation-list.js';

/** From when to when a certificate holds, epoch milliseconds; certificates carry whole seconds. */
export interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Which CA signs: the one in force, or the one before it while it is being replaced. */
export type Issuer = 'current' | 'previous';

type IssueFailure = CtrlExecError<'ca_missing' | 'certificate_invalid' | 'crypto_failed' | 'file_failed'>;

/**
 * The private CA: P-384, pathLen 0 (wire-protocol 2.1).
 *
 * Contract: issued certificates carry names and usages of their profile, nothing from any CSR; serials are 16
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
  /**
   * Issues a certificate for the key `spki` (SubjectPublicKeyInfo, DER).
   * @param issuer default: `current`. `previous` is `ca_missing` while no CA is being replaced
   */
  issue(
    profile: CertificateProfile,
    spki: Uint8Array,
    validity: Validity,
    issuer?: Issuer,
  ): ResultAsync<Certificate, IssueFailure>;
  /** A revocation list of the whole of `revoked` (RFC 5280 section 5), PEM label `X509 CRL`. Stores nothing. */
  revocationList(
    list: {
      /** Named in the list (issuerAltName); left out: the list names nobody. */
      readonly dispatcherId?: string | undefined;
      readonly number: number;
      readonly revoked: readonly RevokedCertificate[];
      /** Epoch milliseconds. */
      readonly thisUpdate: number;
      readonly nextUpdate: number;
    },
    issuer?: Issuer,
  ): ResultAsync<RevocationList, IssueFailure>;
  /**
   * Makes a further CA. It becomes the current one; the one before it stays in force as `previous`, key and all. While
   * there is a previous one, that is `ca_exists`.
   */
  succeed(validity: Validity): ResultAsync<Certificate, IssueFailure | CtrlExecError<'ca_exists'>>;
  /**
   * The previous CA's word for the current one, while it is being replaced: its signature over `caEndorsementMessage` of
   * the current certificate, encoded as signatures of 2.3. Undefined while none is being replaced.
   */
  endorsement(): ResultAsync<
    Uint8Array | undefined,
    CtrlExecError<'ca_missing' | 'certificate_invalid' | 'file_failed'>
  >;
  /** Removes the previous CA, certificate and key. Without one it does nothing. */
  retirePrevious(): ResultAsync<void, CtrlExecError<'ca_missing' | 'certificate_invalid' | 'file_failed'>>;
}
