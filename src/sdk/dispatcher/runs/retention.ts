import type { DispatcherContext } from '../context.js';

/** Milliseconds for which an agent is expected to know a run. */
export const knownFor = 86_400_000;

/** Forgets runs that ended longer than `run_ttl` ago, and after a week or that time those whose end nobody ever heard. */
export function purgeRuns({ clock, runStore, settings }: DispatcherContext) {
  const now = clock.now();
  const keptFor = settings.runTtl * 1000;
  return runStore.purge({
    endedBefore: now - keptFor,
    startedBefore: now - Math.max(keptFor, 7 * knownFor),
  });
}
