/**
 * An argument of a script as deployed callers give it: a string as it is, a number or a boolean as its JSON text. A number is
 * written as JavaScript writes it (`1.0` is `1`, `1e3` is `1000`), which is what the deployed programs make of it. Undefined: it is
 * none, or a number beyond ±9007199254740991, whose digits are lost when JSON is read.
 */
export function legacyArgumentText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean') return String(value);
  return typeof value === 'number' && Math.abs(value) <= Number.MAX_SAFE_INTEGER ? String(value) : undefined;
}
