import { memoryRegistry } from '../../src/adapters/memory/registry.js';
import { openStores } from '../unit/sqlite/temporary-stores.js';
import { registryContract } from './registry.contract.js';

registryContract('memory', memoryRegistry);
registryContract('sqlite', async () => (await openStores()).registry);
