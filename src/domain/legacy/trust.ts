import { canonicalSerial } from '../trust/serial.js';
import {
  addTrust,
  legacyDispatcherId,
  parseTrust,
  type Trust,
  type TrustEntry,
} from '../trust/trusted-dispatchers.js';
import { otherReading } from './serial.js';

/** What the trust file of another installation says. */
export interface LegacyTrust extends Trust {
  /** Serials that may stand for another certificate than the one whose serial they are; see `otherReading`. */
  readonly doubtful: readonly { readonly entry: TrustEntry; readonly other: string }[];
}

/**
 * Reads `ctrl-exec-dispatchers` (0.9 and later).
 * @param certain canonical serial of a dispatcher's certificate, as a person has read it there: decides where two may be meant
 */
export function parseLegacyTrust(text: string, certain?: string): LegacyTrust {
  const { entries, warnings } = parseTrust(text);
  let trusted: readonly TrustEntry[] = [];
  const doubtful: { entry: TrustEntry; other: string }[] = [];
  for (const entry of entries) {
    const other = otherReading(entry.serial);
    const meant = other !== undefined && other === certain ? { ...entry, serial: other } : entry;
    trusted = addTrust(trusted, meant);
    if (other !== undefined && ![entry.serial, other].includes(certain ?? ''))
      doubtful.push({ entry, other });
  }
  return { entries: trusted, warnings, doubtful };
}

/** Reads `ctrl-exec-serial` (0.8): one serial, whose digits are always hex. */
export function parseLegacySerial(text: string): LegacyTrust {
  const [first = ''] = text.split('\n', 1);
  const serial = canonicalSerial(first.replace(/\s+/g, ''));
  return serial === undefined
    ? { entries: [], warnings: ['line 1: it holds no serial, expected hex such as 1a2b'], doubtful: [] }
    : { entries: [{ serial, dispatcherId: legacyDispatcherId }], warnings: [], doubtful: [] };
}
