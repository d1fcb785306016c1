import { contentLines } from '../core/configuration.js';
import { dispatcherId, legacyDispatcherId, printable } from '../core/names.js';
import { canonicalSerial } from './serial.js';

/** The dispatcher certificates that an agent trusts: by canonical serial the id of the dispatcher, in the order of the file. */
export type TrustLines = ReadonlyMap<string, string>;

export interface Trust {
  readonly lines: TrustLines;
  /** One line each, with the line's number. */
  readonly warnings: readonly string[];
}

/**
 * Reads the trust file (wire-protocol 1.4): lines `<serial-hex> <dispatcher_id>`, or a serial alone, whose id is `legacy`; `#`
 * begins a comment, also behind an entry. Serials are hex also when all digits. A line that is not understood trusts nobody and
 * is a warning, as is a serial that already has another id. The time it takes is linear in the length of the text.
 */
export function parseTrust(text: string): Trust {
  const lines = new Map<string, string>();
  const warnings: string[] = [];
  for (const { line, text: content } of contentLines(text)) {
    const [said = ''] = content.split('#', 1);
    const [first = '', second = legacyDispatcherId, ...rest] = said.trim().split(/\s+/);
    const serial = canonicalSerial(first);
    const known = second === legacyDispatcherId || dispatcherId(second).isOk();
    if (serial === undefined || !known || rest.length > 0) {
      warnings.push(
        `line ${line}: skipped, "${printable(content, 80)}" is not understood, expected <serial-hex> <dispatcher_id>`,
      );
      continue;
    }
    const holder = lines.get(serial) ?? second;
    if (holder !== second)
      warnings.push(`line ${line}: skipped, serial ${serial} already belongs to ${holder}`);
    lines.set(serial, holder);
  }
  return { lines, warnings };
}

/** The text of a trust file, one line a serial. */
export const formatTrust = (lines: TrustLines): string =>
  [...lines].map(([serial, id]) => `${serial} ${id}\n`).join('');
