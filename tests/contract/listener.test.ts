import { memoryNetwork } from '../../src/adapters/memory/network/network.js';
import { nodeCrypto } from '../../src/adapters/node-crypto/crypto.js';
import { tlsChannel } from '../../src/adapters/node-tls/channel.js';
import { tlsListener } from '../../src/adapters/node-tls/listener.js';
import { listenerContract } from './listener.contract.js';

const crypto = nodeCrypto();

listenerContract('memory', () => {
  const network = memoryNetwork({ crypto });
  const address = '192.0.2.1';
  const host = 'agent.test';
  return { host, address, listener: network.listener(host), channel: () => network.channel(address) };
});

listenerContract('node-tls', () => ({
  host: '127.0.0.1',
  address: '127.0.0.1',
  listener: tlsListener({ crypto }),
  channel: () => tlsChannel({ crypto }),
}));
