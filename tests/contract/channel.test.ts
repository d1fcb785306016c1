import { memoryNetwork } from '../../src/adapters/memory/network/network.js';
import { nodeCrypto } from '../../src/adapters/node-crypto/crypto.js';
import { tlsChannel } from '../../src/adapters/node-tls/channel.js';
import { tlsListener } from '../../src/adapters/node-tls/listener.js';
import { channelContract } from './channel.contract.js';

const crypto = nodeCrypto();

channelContract('memory', () => {
  const network = memoryNetwork({ crypto });
  const host = 'agent.test';
  return { host, listener: network.listener(host), channel: () => network.channel('192.0.2.1') };
});

channelContract('node-tls', () => ({
  host: '127.0.0.1',
  listener: tlsListener({ crypto }),
  channel: () => tlsChannel({ crypto }),
}));
