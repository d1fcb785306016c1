import { memoryNetwork } from '../../src/adapters/memory/network/network.js';
import { nodeCrypto } from '../../src/adapters/node-crypto/crypto.js';
import { tlsLegacyPairing } from '../../src/adapters/node-tls/legacy-pairing.js';
import { tlsListener } from '../../src/adapters/node-tls/listener.js';
import { legacyPairingContract } from './legacy-pairing.contract.js';

const crypto = nodeCrypto();

legacyPairingContract('memory', () => {
  const network = memoryNetwork({ crypto });
  const [host, address] = ['control.test', '192.0.2.7'];
  return { host, address, listener: network.listener(host), legacyPairing: network.legacyPairing(address) };
});

legacyPairingContract('node-tls', () => ({
  host: '127.0.0.1',
  address: '127.0.0.1',
  listener: tlsListener({ crypto }),
  legacyPairing: tlsLegacyPairing({ crypto }),
}));
