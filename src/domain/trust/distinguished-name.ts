import { hex, utf8 } from '../core/bytes.js';

/** One attribute of a distinguished name (X.501). */
export interface NameAttribute {
  /** Object identifier, dotted. */
  readonly type: string;
  readonly value: string;
}

/** The attributes that have a name of their own, in the order in which Go's `crypto/x509/pkix` puts them. */
const named: ReadonlyArray<readonly [type: string, name: string]> = [
  ['2.5.4.6', 'C'],
  ['2.5.4.10', 'O'],
  ['2.5.4.11', 'OU'],
  ['2.5.4.7', 'L'],
  ['2.5.4.8', 'ST'],
  ['2.5.4.9', 'STREET'],
  ['2.5.4.17', 'POSTALCODE'],
  ['2.5.4.3', 'CN'],
  ['2.5.4.5', 'SERIALNUMBER'],
];

const single = new Set(['CN', 'SERIALNUMBER']);

/** The common name; of several the last one. */
export const commonNameOf = (attributes: readonly NameAttribute[]): string =>
  attributes.findLast(({ type }) => type === '2.5.4.3')?.value ?? '';

/**
 * A distinguished name as RFC 4514 writes it, byte for byte as Go's `pkix.Name` does: the attributes it knows in its own
 * order whatever that of the certificate, values of one type joined by `+`, of common name and serial number the last
 * one only; others behind them, by their number and in hex.
 */
export function goDistinguishedName(attributes: readonly NameAttribute[]): string {
  const groups = named.map(([type, name]) => {
    const values = attributes.filter((attribute) => attribute.type === type).map(({ value }) => value);
    const shown = single.has(name) ? values.slice(-1).filter((value) => value !== '') : values;
    return shown.map((value) => `${name}=${escaped(value)}`).join('+');
  });
  const known = new Set(named.map(([type]) => type));
  const others = attributes
    .filter(({ type }) => !known.has(type))
    .map(({ type, value }) => `${type}=#${hex(derString(value))}`);
  return [...others, ...groups.filter((group) => group !== '')].reverse().join(',');
}

/** RFC 4514 section 2.4, as far as Go does it. */
function escaped(value: string): string {
  return [...value]
    .map((character, at, all) => {
      const outer = at === 0 || at === all.length - 1;
      const special =
        /[,+"\\<>;]/.test(character) || (character === ' ' && outer) || (character === '#' && at === 0);
      return special ? `\\${character}` : character;
    })
    .join('');
}

/** A PrintableString where that can hold the text, else a UTF8String (X.690). */
function derString(value: string): Uint8Array {
  const content = utf8(value);
  const tag = /^[A-Za-z0-9 '()+,\-./:=?]*$/.test(value) ? 0x13 : 0x0c;
  const lengths: number[] = [];
  for (let rest = content.length; rest > 0; rest = Math.floor(rest / 256)) lengths.unshift(rest % 256);
  const length = content.length < 0x80 ? [content.length] : [0x80 + lengths.length, ...lengths];
  return Uint8Array.from([tag, ...length, ...content]);
}
