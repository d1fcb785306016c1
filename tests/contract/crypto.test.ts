import { nodeCrypto } from '../../src/adapters/node-crypto/crypto.js';
import { cryptoContract } from './crypto.contract.js';

cryptoContract('node-crypto', nodeCrypto);
