import { memoryRunStore } from '../../src/adapters/memory/run-store.js';
import { openStores } from '../unit/adapters/sql/sqlite/temporary-stores.js';
import { runStoreContract } from './run-store.contract.js';

runStoreContract('memory', memoryRunStore);
runStoreContract('sqlite', async () => (await openStores()).runStore);
