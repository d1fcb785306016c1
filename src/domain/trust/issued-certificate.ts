/** A certificate that was issued here. */
export interface IssuedCertificate {
  /** Canonical. */
  readonly serial: string;
  /** The agent that it was issued to, or `ctrl-exec:dispatcher:<id>`. */
  readonly name: string;
  /** SHA-256 of the SubjectPublicKeyInfo, lower-case hex. */
  readonly spkiSha256: string;
  /** Epoch milliseconds. */
  readonly notAfter: number;
}

/**
 * Milliseconds for which a revocation is kept after its certificate has expired: a year and a day. An agent objects to a list
 * that lacks an entry of less than a year ago.
 */
export const keptAfterExpiry = 366 * 86_400_000;
