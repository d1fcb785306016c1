import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createApiClient } from '../../../../src/apps/library/client.js';
import { failure, value } from '../../../contract/result.js';
import { testCa } from '../../../support/network/test-pki.js';

type Options = Partial<Parameters<typeof createApiClient>[0]>;

async function portOf(server: Server & { closeAllConnections?: () => void }): Promise<number> {
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections?.();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

const client = (options: Options) => {
  const made = createApiClient({ retries: 0, ...options });
  onTestFinished(() => made.close());
  return made;
};

async function answering(handle: RequestListener, options: Options = {}) {
  return client({ url: `http://127.0.0.1:${await portOf(createServer(handle))}`, ...options });
}

const healthy: RequestListener = (_, response) => response.end('{"ok":true,"version":"1"}');

describe('an answer that the API did not write', () => {
  it.each([
    [401, 'denied'],
    [403, 'denied'],
    [404, 'not_found'],
    [429, 'unavailable'],
    [502, 'connection_failed'],
    [503, 'unavailable'],
    [504, 'connection_failed'],
    [418, 'protocol_violation'],
  ])('%i is %s, and says who answered', async (status, code) => {
    const api = await answering((_, response) => {
      response.writeHead(status, { server: 'nginx', 'retry-after': '7', 'content-type': 'text/html' });
      response.end('<html>no</html>');
    });
    const error = failure(await api.ping({ hosts: ['a'] }));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(
      new RegExp(`^${status} from http://127.0.0.1:\\d+ \\(nginx\\), which is not the API of ctrl-exec`),
    );
    if (error.code === 'unavailable') expect(error.retryAfter).toBe(7);
  });

  it('is told at the end of a loop, too', async () => {
    const api = await answering((_, response) => response.writeHead(401).end());
    for await (const event of api.stream({ hosts: ['a'], script: 'b' }))
      expect(event).toMatchObject({ event: 'error', error: { code: 'denied' } });
  });
});

describe('the options of a client', () => {
  it('headers and a token that is asked for once a call', async () => {
    const seen: unknown[] = [];
    let count = 0;
    const api = await answering(
      (request, response) => {
        seen.push([request.headers['x-tenant'], request.headers.authorization]);
        healthy(request, response);
      },
      { headers: { 'X-Tenant': 'blue' }, token: async () => `secret-${++count}` },
    );
    value(await api.health());
    value(await api.health());
    const basic = (token: string) => `Basic ${Buffer.from(`:${token}`).toString('base64')}`;
    expect(seen).toEqual([
      ['blue', basic('secret-1')],
      ['blue', basic('secret-2')],
    ]);
  });

  it('a token that cannot be had is an error, which does not hold what was thrown', async () => {
    const api = await answering(healthy, {
      token: () => {
        throw new Error('secret');
      },
    });
    const error = failure(await api.health());
    expect(error).toMatchObject({ code: 'invalid_argument', field: 'token' });
    expect(JSON.stringify(error)).not.toContain('secret');
  });

  it('a token that does not come is waited for no longer than an answer, and not after the call was aborted', async () => {
    const token = () => new Promise<string>(() => undefined);
    const api = await answering(healthy, { token, timeoutMs: 50 });
    expect(failure(await api.health())).toMatchObject({ code: 'timed_out', timeoutMs: 50 });
    const patient = await answering(healthy, { token });
    expect(failure(await patient.health({ signal: AbortSignal.timeout(50) })).code).toBe('aborted');
    const asked = patient.health();
    await patient.close();
    expect(failure(await asked).code).toBe('aborted');
  });

  it.each(['Authorization', 'proxy-authorization', 'Cookie'])(
    'no credentials without TLS to another host: the header %s',
    async (name) => {
      const headers = { [name]: 'secret' };
      const url = 'http://api.test';
      expect(failure(await client({ url, headers }).health())).toMatchObject({
        code: 'invalid_argument',
        field: 'url',
      });
      const fetch = async () => new Response('{"ok":true,"version":"2"}');
      value(await client({ url, headers, fetch, plainText: true }).health());
    },
  );

  it.each(['Host', 'content-length', 'upgrade', 'expect', 'keep-alive'])(
    'not the header %s',
    async (name) => {
      const api = client({ url: 'http://127.0.0.1:1', headers: { [name]: 'x' } });
      expect(failure(await api.health())).toMatchObject({ code: 'invalid_argument', field: 'headers' });
    },
  );

  it('a value of several types names all of them', async () => {
    const api = client({ url: 'https://127.0.0.1:1', ca: Buffer.from('pem') as never });
    expect(failure(await api.health()).message).toBe('ca: expected text or a list, each text');
  });

  it('a fetch that fails in any way', async () => {
    const thrown = [undefined, null, 'text', new Error('no'), Object.freeze({ code: 7 })];
    for (const each of thrown) {
      const fetch = () => Promise.reject(each);
      expect(failure(await client({ url: 'http://api.test', fetch }).health()).code).toBe(
        'connection_failed',
      );
    }
    const refused = client({ url: 'http://127.0.0.1:1', fetch: globalThis.fetch });
    expect(failure(await refused.health())).toMatchObject({ code: 'connection_failed' });
    const cause = Object.assign(new Error('no'), { code: 'ECONNREFUSED' });
    const fetch = () => Promise.reject(new TypeError('fetch failed', { cause }));
    expect(failure(await client({ url: 'http://api.test', fetch }).health())).toMatchObject({
      reason: 'ECONNREFUSED',
    });
  });

  it('its own fetch', async () => {
    const asked: string[] = [];
    const fetch = async (url: unknown, init?: RequestInit) => {
      asked.push(`${init?.method} ${url}`);
      return new Response('{"ok":true,"version":"2"}');
    };
    const api = client({ url: 'http://api.test/base', fetch: fetch as typeof globalThis.fetch });
    expect(value(await api.health()).version).toBe('2');
    expect(asked).toEqual(['GET http://api.test/base/health']);
  });

  it('a limit of time', async () => {
    const api = await answering(() => undefined, { timeoutMs: 50 });
    expect(failure(await api.health())).toMatchObject({ code: 'timed_out', timeoutMs: 50 });
  });

  it('a certificate of its own', async () => {
    const ca = await testCa();
    const server = await ca.issue({ commonName: 'api', dnsNames: ['localhost'], usages: ['serverAuth'] });
    const own = await ca.issue({ commonName: 'ci', usages: ['clientAuth'] });
    const tls = { ca: ca.pem, cert: server.certificate, key: server.key, requestCert: true };
    const port = await portOf(
      createTlsServer(tls, (request, response) => {
        const { subject } = (request.socket as TLSSocket).getPeerCertificate();
        response.end(JSON.stringify({ ok: true, version: subject?.CN ?? 'nobody' }));
      }),
    );
    const url = `https://localhost:${port}`;
    const api = client({ url, ca: ca.pem, cert: own.certificate, key: own.key });
    expect(value(await api.health()).version).toBe('ci');
  });

  it.each([
    [{ headers: { Host: 'x' } }, 'headers'],
    [{ headers: { 'X-A': 'a\r\nb' } }, 'headers'],
    [{ token: 'x', headers: { Authorization: 'x' } }, 'headers'],
    [{ cert: 'x' }, 'cert'],
    [{ fetch: globalThis.fetch, ca: 'x' }, 'ca'],
    [{ timeoutMs: 0 }, 'timeoutMs'],
    [{ tokn: 'x' }, 'tokn'],
  ])('%j is wrong', async (options, field) => {
    const api = client({ url: 'http://localhost', ...options } as Options);
    expect(failure(await api.health())).toMatchObject({ code: 'invalid_argument', field });
  });
});
