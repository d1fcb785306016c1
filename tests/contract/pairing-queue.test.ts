import { memoryPairingQueue } from '../../src/adapters/memory/pairing-queue.js';
import { openStores } from '../unit/adapters/sql/sqlite/temporary-stores.js';
import { pairingQueueContract } from './pairing-queue.contract.js';

pairingQueueContract('memory', memoryPairingQueue);
pairingQueueContract('sqlite', async () => (await openStores()).pairingQueue);
