import type { Clock } from '../../ports/clock.js';

/** Addresses that are remembered; above it they share one entry. */
const maxAddresses = 10_000;
const silence = 60_000;

/**
 * Keeps whoever is refused from flooding the log: of one address one refusal a minute is told, with the number of those
 * before it that were not (undefined for none).
 */
export function refusalLog(
  clock: Clock,
  tell: (ip: string, reason: string, more: number | undefined) => void,
): (ip: string, reason: string) => void {
  const told = new Map<string, { until: number; untold: number }>();
  return (ip, reason) => {
    const now = clock.now();
    if (told.size >= maxAddresses) for (const [key, { until }] of told) if (until <= now) told.delete(key);
    const key = told.has(ip) || told.size < maxAddresses ? ip : 'others';
    const entry = told.get(key);
    if (entry && now < entry.until) {
      entry.untold += 1;
      return;
    }
    told.set(key, { until: now + silence, untold: 0 });
    tell(ip, reason, entry?.untold || undefined);
  };
}
