import { type Wrong, wrongText } from '../../domain/core/border.js';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { sourceOf } from '../../domain/core/ip-prefix.js';
import type { Clock } from '../../ports/clock.js';

/** Sources that are remembered; above it they share one entry. */
const maxSources = 10_000;
const silence = 60_000;

/**
 * Keeps whoever is refused from flooding the log: of one source (an IPv4 address, an IPv6 /64) one refusal a minute is
 * logged, with the number of those before it that were not (undefined for none).
 */
export function refusalLog<Refused = string>(
  clock: Clock,
  log: (ip: string, refused: Refused, more: number | undefined) => void,
): (ip: string, refused: Refused) => void {
  const logged = new Map<string, { until: number; unlogged: number }>();
  return (ip, refused) => {
    const now = clock.now();
    if (logged.size >= maxSources)
      for (const [key, { until }] of logged) if (until <= now) logged.delete(key);
    const source = sourceOf(ip);
    const key = logged.has(source) || logged.size < maxSources ? source : 'others';
    const entry = logged.get(key);
    // defence: refusals-do-not-flood-the-log
    if (entry && now < entry.until) {
      entry.unlogged += 1;
      return;
    }
    logged.set(key, { until: now + silence, unlogged: 0 });
    log(ip, refused, entry?.unlogged || undefined);
  };
}

/** What a call answers whose arguments are wrong. */
export const invalidArgument = (wrong: Wrong): CtrlExecError<'invalid_argument'> =>
  failure('invalid_argument', wrongText(wrong), { field: wrong.field, reason: wrong.reason });
