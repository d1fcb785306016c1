import { connect } from 'node:tls';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { jsonAnswer } from '../../../../src/domain/protocol/http-message.js';
import { certificateOf, deferred, echo } from '../../../support/network/network.js';
import {
  closed,
  nextBytes,
  openSockets,
  openTcp,
  openTls,
  received,
} from '../../../support/network/raw-tls.js';
import { listeners } from './serve.js';

const { serve, identities } = listeners();
const ping = 'POST /ping HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}';
const hour = 3_600_000;

afterEach(() => {
  vi.useRealTimers();
});

describe('a client is refused with nothing handled', () => {
  it.each([
    ['CERT_HAS_EXPIRED', { notBefore: new Date(Date.now() - hour), notAfter: new Date(Date.now() - 2_000) }],
    ['CERT_NOT_YET_VALID', { notBefore: new Date(Date.now() + hour) }],
    ['INVALID_PURPOSE', { usages: ['serverAuth'] as const }],
  ])('%s', async (reason, asked) => {
    const { server, handled, refused } = await serve();
    const credentials = await identities().ca.issue({ usages: ['clientAuth'], ...asked });
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      // With TLS 1.2 the connection may be gone before the client sees the end of the handshake.
      const socket = connect({
        host: '127.0.0.1',
        port: server.port,
        rejectUnauthorized: false,
        maxVersion,
        key: credentials.key,
        cert: credentials.certificate,
      });
      const answer = received(socket);
      socket.write(ping);
      expect(await answer).toBe('');
    }
    expect(refused).toEqual([reason, reason]);
    expect(handled).toEqual([]);
  });

  it('when its certificate is that of a CA', async () => {
    const { server, handled, refused } = await serve();
    const { ca } = identities();
    const socket = await openTls(server.port, { key: ca.keys.pem, certificate: ca.pem });
    const answer = received(socket);
    socket.write(ping);
    expect(await answer).toBe('');
    expect(refused).toHaveLength(1);
    expect(handled).toEqual([]);
  });

  it('when its certificate has expired since it connected', async () => {
    const { open, handled, refused } = await serve();
    const socket = await open();
    socket.write(ping);
    await nextBytes(socket);
    const { notAfter } = certificateOf(identities().dispatcher);
    vi.useFakeTimers({ toFake: ['Date'], now: notAfter + 1 });
    const answer = received(socket);
    socket.write(ping);
    expect(await answer).toBe('');
    expect(refused).toEqual([expect.stringMatching(/^expired at /)]);
    expect(handled).toHaveLength(1);
  });

  it('before a byte of TLS is exchanged, where its address is not wanted', async () => {
    const { server } = await serve({ admit: () => false });
    const socket = await openTcp(server.port);
    const bytes = received(socket);
    socket.write('\x16\x03\x01');
    expect(await bytes).toBe('');
  });
});

describe('TLS', () => {
  it.each([
    'ECDHE-ECDSA-AES256-GCM-SHA384',
    'ECDHE-ECDSA-AES128-GCM-SHA256',
    'ECDHE-ECDSA-CHACHA20-POLY1305',
  ])('1.2 is spoken with %s', async (ciphers) => {
    const { server, handled } = await serve();
    const socket = await openTls(server.port, identities().dispatcher, { maxVersion: 'TLSv1.2', ciphers });
    socket.write(ping);
    expect(await nextBytes(socket)).toMatch(/^HTTP\/1\.1 200 /);
    expect(handled[0]?.peer).toMatchObject({ tlsVersion: 'TLSv1.2' });
    expect(handled[0]?.peer.certificate?.commonName).toBe('dispatcher');
    socket.destroy();
  });

  it.each(['ECDHE-ECDSA-AES128-SHA256', 'ECDHE-ECDSA-AES256-SHA', 'ECDHE-ECDSA-AES128-CCM'])(
    '1.2 is not spoken with %s',
    async (ciphers) => {
      const { server, refused } = await serve();
      const opened = openTls(server.port, identities().dispatcher, { maxVersion: 'TLSv1.2', ciphers });
      await expect(opened).rejects.toThrow(/handshake failure/);
      await vi.waitFor(() => expect(refused).toEqual(['ERR_SSL_NO_SHARED_CIPHER']));
    },
  );

  it('1.1 is not spoken', async () => {
    const { server, refused } = await serve();
    const opened = openTls(server.port, identities().dispatcher, {
      minVersion: 'TLSv1.1',
      maxVersion: 'TLSv1.1',
      ciphers: 'ALL@SECLEVEL=0',
    });
    await expect(opened).rejects.toThrow(/protocol version/);
    await vi.waitFor(() => expect(refused).toEqual(['ERR_SSL_UNSUPPORTED_PROTOCOL']));
  });

  it('is not renegotiated', async () => {
    const { server, handled } = await serve();
    const socket = await openTls(server.port, identities().dispatcher, { maxVersion: 'TLSv1.2' });
    const done = new Promise<Error | null>((resolve) => {
      socket.once('error', resolve);
      socket.renegotiate({}, resolve);
    });
    expect(await done).toBeInstanceOf(Error);
    expect(handled).toEqual([]);
    socket.destroy();
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('%s sessions are not resumed', async (maxVersion) => {
    const { server } = await serve();
    const { dispatcher } = identities();
    const first = await openTls(server.port, dispatcher, { maxVersion });
    let session = first.getSession();
    first.on('session', (latest) => {
      session = latest;
    });
    first.write(ping);
    await nextBytes(first);
    first.destroy();
    expect(session).toBeDefined();
    const second = await openTls(server.port, dispatcher, { maxVersion, ...(session ? { session } : {}) });
    expect(second.isSessionReused()).toBe(false);
    second.destroy();
  });

  it('is what is spoken: plain HTTP is refused', async () => {
    const { server, refused, handled } = await serve();
    const socket = await openTcp(server.port);
    socket.write(ping);
    await received(socket);
    await vi.waitFor(() => expect(refused).toEqual(['ERR_SSL_HTTP_REQUEST']));
    expect(handled).toEqual([]);
  });
});

describe('a client that vanishes', () => {
  it('in the midst of the handshake does no harm', async () => {
    const { server, open, refused } = await serve();
    // A record header and the beginning of a ClientHello.
    const hello = Buffer.from('1603010200010001fc0303', 'hex');
    for (const length of [0, 1, 5, hello.length]) {
      for (const end of ['destroy', 'resetAndDestroy', 'end'] as const) {
        const socket = await openTcp(server.port);
        const gone = closed(socket);
        socket.write(hello.subarray(0, length), () => socket[end]());
        socket.resume();
        await gone;
      }
    }
    const socket = await open();
    socket.write(ping);
    expect(await nextBytes(socket)).toMatch(/^HTTP\/1\.1 200 /);
    socket.destroy();
    expect(refused).toContain('CLOSED_IN_HANDSHAKE');
  });

  it.each([
    '',
    'POST /pi',
    'POST /ping HTTP/1.1\r\nHost',
    'POST /ping HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf',
    'POST /ping HTTP/1.0\r\nContent-Length: 9\r\n\r\nhalf',
    ping,
    `${ping}${ping}`,
  ])('after %j does no harm', async (bytes) => {
    const { server, open, failed } = await serve();
    for (const leave of ['destroy', 'end', 'reset'] as const) {
      const tcp = await openTcp(server.port);
      const socket = await openTls(server.port, identities().dispatcher, { socket: tcp });
      const gone = closed(tcp);
      if (bytes) await new Promise((sent) => socket.write(bytes, sent));
      if (leave === 'reset') tcp.resetAndDestroy();
      else socket[leave]();
      socket.resume();
      await gone;
    }
    const socket = await open();
    socket.write(ping);
    expect(await nextBytes(socket)).toMatch(/^HTTP\/1\.1 200 /);
    socket.destroy();
    expect(failed).toEqual([]);
  });

  it('while its request is handled does no harm', async () => {
    const [started, release] = [deferred(), deferred()];
    const { open, failed, handled } = await serve({
      async handle(request) {
        if (request.path !== '/slow') return echo(request);
        started.resolve();
        await release.promise;
        return jsonAnswer(200, {});
      },
    });
    const socket = await open();
    socket.write('GET /slow HTTP/1.0\r\n\r\n');
    await started.promise;
    const gone = closed(socket);
    socket.destroy();
    await gone;
    release.resolve();
    const next = await open();
    next.write(ping);
    expect(await nextBytes(next)).toMatch(/^HTTP\/1\.1 200 /);
    next.destroy();
    expect([failed, handled.length]).toEqual([[], 2]);
  });

  it('while its body is read is an error of the body', async () => {
    const ended = deferred<unknown>();
    const { open } = await serve({
      async handle(request) {
        ended.resolve((await request.body()).mapErr(({ code }) => code));
        return jsonAnswer(200, {});
      },
    });
    const socket = await open();
    socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf', () => socket.destroy());
    expect(await ended.promise).toMatchObject({ error: 'connection_failed' });
  });
});

it('leaves no sockets after a hundred connections, served or refused', async () => {
  const { server, open, handled, refused } = await serve();
  const before = openSockets();
  for (let count = 0; count < 50; count++) {
    const socket = await open();
    const answer = received(socket);
    socket.write(
      ping.replace('POST', count % 2 ? 'POST' : 'PUT').replace('Host', 'Connection: close\r\nHost'),
    );
    expect(await answer).toMatch(/^HTTP\/1\.1 200 /);
    const stranger = await openTls(server.port);
    await received(stranger);
  }
  expect([handled.length, refused.length]).toEqual([50, 50]);
  await vi.waitFor(() => expect(openSockets()).toBe(before));
});

it('lets no more than half of the connections be in their handshakes', async () => {
  const { server, open, refused } = await serve({ maxConnections: 4 });
  const silent = [await openTcp(server.port), await openTcp(server.port)];
  await vi.waitFor(async () => {
    const third = await openTcp(server.port);
    await closed(third);
    expect(refused).toContain('TOO_MANY_HANDSHAKES');
  });
  for (const socket of silent) socket.destroy();
  await vi.waitFor(async () => {
    const socket = await open();
    socket.destroy();
  });
});
