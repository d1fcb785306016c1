import { contentLines } from '../core/configuration.js';
import { dispatcherId, printable } from '../core/names.js';
import { canonicalSerial } from './serial.js';

/** A dispatcher certificate that an agent trusts. */
export interface TrustEntry {
  /** Canonical. */
  readonly serial: string;
  readonly dispatcherId: string;
}

/**
 * The id of a dispatcher that is trusted by its serial alone: the file of a 0.8 agent (`ctrl-exec-serial`) holds one
 * serial and no id.
 */
export const legacyDispatcherId = 'legacy';

export interface Trust {
  readonly entries: readonly TrustEntry[];
  /** One line each, with the line's number. */
  readonly warnings: readonly string[];
}

/**
 * Reads the trust file (wire-protocol 1.4): lines `<serial-hex> <dispatcher_id>`, or a serial alone; `#` begins a comment, also behind an entry. Serials are hex also
 * when all digits. A line that is not understood trusts nobody and is a warning, as is a serial that already has another id.
 */
export function parseTrust(text: string): Trust {
  let entries: readonly TrustEntry[] = [];
  const warnings: string[] = [];
  for (const { line, text: content } of contentLines(text)) {
    const [said = ''] = content.split('#', 1);
    const [first = '', second = legacyDispatcherId, ...rest] = said.trim().split(/\s+/);
    const serial = canonicalSerial(first);
    const id = dispatcherId(second);
    if (serial === undefined || id.isErr() || rest.length > 0) {
      warnings.push(
        `line ${line}: skipped, "${printable(content, 80)}" is not understood, expected <serial-hex> <dispatcher_id>`,
      );
      continue;
    }
    const holder = trustedAs(entries, serial);
    if (holder !== undefined && holder !== id.value)
      warnings.push(`line ${line}: skipped, serial ${serial} already belongs to ${holder}`);
    entries = addTrust(entries, { serial, dispatcherId: id.value });
  }
  return { entries, warnings };
}

/** The text of a trust file, one line an entry. */
export function formatTrust(entries: readonly TrustEntry[]): string {
  return entries.map((entry) => `${entry.serial} ${entry.dispatcherId}\n`).join('');
}

/** With the entry at the end; unchanged where the serial is trusted already, under whatever id. */
export function addTrust(entries: readonly TrustEntry[], entry: TrustEntry): readonly TrustEntry[] {
  return trustedAs(entries, entry.serial) === undefined ? [...entries, entry] : entries;
}

/** Without the entry; a serial that belongs to another id stays. */
export function removeTrust(
  entries: readonly TrustEntry[],
  serial: string,
  dispatcherId: string,
): readonly TrustEntry[] {
  return entries.filter((entry) => entry.serial !== serial || entry.dispatcherId !== dispatcherId);
}

/** The id of the dispatcher that has this serial (canonical); undefined when it is not trusted. */
export function trustedAs(entries: readonly TrustEntry[], serial: string): string | undefined {
  return entries.find((entry) => entry.serial === serial)?.dispatcherId;
}
