import { memoryJoinTokens } from '../../src/adapters/memory/join-tokens.js';
import { openStores } from '../unit/adapters/sql/sqlite/temporary-stores.js';
import { joinTokensContract } from './join-tokens.contract.js';

joinTokensContract('memory', memoryJoinTokens);
joinTokensContract('sqlite', async () => (await openStores()).joinTokens);
