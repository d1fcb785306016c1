import { memoryRegistry } from '../../src/adapters/memory/registry.js';
import { memoryRevocations, noKnownKeys } from '../../src/adapters/memory/revocations.js';
import { openStores, temporaryDirectory } from '../unit/adapters/sql/sqlite/temporary-stores.js';
import { registryContract } from './registry.contract.js';

registryContract(
  'memory',
  () => memoryRegistry(),
  async () => {
    const registry = memoryRegistry();
    return [registry, registry];
  },
  async () => {
    const keys = noKnownKeys();
    return { registry: memoryRegistry(keys), revocations: memoryRevocations(keys) };
  },
);

registryContract(
  'sqlite',
  async () => (await openStores()).registry,
  async () => {
    const directory = temporaryDirectory();
    return [(await openStores(directory)).registry, (await openStores(directory)).registry];
  },
  async () => openStores(),
);
