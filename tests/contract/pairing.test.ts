import { memoryJoinTokens } from '../../src/adapters/memory/join-tokens.js';
import { memoryPairing } from '../../src/adapters/memory/pairing.js';
import { memoryRegistry } from '../../src/adapters/memory/registry.js';
import { separatePairing } from '../../src/adapters/memory/separate-pairing.js';
import { openStores } from '../unit/adapters/sql/sqlite/temporary-stores.js';
import { type PairingSubject, pairingContract } from './pairing.contract.js';

const parts = () => ({ registry: memoryRegistry(), joinTokens: memoryJoinTokens() });

pairingContract('memory', (): PairingSubject => {
  const given = parts();
  return { ...given, pairing: memoryPairing(given) };
});
pairingContract('sqlite', openStores);
pairingContract('sqlite, with a registry and join tokens that are kept elsewhere', async () => {
  const { pairingRequests: requests } = await openStores();
  const given = parts();
  return { ...given, pairing: separatePairing({ requests, ...given }) };
});
