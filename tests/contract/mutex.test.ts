import { type MutexTable, memoryMutex } from '../../src/adapters/memory/mutex.js';
import { openStores, temporaryDirectory } from '../unit/adapters/sql/sqlite/temporary-stores.js';
import { mutexContract } from './mutex.contract.js';

mutexContract('memory', () => {
  const table: MutexTable = new Map();
  return () => memoryMutex(table);
});

mutexContract('sqlite', () => {
  const directory = temporaryDirectory();
  return async () => (await openStores(directory)).mutex;
});
