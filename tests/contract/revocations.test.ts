import { memoryRevocations } from '../../src/adapters/memory/revocations.js';
import { openStores, temporaryDirectory } from '../unit/adapters/sql/sqlite/temporary-stores.js';
import { revocationsContract } from './revocations.contract.js';

revocationsContract(
  'memory',
  () => memoryRevocations(),
  async () => {
    const revocations = memoryRevocations();
    return [revocations, revocations];
  },
);

revocationsContract(
  'sqlite',
  async () => (await openStores()).revocations,
  async () => {
    const directory = temporaryDirectory();
    return [(await openStores(directory)).revocations, (await openStores(directory)).revocations];
  },
);
