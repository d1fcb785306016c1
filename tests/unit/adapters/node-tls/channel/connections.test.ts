import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { describe, expect, it, vi } from 'vitest';
import { nodeCrypto } from '../../../../../src/adapters/node-crypto/crypto.js';
import { tlsListener } from '../../../../../src/adapters/node-tls/listener.js';
import { failure, value } from '../../../../contract/result.js';
import {
  certificateOf,
  deferred,
  exchangeOf,
  listen,
  listenOptions,
} from '../../../../support/network/network.js';
import { openSockets } from '../../../../support/network/raw-tls.js';
import { selfSigned, testCa } from '../../../../support/network/test-pki.js';
import { servers, whole } from './servers.js';

const { start, startTls, client, identities } = servers();
const answer = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}';
const answering = whole((socket) => socket.write(answer));
const hour = 3_600_000;

describe('an impostor that shares the session keys of the agent', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)('is seen before a byte is sent: %s', async (maxVersion) => {
    const { ca, agent } = identities();
    const other = await ca.issue({ usages: ['serverAuth'] });
    const shared = { ticketKeys: randomBytes(48), maxVersion, requestCert: false };
    const pinned = certificateOf(agent).spki;

    const genuine = await startTls(answering, shared);
    const { channel, target } = client(genuine.port);
    const asked = value(await channel.connect(target, { timeout: 5_000 }));
    expect(asked.peer.spki).toEqual(pinned);
    expect((await asked.exchange(exchangeOf())).isOk()).toBe(true);
    asked.release();
    // A client that keeps sessions, to show that the impostor does resume them.
    const session = await new Promise<Buffer>((resolve) => {
      const keeping = connectTls({ host: '127.0.0.1', port: genuine.port, rejectUnauthorized: false });
      keeping.once('session', (ticket) => {
        keeping.destroy();
        resolve(ticket);
      });
      keeping.on('secureConnect', () => keeping.write('GET / HTTP/1.1\r\n\r\n'));
      keeping.resume();
    });
    await genuine.close();

    const impostor = await startTls(
      answering,
      { ...shared, key: other.key, cert: other.certificate },
      genuine.port,
    );
    const resumed = connectTls({
      host: '127.0.0.1',
      port: impostor.port,
      rejectUnauthorized: false,
      session,
    });
    await new Promise((resolve) => resumed.once('secureConnect', resolve));
    expect(resumed.isSessionReused()).toBe(true);
    resumed.destroy();

    const next = value(await channel.connect(target, { timeout: 5_000 }));
    expect(next.peer).toEqual(certificateOf(other));
    next.discard();
    expect(impostor.chunks).toEqual([]);
  });
});

describe('tls_failed', () => {
  it.each([
    [
      'CERT_HAS_EXPIRED',
      'expired',
      { notBefore: new Date(Date.now() - hour), notAfter: new Date(Date.now() - 2_000) },
    ],
    ['CERT_NOT_YET_VALID', 'not valid yet', { notBefore: new Date(Date.now() + hour) }],
    ['INVALID_PURPOSE', 'not meant for a server', { usages: ['clientAuth'] as const }],
  ])('%s', async (reason, words, asked) => {
    const { key, certificate } = await identities().ca.issue(asked);
    const { port, chunks } = await startTls(answering, { key, cert: certificate });
    const error = failure(await client(port).ask());
    expect(error).toMatchObject({ code: 'tls_failed', reason });
    expect(error.message).toContain(words);
    expect(chunks).toEqual([]);
  });

  it('is no more where an expired certificate may be taken, for that target alone', async () => {
    const { key, certificate } = await identities().ca.issue({
      notBefore: new Date(Date.now() - 2 * hour),
      notAfter: new Date(Date.now() - hour),
    });
    const { port, chunks } = await startTls(answering, { key, cert: certificate });
    const { ask } = client(port);
    expect((await ask({}, { allowExpired: true })).isOk()).toBe(true);
    expect((await ask({}, { allowExpired: true })).isOk()).toBe(true);
    const sent = chunks.length;
    // The connection that was kept is not for whoever may not take it.
    for (const target of [{}, { allowExpired: false }, { key: 'another' }])
      expect(failure(await ask({}, target))).toMatchObject({
        code: 'tls_failed',
        reason: 'CERT_HAS_EXPIRED',
      });
    expect(chunks).toHaveLength(sent);
    expect((await ask({}, { allowExpired: true })).isOk()).toBe(true);
  });

  it('says that the certificate is self-signed, or of another CA', async () => {
    const self = await selfSigned();
    const stranger = await (await testCa({ commonName: 'stranger' })).issue();
    for (const [{ key, certificate }, words] of [
      [self, 'self-signed'],
      [stranger, 'another CA'],
    ] as const) {
      const { port } = await startTls(answering, { key, cert: certificate });
      const error = failure(await client(port).ask());
      expect(error.code).toBe('tls_failed');
      expect(error.message).toContain(words);
    }
  });

  it.each([
    [
      'TLS 1.1 only',
      'version',
      { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'ALL@SECLEVEL=0' },
      {},
    ],
    ['CBC suites only', 'cipher suite', { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' }, {}],
    ['TLS 1.2 where 1.3 is wanted', 'version', { maxVersion: 'TLSv1.2' }, { tls13Only: true }],
  ] as const)('says that the agent speaks %s', async (_what, words, options, target) => {
    const { port } = await startTls(answering, options);
    const error = failure(await client(port).ask({}, target));
    expect(error.code).toBe('tls_failed');
    expect(error.message).toContain(words);
  });

  it('says that the agent does not speak TLS', async () => {
    const { port } = await start(createServer((socket) => socket.write('SSH-2.0-OpenSSH_9.2\r\n')));
    const error = failure(await client(port).ask());
    expect(error.code).toBe('tls_failed');
    expect(error.message).toContain('does not speak TLS');
  });

  it("says that the agent refused this side's certificate, where it tells", async () => {
    const { port } = await startTls(answering, { rejectUnauthorized: true });
    const { key, certificate } = await (await testCa({ commonName: 'stranger' })).issue();
    for (const [credentials, reason] of [
      [{ key, certificate }, /certificate/],
      [await identities().ca.issue({ notAfter: new Date(Date.now() - 2_000) }), /certificate/],
    ] as const) {
      const error = failure(await client(port).ask({}, { credentials }));
      expect(error.code).toMatch(/^(tls_failed|connection_failed)$/);
      expect(error.message).toMatch(reason);
    }
  });

  it('says that the credentials of this side cannot be used, without telling them', async () => {
    const { port } = await startTls(answering);
    const { agent, dispatcher } = identities();
    for (const credentials of [
      { key: 'nonsense', certificate: dispatcher.certificate },
      { key: agent.key, certificate: dispatcher.certificate },
    ]) {
      const error = failure(await client(port).ask({}, { credentials }));
      expect(error.code).toBe('tls_failed');
      expect(error.message).toMatch(/of this side/);
      expect(error.message).not.toMatch(/nonsense|PRIVATE/);
    }
  });
});

describe('TLS', () => {
  it('1.2 is spoken with the suites of deployed peers', async () => {
    for (const ciphers of ['ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-ECDSA-AES128-GCM-SHA256']) {
      const { port } = await startTls(answering, { maxVersion: 'TLSv1.2', ciphers });
      expect((await client(port).ask()).isOk()).toBe(true);
    }
  });

  it('is spoken with certificates of version 1 and RSA keys', async () => {
    const legacy = await testCa({ commonName: 'legacy', version1: true });
    const { key, certificate } = await legacy.issue({ version1: true });
    const { port } = await startTls(answering, { key, cert: certificate });
    expect((await client(port).ask({}, { trust: [legacy.pem] })).isOk()).toBe(true);
    const rsa = await testCa({ commonName: 'RSA', type: 'rsa2048' });
    const issued = await rsa.issue();
    const second = await startTls(answering, { key: issued.key, cert: issued.certificate });
    expect((await client(second.port).ask({}, { trust: [rsa.pem] })).isOk()).toBe(true);
  });

  it('names the host only where it is a name', async () => {
    const names: (string | false)[] = [];
    const { port } = await startTls((socket) => {
      names.push((socket as { servername?: string | false }).servername ?? false);
      socket.write(answer);
    });
    const { ask } = client(port);
    expect((await ask()).isOk()).toBe(true);
    expect((await ask({}, { host: 'localhost', key: 'name' })).isOk()).toBe(true);
    expect(names).toEqual([false, 'localhost']);
  });
});

describe('timed_out', () => {
  it('tells that TLS did not come about in time', async () => {
    const { port, sockets } = await start(createServer((socket) => socket.resume()));
    const error = failure(await client(port).ask({ connecting: { timeout: 80 } }));
    expect(error).toMatchObject({ code: 'timed_out', phase: 'tls', timeoutMs: 80 });
    await vi.waitFor(() => expect(sockets.size).toBe(0));
  });
});

it('a peer that closes during the handshake is a failed connection', async () => {
  const { port } = await start(createServer((socket) => socket.destroy()));
  const error = failure(await client(port).ask());
  expect(error.code).toBe('connection_failed');
  expect(error.message).toContain('during the TLS handshake');
});

it.each(['at once', 'when it was kept'])(
  'a peer that closes while it is judged was sent nothing: %s',
  async (when) => {
    const { port, sockets, chunks } = await startTls(answering);
    const { channel, target, ask } = client(port);
    if (when !== 'at once') value(await ask());
    const sent = chunks.length;
    const connection = value(await channel.connect(target, { timeout: 5_000 }));
    for (const socket of sockets) socket.destroy();
    const error = failure(await connection.exchange(exchangeOf()));
    expect(error).toMatchObject({ code: 'connection_failed', sent: false });
    expect(error.message.includes('trust')).toBe(when === 'at once');
    expect(chunks).toHaveLength(sent);
  },
);

it('a connection over which nothing was sent is closed in good order', async () => {
  const { port, sockets } = await startTls(answering);
  const { channel, target } = client(port);
  const connection = value(await channel.connect(target, { timeout: 5_000 }));
  const [socket] = sockets;
  if (!socket) throw new Error('no connection');
  const errors: Error[] = [];
  socket.on('error', (error) => errors.push(error));
  connection.discard();
  await vi.waitFor(() => expect(sockets.size).toBe(0));
  expect(errors).toEqual([]);
});

it('a connection that says something unasked is closed', async () => {
  const tlsSockets = new Set<TLSSocket>();
  const { port, sockets } = await startTls((socket, text) => {
    tlsSockets.add(socket);
    answering(socket, text);
  });
  const { channel, target, ask } = client(port);
  value(await ask());
  const connection = value(await channel.connect(target, { timeout: 5_000 }));
  expect(connection.kept).toBe(true);
  for (const socket of tlsSockets) socket.write(answer);
  await vi.waitFor(() => expect(sockets.size).toBe(0));
  expect(failure(await connection.exchange(exchangeOf()))).toMatchObject({ sent: false });
});

it('an idle connection is closed after a minute', async () => {
  const { port, sockets } = await startTls(answering);
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    value(await client(port).ask());
    expect(sockets.size).toBe(1);
    vi.advanceTimersByTime(59_000);
    await new Promise((resolve) => setImmediate(resolve));
    expect(sockets.size).toBe(1);
    vi.advanceTimersByTime(1_100);
  } finally {
    vi.useRealTimers();
  }
  await vi.waitFor(() => expect(sockets.size).toBe(0));
});

it('a kept connection is not used once its certificate has expired', async () => {
  const connections = new Set<unknown>();
  const { port } = await startTls((socket, text) => {
    connections.add(socket);
    answering(socket, text);
  });
  const { ask } = client(port);
  await ask();
  await ask();
  expect(connections.size).toBe(1);
  vi.useFakeTimers({ toFake: ['Date'], now: certificateOf(identities().agent).notAfter + 1 });
  try {
    await ask();
  } finally {
    vi.useRealTimers();
  }
  expect(connections.size).toBe(2);
});

it('requests that overlap each get the certificate of their own connection', async () => {
  const crypto = nodeCrypto();
  const renewed = await identities().ca.issue({ usages: ['serverAuth'] });
  const [first, second] = [deferred(), deferred()];
  const release = deferred();
  const server = await listen(
    tlsListener({ crypto }),
    listenOptions(identities(), {
      async handle({ path }) {
        (path === '/old' ? first : second).resolve();
        await release.promise;
        return { status: 200, headers: [], body: new Uint8Array() };
      },
    }),
  );
  const { ask } = client(server.port);
  const old = ask({ path: '/old' });
  await first.promise;
  server.renew(renewed);
  const next = ask({ path: '/new' });
  await second.promise;
  release.resolve();
  expect(value(await old).peer.serial).toBe(certificateOf(identities().agent).serial);
  expect(value(await next).peer.serial).toBe(certificateOf(renewed).serial);
  await server.close(0);
});

it('kept connections do not keep the process alive, and closing ends them', async () => {
  const { port, sockets } = await startTls(answering);
  await vi.waitFor(() => expect(openSockets()).toBe(0));
  const { ask, channel } = client(port);
  await Promise.all([ask(), ask(), ask()]);
  await vi.waitFor(() => expect(sockets.size).toBe(3));
  // The three of the server; the client's are not waited for.
  await vi.waitFor(() => expect(openSockets()).toBe(3));
  await channel.close();
  await vi.waitFor(() => expect(sockets.size).toBe(0));
});

it('leaves no sockets after a hundred requests, kept or not, and failed ones', async () => {
  let count = 0;
  const before = openSockets();
  const { port, sockets } = await startTls(
    whole((socket) => {
      count += 1;
      if (count % 3 === 0) socket.destroy();
      else if (count % 3 === 1) socket.end(answer.replace('1.1', '1.0'));
      else socket.write(answer);
    }),
  );
  const { ask, channel } = client(port);
  for (let sent = 0; sent < 100; sent++) await ask({}, { key: String(sent % 7) });
  expect(count).toBe(100);
  await channel.close();
  await vi.waitFor(() => expect(sockets.size).toBe(0));
  await vi.waitFor(() => expect(openSockets()).toBeLessThanOrEqual(before + 1));
});

it('a hundred requests at a time may share an abort signal', async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => warnings.push(warning);
  process.on('warning', onWarning);
  const { port } = await startTls(answering);
  const { ask } = client(port);
  const abort = new AbortController();
  const answers = await Promise.all(Array.from({ length: 100 }, () => ask({ signal: abort.signal })));
  expect(answers.every((each) => each.isOk())).toBe(true);
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', onWarning);
  expect(warnings).toEqual([]);
});
