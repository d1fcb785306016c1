/** What a TLS handshake with the target showed; fingerprints are SHA-256 of the leaf, lower-case hex. */
export interface Verification {
  /** `host:port`, as configured. */
  readonly endpoint: string;
  readonly expectedFingerprint: string;
  /** Empty when no handshake came about. */
  readonly actualFingerprint: string;
  readonly verified: boolean;
  readonly error?: string;
}
