import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { atEnd, temporaryDirectory } from '../../../support/commands/commands.js';
import { startLegacyAgent } from '../../../support/legacy/agent.js';
import { legacyDispatcher } from '../../../support/legacy/dispatcher.js';
import { requestLegacyPairing } from '../../../support/legacy/pairing-client.js';
import { startLegacyPairing } from '../../../support/legacy/pairing-server.js';
import type { LegacyVersion } from '../../../support/legacy/versions.js';
import { listening, nextBytes, openTls, received } from '../../../support/network/raw-tls.js';
import { answered, here, legacyInstallation, parts, posted, versions } from './shared-installation.js';

const { installation } = legacyInstallation();

async function pairing(version: LegacyVersion, options: { maxQueue?: number } = {}) {
  const { ca, dispatcher: identity } = installation();
  const server = await startLegacyPairing({ version, identity, ca, ...options });
  const root = temporaryDirectory();
  const request = (hostName = 'web-01', key?: string) =>
    requestLegacyPairing({
      version,
      host: here,
      port: server.port,
      root,
      hostName,
      bits: 2048,
      ...(key === undefined ? {} : { key }),
    });
  return { server, root, request };
}

/** What the pairing port says to bytes until the connection ends. */
async function send(port: number, request: string): Promise<string> {
  const socket = await openTls(port);
  const answer = received(socket);
  socket.write(request);
  return answer;
}

describe.each(versions)('simulated peers of %s pair', (version) => {
  it('and the agent is then one of the dispatcher', async () => {
    const { ca, dispatcher: identity } = installation();
    const { server, root, request } = await pairing(version);
    const { reqid, code, outcome } = await request();
    expect(server.pending()).toMatchObject([{ reqid, code, hostname: 'web-01' }]);
    const record = await server.approve(reqid);
    const paired = await outcome;
    if (paired.status !== 'paired') throw new Error(paired.reason);
    const { certificate } = paired.identity;
    expect(record).toMatchObject({
      hostname: 'web-01',
      dispatcher_serial: identity.serial,
      expiry: new X509Certificate(certificate).validTo,
    });
    expect('port' in record).toBe(version !== '0.8');

    const etc = join(root, 'etc/ctrl-exec-agent');
    expect(readFileSync(join(etc, 'agent.crt'), 'utf8')).toBe(certificate);
    expect(readFileSync(join(etc, 'ca.crt'), 'utf8')).toBe(ca.pem);
    expect(statSync(join(etc, 'agent.key')).mode & 0o777).toBe(0o640);
    const [file, last] =
      version === '0.8'
        ? [join(etc, 'ctrl-exec-serial'), identity.serial]
        : [join(root, 'var/lib/ctrl-exec-agent/ctrl-exec-dispatchers'), `${identity.serial} control`];
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    expect(lines.at(-1)).toBe(last);
    const agent = await startLegacyAgent({ version, identity: paired.identity, trusted: lines });
    expect(await legacyDispatcher({ version, identity }).ping(here, agent.port)).toMatchObject({
      status: 'ok',
    });
  });

  it('not where the operator says no', async () => {
    const { server, request } = await pairing(version);
    const { reqid, outcome } = await request();
    server.deny(reqid);
    expect(await outcome).toEqual({ status: 'failed', reason: 'rejected by operator' });
    expect(server.pending()).toEqual([]);
  });

  it('and the port knows no version 2', async () => {
    const { server } = await pairing(version);
    const invalid = { status: '200 OK', body: { status: 'error', reason: 'invalid request' } };
    const m1 = { v: 2, offer: [2], host: 'web-01', csr_pem: 'x', port: 7443, lookup_by: 'hostname' };
    expect(answered(await send(server.port, posted('/pair/v2/start', JSON.stringify(m1))))).toEqual(invalid);
    expect(answered(await send(server.port, 'GET / HTTP/1.1\r\n\r\n'))).toEqual(invalid);
    expect(answered(await send(server.port, posted('/pair', '{"csr":"x"}')))).toEqual(invalid);
    expect(await send(server.port, posted('/pair', '[]'))).toBe('');
    expect(server.requests).toHaveLength(4);
    expect(server.pending()).toEqual([]);
  });
});

describe('the pairing port of a simulated dispatcher', () => {
  it('shows the certificate of the dispatcher', async () => {
    const { server } = await pairing('0.11');
    const socket = await openTls(server.port);
    const { dispatcher } = installation();
    const shown = socket.getPeerX509Certificate()?.serialNumber.toLowerCase();
    socket.destroy();
    expect(shown).toBe(dispatcher.serial);
  });

  it('takes as many requests as its queue holds', async () => {
    const { server, request } = await pairing('0.11', { maxQueue: 1 });
    await request();
    await expect(request('web-02')).rejects.toThrow('pairing queue full');
    expect(server.pending()).toHaveLength(1);
  });

  it('has a rule for host names, but not in the early 0.8', async () => {
    const late = await pairing('0.9');
    await expect(late.request('..web')).rejects.toThrow('invalid hostname');
    const early = await pairing('0.8');
    expect((await early.request('..web')).reqid).toMatch(/^[0-9a-f]{16}$/);
  });

  it('is looked at by agents from 0.9 on before they pair', async () => {
    const late = await pairing('0.9');
    await late.request();
    expect(late.server.failedHandshakes()).toBe(1);
    const early = await pairing('0.8');
    await early.request();
    expect(early.server.failedHandshakes()).toBe(0);
  });

  it('0.12 signs RSA alone; the agent waits on', async () => {
    const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
      type: 'pkcs8',
      format: 'pem',
    }) as string;
    const { server, request } = await pairing('0.12');
    const { reqid, outcome } = await request('web-01', key);
    await expect(server.approve(reqid)).rejects.toThrow('CSR key too small');
    server.deny(reqid, 'approval timeout');
    expect(await outcome).toEqual({ status: 'failed', reason: 'approval timeout' });
    const former = await pairing('0.11');
    const other = await former.request('web-01', key);
    await former.server.approve(other.reqid);
    expect(await other.outcome).toMatchObject({ status: 'paired' });
  });

  it('takes the first thing that looks like a length for one', async () => {
    const { server } = await pairing('0.11');
    const request = posted('/pair', '{}').replace('Host', 'X-Content-Length: 1\r\nHost');
    expect(answered(await send(server.port, request)).body).toMatchObject({ reason: 'invalid request' });
    expect(server.requests).toHaveLength(1);
  });
});

describe('a simulated agent that pairs reads', () => {
  /** A port that says two things and closes. */
  async function saying(first: string, second: (nonce: string) => string) {
    const { dispatcher } = installation();
    const server = createServer({ key: dispatcher.key, cert: dispatcher.certificate }, async (socket) => {
      const { body } = parts(await nextBytes(socket));
      socket.end(first + second(JSON.parse(body).nonce));
    });
    const port = await listening(server);
    atEnd(() => server.close());
    return requestLegacyPairing({ version: '0.8', host: here, port, root: temporaryDirectory(), bits: 2048 });
  }
  const message = (body: unknown, head = 'HTTP/1.0 200 OK\r\n') => {
    const text = JSON.stringify(body);
    return `${head}Content-Length: ${text.length}\r\n\r\n${text}`;
  };
  const pending = message({ status: 'pending', reqid: 'ab' });
  const approved = (nonce: string) => ({ status: 'approved', nonce, cert: '', ca: '' });

  it('two answers on one connection, with any status line and further headers', async () => {
    const first = message({ status: 'pending', reqid: 'ab' }, 'HTTP/1.1 201 Created\r\ndate: now\r\n');
    const { reqid, outcome } = await saying(first, () =>
      message({ status: 'denied', reason: 'no' }, 'anything\nDate: now\n'),
    );
    expect(reqid).toBe('ab');
    expect(await outcome).toEqual({ status: 'failed', reason: 'no' });
  });

  it.each([
    ['another nonce', () => message(approved('other')), 'nonce mismatch'],
    ['no certificate', (nonce: string) => message(approved(nonce)), 'incomplete approval'],
    [
      'an empty line before the second',
      (nonce: string) => `\r\n${message(approved(nonce))}`,
      'no Content-Length in pairing result',
    ],
    ['nothing more', () => '', 'no Content-Length in pairing result'],
  ])('and takes no approval with %s', async (_, second, reason) => {
    const { outcome } = await saying(pending, second);
    expect(await outcome).toEqual({ status: 'failed', reason });
  });

  it.each([
    ['without a length', 'HTTP/1.0 200 OK\r\n\r\n', 'no Content-Length in pairing acknowledgement'],
    ['that is a refusal', message({ status: 'error', reason: 'full' }), 'full'],
    ['that is none', message({ status: 'approved' }), 'unexpected acknowledgement'],
  ])('and gives up with a first answer %s', async (_, first, reason) => {
    await expect(saying(first, () => '')).rejects.toThrow(reason);
  });
});
