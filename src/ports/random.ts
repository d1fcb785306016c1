/**
 * Unpredictable bytes, fit for keys, nonces and ids.
 *
 * Contract: exactly `length` bytes (0 gives none), a fresh array each time, two results of 16 bytes never equal.
 */
export interface Random {
  /** So many bytes. */
  bytes(length: number): Uint8Array;
}
