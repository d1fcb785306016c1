import { createHash } from 'node:crypto';

/** 16 bytes of SHA-256 over these texts, one character a byte: the smallest thing that a Map can have as its key. */
export const digestOf = (...parts: readonly string[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest().toString('latin1', 0, 16);
