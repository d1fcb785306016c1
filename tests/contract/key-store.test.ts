import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileKeyStore } from '../../src/adapters/files/identity/key-store.js';
import { memoryKeyStore } from '../../src/adapters/memory/key-store.js';
import { keyStoreContract } from './key-store.contract.js';

keyStoreContract('memory', async () => {
  const store = memoryKeyStore();
  return { store, again: () => store, dispose: async () => undefined };
});

keyStoreContract('files, in a configuration and a state directory', async () => {
  const home = await mkdtemp(join(tmpdir(), 'key-store-'));
  const open = () =>
    fileKeyStore({
      paths: {
        'ca-key': join(home, 'ca.key'),
        'ca-certificate': join(home, 'ca.crt'),
        'ca-previous-key': join(home, 'ca-previous.key'),
        'dispatcher-key': join(home, 'ctrl-exec.key'),
        'dispatcher-certificate': join(home, 'ctrl-exec.crt'),
        'dispatcher-next-key': join(home, 'next.key'),
        'dispatcher-next-certificate': join(home, 'next.crt'),
        'dispatcher-previous-key': join(home, 'previous.key'),
        'dispatcher-previous-certificate': join(home, 'previous.crt'),
        rotation: join(home, 'state', 'rotation.json'),
        'pairing-key': join(home, 'state', 'pairing.key'),
        'pairing-certificate': join(home, 'state', 'pairing.crt'),
        'agent-key': join(home, 'agent.key'),
        'agent-certificate': join(home, 'agent.crt'),
        'trusted-dispatchers': join(home, 'state', 'ctrl-exec-dispatchers'),
        'dispatcher-certificates': join(home, 'state', 'dispatcher-certificates.pem'),
        'signing-dispatchers': join(home, 'state', 'signing-dispatchers'),
        'trust-origins': join(home, 'state', 'trust-origins'),
        'agent-revocation-lists': join(home, 'state', 'crl.pem'),
        'revoked-serials': join(home, 'revoked-serials'),
        'refused-serials': join(home, 'state', 'refused-serials'),
      },
      journal: join(home, 'state', 'key-journal'),
    });
  return { store: open(), again: open, dispose: () => rm(home, { recursive: true }) };
});
