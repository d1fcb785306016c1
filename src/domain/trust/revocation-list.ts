/** One entry of a certificate revocation list (RFC 5280 section 5.3). */
export interface RevokedCertificate {
  /** Canonical serial. */
  readonly serial: string;
  /** Epoch milliseconds, whole seconds. */
  readonly revokedAt: number;
}

/** A certificate revocation list (RFC 5280 section 5) whose signature held under one of the CAs that it was read with. */
export interface RevocationList {
  /** One PEM block `X509 CRL`, ending in a newline. */
  readonly pem: string;
  /** The dispatcher that made it, from its issuerAltName; undefined: one of an older version, which names nobody. */
  readonly dispatcherId: string | undefined;
  /** cRLNumber, increasing per CA and dispatcher. */
  readonly number: number;
  /** SHA-256 of the SubjectPublicKeyInfo of the CA that signed it, lower-case hex. */
  readonly issuerSpkiSha256: string;
  /** Epoch milliseconds. */
  readonly thisUpdate: number;
  readonly revoked: readonly RevokedCertificate[];
}

/** Entries that a list may have; what is longer is no list of a fleet of this size. */
export const maxRevoked = 100_000;
