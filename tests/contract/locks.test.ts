import { type LockTable, memoryLocks } from '../../src/adapters/memory/locks.js';
import { openStores, temporaryDirectory } from '../unit/adapters/sql/sqlite/temporary-stores.js';
import { locksContract } from './locks.contract.js';

locksContract('memory', () => {
  const table: LockTable = new Map();
  return () => memoryLocks(table);
});

locksContract('sqlite', () => {
  const directory = temporaryDirectory();
  return async () => (await openStores(directory)).locks;
});
