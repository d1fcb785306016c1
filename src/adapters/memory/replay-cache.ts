import { okAsync } from 'neverthrow';
import { replayWindow } from '../../domain/protocol/replay-window.js';
import { type ReplayCache, replayCapacity } from '../../ports/replay-cache.js';

/**
 * A replay cache for as long as the process lives. It knows nothing of earlier processes, so it is not complete until
 * `begin`, unless `complete` says that there were none. `close` changes nothing.
 */
export const memoryReplayCache = (
  options: { readonly complete?: boolean; readonly capacity?: number } = {},
): ReplayCache => {
  const { capacity = replayCapacity } = options;
  let { complete = false } = options;
  let seen = replayWindow(capacity);
  return {
    complete: () => okAsync(complete),
    enter: ({ keyid, nonce, until }, now) =>
      okAsync(seen.enter({ digest: JSON.stringify([keyid, nonce]), owner: keyid }, until, now)),
    begin: () => {
      seen = replayWindow(capacity);
      complete = true;
      return okAsync(undefined);
    },
    close: async () => undefined,
  };
};
