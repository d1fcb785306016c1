import { memoryJoinTokens } from '../../src/adapters/memory/join-tokens.js';
import { memoryPairing } from '../../src/adapters/memory/pairing.js';
import { memoryRegistry } from '../../src/adapters/memory/registry.js';
import { memoryRevocations, noKnownKeys } from '../../src/adapters/memory/revocations.js';
import { memoryRunStore } from '../../src/adapters/memory/run-store.js';
import { separatePairing } from '../../src/adapters/memory/separate-pairing.js';
import { openStores } from '../unit/adapters/sql/sqlite/temporary-stores.js';
import { type PairingSubject, pairingContract } from './pairing.contract.js';

const parts = () => ({
  registry: memoryRegistry(),
  joinTokens: memoryJoinTokens(),
  runStore: memoryRunStore(),
});

pairingContract('memory', (): PairingSubject => {
  const keys = noKnownKeys();
  const given = { ...parts(), registry: memoryRegistry(keys) };
  const pairing = memoryPairing(given);
  return { ...given, pairing, revocations: memoryRevocations(keys, { ...given, pairing }) };
});
pairingContract('sqlite', openStores);
pairingContract('sqlite, with a registry, join tokens and runs that are kept elsewhere', async () => {
  const { pairingRequests: requests } = await openStores();
  const given = parts();
  return { ...given, pairing: separatePairing({ requests, ...given }) };
});
