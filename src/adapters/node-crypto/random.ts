import { randomFillSync } from 'node:crypto';
import type { Random } from '../../ports/random.js';

/** The operating system's generator, through node:crypto. */
export const systemRandom = (): Random => ({ bytes: (length) => randomFillSync(new Uint8Array(length)) });
