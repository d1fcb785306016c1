import { canonicalSerial } from '../trust/serial.js';

/**
 * The form in which agents from 0.9 on compare serials, and write them down: digits alone are taken for a decimal number
 * and become hex, anything else loses its leading zeros. So `10` becomes `a`, and stands for the certificates 0a and 10 alike.
 * @returns undefined for what is no serial
 */
export function legacySerialForm(text: string): string | undefined {
  const serial = canonicalSerial(text);
  if (serial === undefined) return undefined;
  return /^[0-9]+$/.test(text) ? BigInt(text).toString(16) : serial;
}

/** Longest serial, in hex digits, that a counter is believed to have reached. */
const longestCounted = 8;

/**
 * The certificate serial that a serial written by such an agent may stand for instead of its own: one whose digits were
 * taken for a decimal number. Undefined where it can only mean what it says.
 * @param serial canonical
 */
export function otherReading(serial: string): string | undefined {
  if (!/[a-f]/.test(serial) || serial.length > longestCounted) return undefined;
  return BigInt(`0x${serial}`).toString(10);
}

/**
 * Which of the serials that are known (canonical) is meant by one that another installation wrote down: the same, else one of
 * the same form, else none of them and it is taken as hex. Undefined for what is no serial.
 */
export function meantSerial(text: string, known: readonly string[]): string | undefined {
  const serial = canonicalSerial(text);
  if (serial === undefined || known.includes(serial)) return serial;
  return known.find((each) => legacySerialForm(each) === serial) ?? serial;
}
