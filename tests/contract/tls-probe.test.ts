import { once } from 'node:events';
import { createServer as createTcpServer, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { createSecureContext, createServer } from 'node:tls';
import { expect, it } from 'vitest';
import { tlsProbe } from '../../src/adapters/node-tls/probe.js';
import { freePort } from '../support/deployment/server.js';
import { fingerprintOf } from '../support/deployment/world.js';
import { memoryTlsProbe } from '../support/memory/tls-probe.js';
import { testCa } from '../support/network/test-pki.js';
import { failure, value } from './result.js';
import { tlsProbeContract } from './tls-probe.contract.js';

const endpoint = (port: number) => ({ address: '127.0.0.1', port, serverName: undefined });

tlsProbeContract('memory', async () => ({
  probe: memoryTlsProbe(({ port, serverName }) => (port === 1 ? undefined : serverName ? 'aa' : 'bb')),
  server: endpoint(2),
  fingerprints: { named: 'aa', others: 'bb' },
  nobody: endpoint(1),
  dispose: async () => undefined,
}));

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

const closed = async (server: Server) => {
  server.close();
  await once(server, 'close');
};

tlsProbeContract('node-tls', async () => {
  const ca = await testCa();
  const [named, others] = await Promise.all([ca.issue(), ca.issue()]);
  const server = createServer({
    key: others.key,
    cert: others.certificate,
    SNICallback: (name, done) =>
      done(
        null,
        name === 'www.test' ? createSecureContext({ key: named.key, cert: named.certificate }) : undefined,
      ),
  });
  server.on('tlsClientError', () => undefined);
  const port = await listening(server);
  return {
    probe: tlsProbe(),
    server: endpoint(port),
    fingerprints: { named: fingerprintOf(named.certificate), others: fingerprintOf(others.certificate) },
    nobody: endpoint(await freePort()),
    dispose: () => closed(server),
  };
});

it('a server that is silent is given up, and one that speaks no TLS is told from one that does', async () => {
  const silent = createTcpServer((socket) => socket.on('error', () => undefined).resume());
  const talking = createTcpServer((socket) =>
    socket
      .on('error', () => undefined)
      .resume()
      .end('220 mail.test ESMTP\r\n'),
  );
  try {
    const late = await tlsProbe().servedFingerprint(endpoint(await listening(silent)), 50);
    expect(failure(late)).toMatchObject({ code: 'timed_out', phase: 'tls' });
    const other = await tlsProbe().servedFingerprint(endpoint(await listening(talking)), 5000);
    expect(failure(other)).toMatchObject({ code: 'tls_failed' });
  } finally {
    await Promise.all([closed(silent), closed(talking)]);
  }
});

it('every address of an interface of this host is local', async () => {
  const own = Object.values(networkInterfaces()).flatMap((each = []) => each.map(({ address }) => address));
  const plain = own.filter((address) => !/^fe80:/i.test(address));
  expect(plain.length).toBeGreaterThan(0);
  for (const address of plain)
    expect(value(await tlsProbe().resolve(address))).toMatchObject([{ isLocal: true }]);
});
