import { knownFor } from '../../../domain/runs/host-result.js';
import type { DispatcherContext } from '../context.js';

/** Forgets runs that ended longer than `run_ttl` ago, and after a week or that time those whose end nobody ever heard; none that still holds a lock. */
export function purgeRuns({ clock, runStore, settings }: DispatcherContext) {
  const now = clock.now();
  const keptFor = settings.runTtl * 1000;
  return runStore.purge({
    endedBefore: now - keptFor,
    startedBefore: now - Math.max(keptFor, 7 * knownFor),
    silentBefore: now - knownFor,
  });
}
