import { contentLines } from '../core/configuration.js';
import { canonicalSerial } from './serial.js';

/**
 * Which serial brought which: by the canonical serial that was brought, the one of the request that brought it. A line that a
 * person wrote, or that a pairing brought, has no entry. Serials that are not trusted any more stay in it as long as a trusted
 * one descends from them.
 */
export type TrustOrigins = ReadonlyMap<string, string>;

/** Reads lines `<serial> <brought by serial>`; what is not understood is left out. */
export function parseOrigins(text: string | undefined): TrustOrigins {
  const origins = new Map<string, string>();
  for (const { text: line } of contentLines(text ?? '')) {
    const [serial, by, ...rest] = line.split(/\s+/).map(canonicalSerial);
    if (serial !== undefined && by !== undefined && rest.length === 0) origins.set(serial, by);
  }
  return origins;
}

/** The text in which `parseOrigins` finds what these serials descend from; it may be empty. */
export function formatOrigins(origins: TrustOrigins, trusted: Iterable<string>): string {
  const kept = new Map<string, string>();
  for (const line of trusted)
    for (let serial = line; !kept.has(serial); ) {
      const by = origins.get(serial);
      if (by === undefined) break;
      kept.set(serial, by);
      serial = by;
    }
  return [...kept].map(([serial, by]) => `${serial} ${by}\n`).join('');
}

/** The serials that a serial descends from, nearest first. */
export function ancestors(origins: TrustOrigins, serial: string): ReadonlySet<string> {
  const found = new Set<string>();
  for (let by = origins.get(serial); by !== undefined && !found.has(by); by = origins.get(by)) found.add(by);
  return found;
}

/**
 * Whether `serial` replaces `former` by these notes: it descends from it, and not the other way round.
 */
export const replaces = (origins: TrustOrigins, serial: string, former: string): boolean =>
  ancestors(origins, serial).has(former) && !ancestors(origins, former).has(serial);

/**
 * The serials that revoked ones have brought, transitively. A proven serial counts for itself: neither it nor what it brought
 * is among them.
 */
export function broughtBy(
  origins: TrustOrigins,
  revoked: ReadonlySet<string>,
  isProven: (serial: string) => boolean,
): ReadonlySet<string> {
  const children = new Map<string, string[]>();
  for (const [serial, by] of origins) {
    const brought = children.get(by) ?? [];
    brought.push(serial);
    children.set(by, brought);
  }
  const found = new Set<string>();
  const open = [...children.keys()].filter((serial) => revoked.has(serial));
  for (let by = open.pop(); by !== undefined; by = open.pop())
    for (const serial of children.get(by) ?? [])
      if (!found.has(serial) && !isProven(serial)) {
        found.add(serial);
        open.push(serial);
      }
  return found;
}
