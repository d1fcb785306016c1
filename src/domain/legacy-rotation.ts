import { parseJsonObject } from './json.js';
import { canonicalSerial } from './serial.js';

/** What another installation noted of the last change of its identity. It kept no key of before. */
export interface LegacyRotation {
  /** As written: see `meantSerial`. */
  readonly previous: string | undefined;
  /** Epoch milliseconds. */
  readonly rotatedAt: number | undefined;
}

/** Undefined: it is not understood. */
export function parseLegacyRotation(text: string): LegacyRotation | undefined {
  const value = parseJsonObject(text).unwrapOr(undefined);
  if (value === undefined) return undefined;
  const { previous_serial: previous, rotated_at: rotated } = value;
  const at = typeof rotated === 'string' ? Date.parse(rotated) : Number.NaN;
  return {
    previous: typeof previous === 'string' && canonicalSerial(previous) !== undefined ? previous : undefined,
    rotatedAt: Number.isNaN(at) ? undefined : at,
  };
}
