import { sourceOf } from '../../../domain/core/ip-prefix.js';
import type { PairingPlace, PlaceLimits } from '../../../domain/pairing/request.js';
import { sourceLimits } from '../../../domain/protocol/source-limits.js';
import type { DispatcherContext } from '../context.js';

/** Sources that are counted, and as many that are blocked. */
const maxSources = 10_000;

/**
 * How many requests may wait (wire-protocol 2.2). What people compare: `pairing_max_queue`, two for a source. With join tokens:
 * only those count that name a usable token, four for a token, however many hosts share an address.
 */
export const placeLimits = ({ settings }: DispatcherContext, kind: PairingPlace['kind']): PlaceLimits =>
  kind === 'join' ? { total: 100, perKey: 4 } : { total: settings.pairingMaxQueue, perKey: 2 };

/**
 * The rate limit of beginnings, `pairing_rate_limit_volume`. It counts by source; who names a usable join token is counted by
 * token and source, so that others at its address do not use its limit up.
 */
export function pairingRate({ clock, settings }: DispatcherContext) {
  const counted = sourceLimits(maxSources);
  return (address: string, token?: string): boolean => {
    const limit = settings.pairingRateLimitVolume;
    const key = token === undefined ? sourceOf(address) : `${token} ${sourceOf(address)}`;
    const now = clock.monotonic();
    counted.takeEnded(now);
    return (
      !counted.isBlocked(key, now) &&
      counted.count(key, ['volume'], { volume: limit, probe: limit }, now) === undefined
    );
  };
}
