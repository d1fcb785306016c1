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

/**
 * Every serial that an entry of a list written by people may mean, in canonical form. Accepts hex in either case,
 * `AA:BB`, `0x…` and `serial=…` (what `openssl x509 -serial` prints). A bare entry of decimal digits only has two
 * readings, hex and decimal, hex first; the marked forms are hex.
 * @returns an empty list when the entry is not a serial
 */
export function serialReadings(entry: string): readonly string[] {
  const text = entry.trim();
  if (text.length > 256) return [];
  const digits = text.replace(/^serial=\s*/i, '').replace(/^0x/i, '');
  const plain = /^[0-9a-f]{1,2}(:[0-9a-f]{2})+$/i.test(digits) ? digits.replaceAll(':', '') : digits;
  const hex = canonicalSerial(plain);
  if (hex === undefined) return [];
  if (!/^[0-9]+$/.test(text)) return [hex];
  const decimal = BigInt(text).toString(16);
  return decimal === hex ? [hex] : [hex, decimal];
}
