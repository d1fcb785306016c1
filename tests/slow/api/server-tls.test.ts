import { X509Certificate } from 'node:crypto';
import { chmodSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ConnectionOptions, connect } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { askApi, serveApi, setSettings } from '../../support/api/process.js';
import { dispatcherOnDisk, run, shared, temporaryDirectory } from '../../support/commands/commands.js';
import { noOpenssl, openssl } from '../../support/network/openssl.js';
import { openTcp, received } from '../../support/network/raw-tls.js';

const control = shared(() => dispatcherOnDisk());

/** A self-signed certificate of openssl for 127.0.0.1, and its key with mode 0600. */
function certificate(directory = temporaryDirectory(), name = 'api') {
  const [cert, key] = [join(directory, `${name}.crt`), join(directory, `${name}.key`)];
  openssl([
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30'],
    ...['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1', '-out', cert, '-keyout', key],
  ]);
  chmodSync(key, 0o600);
  return { cert, key, pem: readFileSync(cert, 'utf8') };
}

const set = ({ cert, key }: { cert: string; key: string }) =>
  setSettings(control(), `api_auth_default = allow\napi_cert = ${cert}\napi_key = ${key}`);

/** The common name of the certificate that a server shows, or the code of what went wrong. */
const shown = (port: number, options: ConnectionOptions = {}): Promise<string> =>
  new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options });
    socket.once('secureConnect', () => {
      resolve(`${socket.getProtocol()} ${socket.getPeerCertificate().subject.CN}`);
      socket.destroy();
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });

describe.skipIf(noOpenssl.missing)('TLS with certificates of openssl', () => {
  it('is spoken where api_cert and api_key are set', async () => {
    const own = certificate();
    set(own);
    const api = await serveApi(control().home, ['--port', '0'], { ca: own.pem });
    expect(api.process.output('stderr')).toMatch(/Listening on https:\/\/127\.0\.0\.1:\d+\n/);
    expect((await api.ask('/health')).json).toMatchObject({ ok: true });
    const { text } = await api.ask('/metrics');
    expect(text).toMatch(/ctrl_exec_certificate_expiry_days\{certificate="api"\} (29\.9|30)/);
  });

  it('takes 1.2 and 1.3 with authenticated encryption and forward secrecy, and nothing else', async () => {
    set(certificate());
    const { port } = await serveApi(control().home);
    expect(await shown(port)).toBe('TLSv1.3 api');
    expect(await shown(port, { maxVersion: 'TLSv1.2' })).toBe('TLSv1.2 api');
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' } as const;
    expect(await shown(port, old)).toMatch(/ALERT|ECONNRESET|UNSUPPORTED_PROTOCOL|EPROTO/);
    const cbc = { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' } as const;
    expect(await shown(port, cbc)).toMatch(/ALERT|ECONNRESET|EPROTO/);
  });

  it('a reload takes a new certificate without dropping a request, and keeps the old one when the new one is no good', async () => {
    const directory = temporaryDirectory();
    const own = certificate(directory);
    set(own);
    const api = await serveApi(control().home);
    expect(await shown(api.port)).toBe('TLSv1.3 api');
    const next = certificate(directory, 'next');
    writeFileSync(own.cert, next.pem);
    expect(await api.reload()).toMatch(/REASON=".*cannot be used \(.*MISMATCH\)/);
    expect(await shown(api.port)).toBe('TLSv1.3 api');
    writeFileSync(own.key, readFileSync(next.key));
    expect(await api.reload()).toBe('ACTION=api-reload');
    expect(await shown(api.port)).toBe('TLSv1.3 next');
    expect((await askApi({ port: api.port, ca: next.pem }, '/health')).status).toBe(200);
  });

  it('a key that everybody can read is refused, one of a group and behind a link is not', async () => {
    const directory = temporaryDirectory();
    const own = certificate(directory);
    chmodSync(own.key, 0o644);
    set(own);
    const { code, stderr } = await run('ctrl-exec-api', ['--port', '0'], { home: control().home });
    expect({ code, stderr }).toEqual({
      code: 78,
      stderr: `cannot read ${own.key}: the key is accessible by everybody: chmod 600\n`,
    });
    chmodSync(own.key, 0o640);
    symlinkSync(own.key, join(directory, 'link.key'));
    set({ ...own, key: join(directory, 'link.key') });
    const api = await serveApi(control().home);
    expect(await shown(api.port)).toBe('TLSv1.3 api');
  });

  it('whoever speaks plain HTTP there is closed, and it goes on', async () => {
    const own = certificate();
    set(own);
    const api = await serveApi(control().home, ['--port', '0'], { ca: own.pem });
    const socket = await openTcp(api.port);
    const answer = received(socket);
    socket.write('GET /health HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(await answer).not.toContain('HTTP/1.1');
    expect((await api.ask('/health')).status).toBe(200);
  });

  it('a handshake that stops is ended after five seconds', async () => {
    set(certificate());
    const api = await serveApi(control().home);
    const socket = await openTcp(api.port);
    const began = performance.now();
    await received(socket);
    expect(performance.now() - began).toBeGreaterThan(4_000);
    expect(performance.now() - began).toBeLessThan(25_000);
  });
});

it('a certificate that the CA of the fleet has issued will do', async () => {
  const { home } = control();
  set({ cert: join(home, 'ctrl-exec.crt'), key: join(home, 'ctrl-exec.key') });
  const api = await serveApi(home);
  const name = new X509Certificate(readFileSync(join(home, 'ctrl-exec.crt'))).subject.replace('CN=', '');
  expect(await shown(api.port)).toBe(`TLSv1.3 ${name}`);
});
