import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { SubjectNames } from '../domain/deploy/csr.js';

/** A certification request (PKCS#10, RFC 2986) whose self-signature held. */
export interface CertificateRequest {
  readonly der: Uint8Array;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
}

/**
 * Making and judging of CSRs.
 *
 * Contract of `read`: exactly one PEM block of at most 10,240 bytes, a valid self-signature, a key of at least
 * RSA-2048, P-256, P-384 or Ed25519, no MD5 or SHA-1 (wire-protocol 2.1); anything else is `certificate_invalid` with
 * the reason. Its subject and attributes are ignored, whatever they say.
 */
export interface CertificateRequests {
  /** A CSR in PEM over the given private key (PEM), subject CN = `commonName` (undefined: no subject); with `names` it asks for these, too. */
  create(
    privateKeyPem: string,
    commonName: string | undefined,
    names?: SubjectNames,
  ): ResultAsync<string, CtrlExecError<'crypto_failed'>>;
  /** Reads a CSR and checks what the contract says. */
  read(pem: string): ResultAsync<CertificateRequest, CtrlExecError<'certificate_invalid'>>;
}
