import { printable } from '../core/names.js';
import { serialReadings } from './serial.js';

/** What a list of revoked serials that people write says. */
export interface RevokedSerials {
  /** Canonical; also those of lines that are not understood as a whole. */
  readonly serials: ReadonlySet<string>;
  /** The lines that are not understood. */
  readonly badLines: readonly BadLine[];
}

/** A line that is not understood. */
interface BadLine {
  /** 1-based. */
  readonly line: number;
  /** One printable line. */
  readonly text: string;
}

const lineEnd = /\r\n|[\n\v\f\r\u0085\u2028\u2029]/;

/**
 * Reads a list of revoked serials: one or, with `,` or `;` between them, several a line, in any form that people write
 * (`serialReadings`), also in quotes. `#` begins a comment, also behind an entry. An entry of decimal digits revokes both of its
 * readings. UTF-16 that was taken for UTF-8 is understood.
 */
export function parseRevokedSerials(text: string): RevokedSerials {
  const serials = new Set<string>();
  const badLines: BadLine[] = [];
  for (const [index, content] of /* defence: deny-list-in-utf16 */ plain(text).split(lineEnd).entries()) {
    // What looks the same becomes the same; what is not seen goes, as Windows puts it before serials that are copied.
    const [said = ''] = content
      .normalize('NFKC')
      .replaceAll(/\p{Cf}/gu, '')
      .split('#', 1);
    const read = said.split(/[,;]/).map(unquoted).filter(saysSomething).map(entryReadings);
    for (const serial of read.flat()) serials.add(serial);
    if (read.some(({ length }) => length === 0))
      badLines.push({ line: index + 1, text: printable(content.trim(), 80) });
  }
  return { serials, badLines };
}

/** UTF-16 that was read as UTF-8: its mark is not readable, and every other byte is NUL. */
const plain = (text: string): string =>
  text.includes('\0') ? text.replace(/^\uFFFD+/, '').replaceAll('\0', '') : text;

/** Without the quotes and the `=` of a table, and without a bullet. */
const unquoted = (entry: string): string =>
  entry
    .replaceAll(/["'`\u2018-\u201F\u00AB\u00BB]/g, '')
    .trim()
    .replace(/^(?:=|[-*\u2022]\s)\s*/, '');

/** Not where there is a title alone, as above a column, or above the serial in what OpenSSL prints. */
const saysSomething = (entry: string): boolean =>
  entry !== '' && !/^serials?(?:\s*(?:numbers?|no\.?))?\s*:?$/i.test(entry);

/** Words of hex that are no pairs may be one serial or several: all of that is refused. */
function entryReadings(entry: string): readonly string[] {
  const readings = serialReadings(entry);
  const words = entry.split(/\s+/);
  if (readings.length > 0 || words.length === 1) return readings;
  const each = words.map(serialReadings);
  return each.every(({ length }) => length > 0) ? [...each.flat(), ...serialReadings(words.join(''))] : [];
}
