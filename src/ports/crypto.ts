import type { Result, ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { CertificateDescription } from '../domain/deploy/discovery.js';
import type { RunningDigest } from '../domain/protocol/output-stream.js';
import type { Certificate, KeyType } from '../domain/trust/certificate.js';

/** Signature algorithms of the HTTP Signature Algorithms registry (RFC 9421 section 6.2) that this product speaks. */
export type SignatureAlgorithm = 'ecdsa-p256-sha256' | 'ecdsa-p384-sha384' | 'ed25519' | 'rsa-pss-sha512';

/** A private key that can sign; the key decides the algorithm. */
export interface SigningKey {
  readonly algorithm: SignatureAlgorithm;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  /** ECDSA as r‖s, RSA-PSS with a salt of 64 bytes (RFC 9421 section 3.3). */
  sign(data: Uint8Array): Uint8Array;
}

/**
 * Digests, message authentication, keys and signatures, and the reading of certificates.
 *
 * Contract: input is never changed; `verify` answers false for any malformed key or signature and for a key whose
 * algorithm is not in `SignatureAlgorithm`; no error message holds key material.
 */
export interface Crypto {
  /** FIPS 180-4; 32 bytes. */
  sha256(data: Uint8Array): Uint8Array;
  /** SHA-256 over what comes in parts. */
  runningSha256(): RunningDigest;
  /** RFC 2104; 32 bytes. */
  hmacSha256(key: Uint8Array, data: Uint8Array): Uint8Array;
  /** RFC 5869. */
  hkdfSha256(secret: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Uint8Array;
  /** Compares without telling by its time where they differ; different lengths are unequal. */
  equal(a: Uint8Array, b: Uint8Array): boolean;

  /** A fresh private key in PEM, as PKCS#8 unless told; SEC1 (`EC PRIVATE KEY`, RFC 5915) is for keys on curves only. */
  generateKey(type: KeyType, form?: 'pkcs8' | 'sec1'): ResultAsync<string, CtrlExecError<'crypto_failed'>>;
  /** Reads a private key in PEM (PKCS#8, SEC1 or PKCS#1). An RSA key below 2048 bits or another curve is an error. */
  signingKey(pem: string): Result<SigningKey, CtrlExecError<'certificate_invalid'>>;
  /** The algorithm that fits a public key (SubjectPublicKeyInfo, DER); undefined where `verify` is always false. */
  algorithmOf(spki: Uint8Array): SignatureAlgorithm | undefined;
  /** Whether `signature` over `data` was made by the private half of `spki`, with the algorithm that fits that key. */
  verify(spki: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean;

  /** Reads exactly one certificate, PEM text or DER bytes. */
  readCertificate(input: string | Uint8Array): Result<Certificate, CtrlExecError<'certificate_invalid'>>;
  /** What any certificate (DER) says of itself, also one that could be used for nothing here. */
  describeCertificate(der: Uint8Array): Result<CertificateDescription, CtrlExecError<'certificate_invalid'>>;
  /** Whether `issuer` issued `certificate`: names match, the signature holds and `issuer` is a CA. Dates are not judged. */
  issuedBy(certificate: Certificate, issuer: Certificate): boolean;
}
