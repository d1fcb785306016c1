import { backoff, jittered } from '../core/backoff.js';

/** Milliseconds between the beginnings of two calls of the same kind. */
export const pullIntervals = { heartbeat: 60_000, poll: 30_000, discovery: 6 * 3_600_000 } as const;

const afterFailures = { first: 30_000, last: 300_000, growth: 'steady' } as const;

/** How far from its interval a call may come, as a part of it. */
const spread = 0.1;

/** Random bytes that `fraction` wants. */
export const fractionBytes = 6;

/** A number from 0 to just below 1, evenly distributed if the bytes are. */
export function fraction(bytes: Uint8Array): number {
  return bytes.subarray(0, fractionBytes).reduce((sum, byte) => (sum + byte) / 256, 0);
}

/**
 * Milliseconds before the first call of a kind: anywhere in the interval, so that a fleet that starts together does not
 * call together.
 * @param chance from 0 to just below 1
 */
export const firstWait = (interval: number, chance: number): number => Math.floor(interval * chance);

/**
 * Milliseconds from the beginning of one call to the next of its kind: the interval, a tenth more or less.
 * @param chance from 0 to just below 1
 */
export const nextWait = (interval: number, chance: number): number =>
  Math.round(jittered(interval, spread, chance));

/** Milliseconds that a poll waits after so many heartbeats and polls in succession have failed. */
export const pollBackoff = (failures: number): number =>
  failures === 0 ? 0 : backoff(failures - 1, afterFailures);
