import { legacyDispatcherId } from '../core/names.js';
import { canonicalSerial } from '../trust/serial.js';
import { parseTrust, type Trust } from '../trust/trusted-dispatchers.js';
import { otherReading } from './serial.js';

/** A serial, canonical, and the other one that may be meant. */
interface DoubtfulSerial {
  readonly serial: string;
  readonly dispatcherId: string;
  readonly other: string;
}

/** What the trust file of another installation says. */
export interface LegacyTrust extends Trust {
  /** Serials that may stand for another certificate than the one whose serial they are; see `otherReading`. */
  readonly doubtful: readonly DoubtfulSerial[];
}

/**
 * Reads `ctrl-exec-dispatchers` (0.9 and later).
 * @param certain canonical serial of a dispatcher's certificate, as a person has read it there: decides where two may be meant
 */
export function parseLegacyTrust(text: string, certain?: string): LegacyTrust {
  const { lines, warnings } = parseTrust(text);
  const trusted = new Map<string, string>();
  const doubtful: DoubtfulSerial[] = [];
  for (const [serial, dispatcherId] of lines) {
    const other = otherReading(serial);
    const meant = other !== undefined && other === certain ? other : serial;
    if (!trusted.has(meant)) trusted.set(meant, dispatcherId);
    if (other !== undefined && ![serial, other].includes(certain ?? ''))
      doubtful.push({ serial, dispatcherId, other });
  }
  return { lines: trusted, warnings, doubtful };
}

/** Reads `ctrl-exec-serial` (0.8): one serial, whose digits are always hex. */
export function parseLegacySerial(text: string): LegacyTrust {
  const [first = ''] = text.split('\n', 1);
  const serial = canonicalSerial(first.replace(/\s+/g, ''));
  return serial === undefined
    ? { lines: new Map(), warnings: ['line 1: it holds no serial, expected hex such as 1a2b'], doubtful: [] }
    : { lines: new Map([[serial, legacyDispatcherId]]), warnings: [], doubtful: [] };
}
