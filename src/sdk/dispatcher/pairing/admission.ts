import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { countOne, isSpent, type RateCount } from '../../../domain/core/rate-limit.js';
import type { DispatcherContext } from '../context.js';
import { refusal, type SessionFailure } from './session.js';

const sessionsPerAddress = 2;
/** Sources whose rate is remembered; above it the spent ones are forgotten, then nobody new is let in. */
const maxSources = 10_000;

/** Who may begin to pair: limits by rate and by the number of requests that wait (wire-protocol 2.2). */
export function pairingAdmission({ clock, pairingQueue, settings }: DispatcherContext) {
  const sources = new Map<string, RateCount>();

  const withinRate = (address: string): boolean => {
    const limit = settings.pairingRateLimitVolume;
    const now = clock.now();
    if (sources.size >= maxSources)
      for (const [source, count] of sources) if (isSpent(count, limit, now)) sources.delete(source);
    if (sources.size >= maxSources && !sources.has(address)) return false;
    const { after, allowed } = countOne(sources.get(address), limit, now);
    sources.set(address, after);
    return allowed;
  };

  return (address: string): ResultAsync<void, SessionFailure> =>
    safeTry(async function* () {
      if (!withinRate(address)) return err(refusal('queue_full', 'too many requests from this address'));
      const waiting = yield* pairingQueue.list(['started', 'open']);
      if (waiting.length >= settings.pairingMaxQueue)
        return err(refusal('queue_full', `${settings.pairingMaxQueue} requests are waiting`));
      if (waiting.filter(({ ip }) => ip === address).length >= sessionsPerAddress)
        return err(refusal('queue_full', `${sessionsPerAddress} requests of this address are waiting`));
      return ok(undefined);
    });
}
