import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileReplayCache } from '../../src/adapters/files/journal/replay-cache.js';
import { memoryReplayCache } from '../../src/adapters/memory/replay-cache.js';
import { replayCacheContract } from './replay-cache.contract.js';

replayCacheContract('memory', async (capacity) => {
  const cache = memoryReplayCache({ capacity });
  return { cache, reopen: async () => cache, dispose: async () => undefined };
});

replayCacheContract('files', async (capacity) => {
  const home = await mkdtemp(join(tmpdir(), 'replay-cache-'));
  const open = () =>
    fileReplayCache({ directory: join(home, 'state', 'replay'), bootId: () => 'this boot', capacity });
  let cache = open();
  return {
    cache,
    reopen: async () => {
      await cache.close();
      cache = open();
      return cache;
    },
    dispose: async () => {
      await cache.close();
      await rm(home, { recursive: true });
    },
  };
});
