import { contentLines } from '../core/configuration.js';
import { printable } from '../core/names.js';
import { serialReadings } from './serial.js';

export interface RevokedSerials {
  /** Canonical. */
  readonly serials: ReadonlySet<string>;
  /** One line each, with the line's number. */
  readonly warnings: readonly string[];
}

/**
 * Reads a list of revoked serials: one a line in any form that people write (`serialReadings`), `#` begins a comment, also
 * behind an entry. An entry of decimal digits revokes both of its readings. What is not a serial is a warning.
 */
export function parseRevokedSerials(text: string): RevokedSerials {
  const serials = new Set<string>();
  const warnings: string[] = [];
  for (const { line, text: content } of contentLines(text)) {
    const [entry = ''] = content.split('#', 1);
    const readings = serialReadings(entry);
    for (const serial of readings) serials.add(serial);
    if (readings.length === 0)
      warnings.push(
        `line ${line}: skipped, "${printable(content, 80)}" is not a serial, expected hex such as 1a2b or 1A:2B`,
      );
  }
  return { serials, warnings };
}
