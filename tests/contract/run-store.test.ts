import { memoryRunStore, runTable } from '../../src/adapters/memory/run-store.js';
import { openStores, temporaryDirectory } from '../unit/adapters/sql/sqlite/temporary-stores.js';
import { runStoreContract } from './run-store.contract.js';

runStoreContract('memory', () => {
  const table = runTable();
  return () => {
    const store = memoryRunStore(table);
    return { store, end: store.die };
  };
});

runStoreContract('sqlite', () => {
  const directory = temporaryDirectory();
  return async () => {
    const stores = await openStores(directory);
    return { store: stores.runStore, end: stores.close };
  };
});
