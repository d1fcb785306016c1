/**
 * A certificate serial in canonical form (wire-protocol 1.3): lower-case hex of the positive integer, no leading
 * zeros, no separators. For fields that are hex by definition, so `10` is sixteen.
 * @returns undefined for anything but 1 to 64 hex digits, and for zero
 */
export function canonicalSerial(hex: string): string | undefined {
  if (!/^[0-9A-Fa-f]{1,64}$/.test(hex)) return undefined;
  const digits = hex.toLowerCase().replace(/^0+/, '');
  return digits === '' ? undefined : digits;
}

const pairs = /^[0-9a-f]{1,2}(?:[:\s-]+[0-9a-f]{2})+$/i;

/**
 * Every serial that an entry of a list written by people may mean, in canonical form. Accepts hex in either case, in pairs with
 * colons, hyphens or spaces between them, `0x…`, `serial=…` (what `openssl x509 -serial` prints) and `Serial Number: …`, also
 * as `4096 (0x1000)`. A bare entry of decimal digits only has two readings, hex and decimal, hex first; the marked forms are hex.
 * @returns an empty list when the entry is not a serial
 */
export function serialReadings(entry: string): readonly string[] {
  if (entry.length > 256) return [];
  const text = entry.trim().replace(/^serial\s*(?:number|no\.?)\s*[:=]?\s*/i, '');
  const [, inBrackets = text] = /^\d+\s*\((0x[0-9a-f]+)\)$/i.exec(text) ?? [];
  const digits = inBrackets.replace(/^serial\s*[:=]\s*/i, '').replaceAll(/\b0x/gi, '');
  const hex = canonicalSerial(pairs.test(digits) ? digits.replaceAll(/[:\s-]/g, '') : digits);
  if (hex === undefined) return [];
  if (!/^[0-9]+$/.test(text)) return [hex];
  const decimal = BigInt(text).toString(16);
  return decimal === hex ? [hex] : [hex, decimal];
}
