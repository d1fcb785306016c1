import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  agentOnDisk,
  requestPairing,
  shared,
  start,
  temporaryDirectory,
} from '../../support/commands/commands.js';
import { dispatcherCredentials, eventually, serialOf } from '../../support/fleet/fleet.js';
import { legacyCa } from '../../support/legacy/ca.js';
import {
  capturedPairing,
  type LegacyConnection,
  legacyAgent,
  legacyAnswer,
  legacyDispatcher,
  legacyRequest,
} from '../../support/legacy/peer.js';
import { openssl } from '../../support/network/openssl.js';
import { closed, openTls } from '../../support/network/raw-tls.js';
import {
  caOf,
  dispatcherIdentity,
  dispatcherWith,
  expectNothingInstalled,
  identityOf,
  type PairingDispatcher,
} from '../../support/pairing/pairing.js';

const identity = shared(dispatcherIdentity);

/** A dispatcher in pairing mode that serves version 1, too. */
async function serving(...more: string[]) {
  const control = dispatcherWith(identity());
  const process = start('ctrl-exec', ['pairing-mode', '--port', '0', '--allow-v1', ...more], {
    home: control.home,
  });
  return { control, process, port: Number(await process.shows(/Pairing mode on .*:(\d+)/)) };
}

/** Waits until `list-requests` shows so many. */
async function listed(control: PairingDispatcher, count: number) {
  for (;;) {
    const requests = await control.requests();
    if (requests.length === count) return requests;
  }
}

describe('a legacy agent', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'gets a certificate over %s that OpenSSL accepts for server and client',
    async (version) => {
      const { control, port, process } = await serving();
      await process.shows(/Version 1 is served, too\. .*forge/);
      const { bytes, nonce } = capturedPairing();
      const { next, socket } = await legacyAgent(port, bytes, version);
      const pending = await next();
      expect(pending.lines).toEqual([
        'HTTP/1.0 200 OK',
        'Content-Type: application/json',
        expect.stringMatching(/^Content-Length: \d+$/),
      ]);
      expect(pending.body).toEqual({ status: 'pending', reqid: expect.stringMatching(/^[0-9a-f]{16}$/) });
      const id = String(pending.body['reqid']);
      // Calculated with openssl over the captured CSR.
      expect(await control.requests()).toMatchObject([
        { id, host: 'vm', ip: '127.0.0.1', code: '393588', version: 1, state: 'open' },
      ]);
      expect(await control.requests()).toMatchObject([{ stated_ip: null }]);
      const list = await control.command('list-requests');
      expect(list.stdout).toMatch(new RegExp(`^${id} .* 1\\s*$`, 'm'));
      expect(list.stderr).toMatch(/forge/);
      const approved = await control.command('approve', id.slice(0, 8), '--code', '393588');
      expect(approved).toMatchObject({ code: 0, stdout: expect.stringMatching(/by version 1/) });

      const answer = await next();
      expect(answer.lines[0]).toBe('HTTP/1.0 200 OK');
      await closed(socket);
      expect(answer.body).toMatchObject({
        status: 'approved',
        ca: caOf(control),
        nonce,
        dispatcher_serial: serialOf(dispatcherCredentials(control)),
        dispatcher_id: 'control',
      });
      const directory = temporaryDirectory();
      writeFileSync(join(directory, 'ca.pem'), String(answer.body['ca']));
      writeFileSync(join(directory, 'agent.pem'), String(answer.body['cert']));
      for (const purpose of ['sslserver', 'sslclient'])
        expect(
          openssl(['verify', '-CAfile', 'ca.pem', '-purpose', purpose, 'agent.pem'], { cwd: directory })
            .stdout,
        ).toContain('agent.pem: OK');
      expect(await control.agents()).toMatchObject([{ name: 'vm', keys: [{ state: 'issued' }] }]);
    },
  );

  it('gets nothing where version 1 is not served', async () => {
    const control = dispatcherWith(identity());
    const { port } = await control.open();
    const { next } = await legacyAgent(port, capturedPairing().bytes);
    expect((await next()).body).toMatchObject({ status: 'error', error: 'not_found' });
    expect(await control.requests()).toEqual([]);
  });

  it('is served where allow_legacy_pairing says so', async () => {
    const control = dispatcherWith(identity());
    const file = join(control.home, 'ctrl-exec.conf');
    writeFileSync(file, `${readFileSync(file, 'utf8')}allow_legacy_pairing = yes\n`);
    const { port } = await control.open();
    const { next, socket } = await legacyAgent(port, capturedPairing().bytes);
    expect((await next()).body['status']).toBe('pending');
    socket.destroy();
  });

  it('is told that it was denied, at another terminal', async () => {
    const { control, port } = await serving();
    const { next } = await legacyAgent(port, capturedPairing().bytes);
    const { body } = await next();
    expect((await control.command('deny', String(body['reqid']))).code).toBe(0);
    expect((await next()).body).toEqual({ status: 'denied', reason: 'denied by the operator' });
  });

  it('is told when pairing mode ends', async () => {
    const { port, process } = await serving();
    const { next } = await legacyAgent(port, capturedPairing().bytes);
    await next();
    const ended = process.stop();
    expect((await next()).body).toEqual({ status: 'denied', reason: 'pairing mode was closed' });
    expect((await ended).code).toBe(0);
  });

  it('that goes away leaves nothing behind', async () => {
    const { control, port } = await serving();
    const { next, socket } = await legacyAgent(port, capturedPairing().bytes);
    const { body } = await next();
    socket.destroy();
    await listed(control, 0);
    expect((await control.command('approve', String(body['reqid']))).code).toBe(1);
    expect(await control.agents()).toEqual([]);
  });
});

describe('a stranger at the port of version 1', () => {
  const { hostname, nonce, csr } = capturedPairing();
  const asked = { hostname, nonce, csr };

  it('is told what is wrong, in the words of deployed dispatchers, and none of it is listed', async () => {
    const { control, port } = await serving();
    for (const [body, reason] of [
      ['', 'invalid request'],
      ['[]', 'invalid request'],
      [{ ...asked, csr: 'PEM' }, 'invalid request'],
      [{ ...asked, csr: `${csr}${'\n'.repeat(10_000)}` }, 'invalid request'],
      [{ ...asked, hostname: '../vm' }, 'invalid hostname'],
      [{ ...asked, nonce: `${nonce}00` }, 'invalid request'],
      [{ ...asked, padding: 'x'.repeat(65_536) }, 'request too large'],
    ] as const) {
      const { next, socket } = await legacyAgent(port, legacyRequest(body));
      const { lines, body: said } = await next();
      expect([lines[0], said]).toEqual(['HTTP/1.0 200 OK', { status: 'error', reason }]);
      await closed(socket);
    }
    expect(await control.requests()).toEqual([]);
  });

  it('cannot send ten megabytes, as a request or after it', async () => {
    const { control, port } = await serving();
    const large = await legacyAgent(port, legacyRequest({ ...asked, padding: 'x'.repeat(10_000_000) }));
    expect((await large.next()).body).toEqual({ status: 'error', reason: 'request too large' });
    await closed(large.socket);
    const waiting = await legacyAgent(port, legacyRequest(asked));
    await waiting.next();
    waiting.socket.write(Buffer.alloc(10_000_000, 'x'));
    await closed(waiting.socket);
    await listed(control, 0);
  });

  it('that sends its request slowly holds no place in the queue, and not for long a connection', async () => {
    const { control, port } = await serving();
    const head = await openTls(port);
    head.resume();
    head.write('POST /pair HTTP/1.0\r\nContent-Le');
    const body = await openTls(port);
    body.resume();
    body.write('POST /pair HTTP/1.0\r\nContent-Length: 1000\r\n\r\n{"hostname"');
    expect(await control.requests()).toEqual([]);
    const { next } = await legacyAgent(port, legacyRequest(asked));
    expect((await next()).body['status']).toBe('pending');
    await closed(head);
    body.destroy();
  });

  it('that says another address than it comes from is shown with both', async () => {
    const { control, port } = await serving();
    const { next } = await legacyAgent(port, legacyRequest({ ...asked, hostname: 'a', ip: '10.0.0.7' }));
    const id = String((await next()).body['reqid']);
    expect(await control.requests()).toMatchObject([{ ip: '127.0.0.1', stated_ip: '10.0.0.7' }]);
    expect((await control.command('list-requests')).stderr).toMatch(
      /a came from 127\.0\.0\.1 and says that its address is 10\.0\.0\.7: .*approve ID --ip ADDRESS/,
    );
    const approved = await control.command('approve', id.slice(0, 8), '--ip', '10.0.0.7');
    expect(approved).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^Registered address: 10\.0\.0\.7$/m),
    });
    // The certificate goes out, and the agent is registered, when pairing mode has seen the approval.
    await eventually(async () => {
      const { stdout } = await control.command('list-agents', '--json');
      expect(JSON.parse(stdout).agents).toMatchObject([{ name: 'a', ip: '10.0.0.7' }]);
    });
  });

  it('has two places, and finds the queue full for a third', async () => {
    const { control, port } = await serving();
    for (const name of ['a', 'b']) {
      const { next } = await legacyAgent(port, legacyRequest({ ...asked, hostname: name }));
      expect((await next()).body['status']).toBe('pending');
    }
    const third = await legacyAgent(port, legacyRequest({ ...asked, hostname: 'c' }));
    expect((await third.next()).body).toEqual({ status: 'error', reason: 'pairing queue full' });
    expect(await control.requests()).toHaveLength(2);
  });
});

/** A legacy installation's CA and dispatcher, made by openssl as setup-ca makes them: RSA-4096, certificates of version 1. */
const installation = shared(async () => {
  const ca = await legacyCa();
  return {
    credentials: await ca.issue('ctrl-exec-dispatcher'),
    ca: ca.pem,
    fingerprint: createHash('sha256').update(new X509Certificate(ca.pem).raw).digest('hex'),
    /** The answer of a dispatcher of 0.9 or later to a request that was approved. */
    approve({ body }: LegacyConnection): Record<string, unknown> {
      const { certificate: cert } = ca.sign(String(body['csr']));
      const dispatcher = { dispatcher_serial: '02', dispatcher_id: 'old-control' };
      return { status: 'approved', cert, ca: ca.pem, nonce: body['nonce'], ...dispatcher };
    },
  };
});

describe('request-pairing --allow-v1', () => {
  const approving = () =>
    legacyDispatcher(installation().credentials, (connection) => {
      connection.socket.end(legacyAnswer(installation().approve(connection)));
    });
  const pinned = () => ['--allow-v1', '--ca-sha256', installation().fingerprint];

  it('pairs with a legacy dispatcher whose certificates are of version 1', async () => {
    const { port, heads } = await approving();
    const agent = await agentOnDisk('web-01');
    const { code, stdout } = await requestPairing(agent, port, pinned()).ended;
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^Request 3698ad2223d6b146 by version 1.*\nPairing code: \d{6}\nPaired with old-control as web-01, by version 1\n/,
    );
    expect(stdout).toMatch(/accept_legacy_dispatchers = yes/);
    expect(heads[0]).toMatch(/^POST \/pair\/v2\/start HTTP\/1\.1\r\n/);
    expect(heads.slice(1)).toEqual([
      expect.stringMatching(
        /^POST \/pair HTTP\/1\.0\r\nContent-Type: application\/json\r\nContent-Length: \d+$/,
      ),
    ]);
    const [, certificate, ca, trust] = identityOf(agent);
    expect(new X509Certificate(certificate ?? '').subject).toBe('CN=web-01');
    expect(ca).toBe(installation().ca);
    expect(trust).toBe('2 old-control\n');
    const status = await agent.command('pairing-status');
    expect(status).toMatchObject({ code: 0, stdout: expect.stringMatching(/dispatchers: old-control\n$/) });
  });

  it('shows the code of the CSR, and says nothing of what is accepted already', async () => {
    let code = '';
    const { port } = await legacyDispatcher(installation().credentials, (connection) => {
      const digest = createHash('sha256').update(String(connection.body['csr'])).digest();
      code = String(digest.readUInt32BE(0) % 1_000_000).padStart(6, '0');
      connection.socket.end(legacyAnswer(installation().approve(connection)));
    });
    const agent = await agentOnDisk('web-01', 'accept_legacy_dispatchers = yes\n');
    const { stdout } = await requestPairing(agent, port, ['--allow-v1', '--trust-on-first-use']).ended;
    expect(stdout).toContain(`Pairing code: ${code}\n`);
    expect(stdout).not.toMatch(/is needed/);
  });

  it('waits in the background, and pairing-status tells the end', async () => {
    let release: (() => void) | undefined;
    const { port } = await legacyDispatcher(installation().credentials, (connection) => {
      release = () => connection.socket.end(legacyAnswer(installation().approve(connection)));
    });
    const agent = await agentOnDisk('web-01');
    const started = await requestPairing(agent, port, [...pinned(), '--background']).ended;
    expect(started).toMatchObject({ code: 0, stdout: expect.stringMatching(/Pairing code: \d{6}/) });
    release?.();
    expect(await agent.command('pairing-status', '--wait', '20')).toMatchObject({ code: 0 });
    expect(identityOf(agent)[3]).toBe('2 old-control\n');
  });

  it('ends with 3 when it is denied, with 2 when nobody decides, and installs nothing', async () => {
    const denying = await legacyDispatcher(installation().credentials, ({ socket }) => {
      socket.end(legacyAnswer({ status: 'denied', reason: 'rejected by operator' }));
    });
    const agent = await agentOnDisk('web-01');
    const denied = await requestPairing(agent, denying.port, pinned()).ended;
    expect(denied).toMatchObject({ code: 3, stderr: 'pairing was denied: rejected by operator\n' });
    const silent = await legacyDispatcher(installation().credentials, () => {});
    expect((await requestPairing(agent, silent.port, [...pinned(), '--timeout', '1']).ended).code).toBe(2);
    expectNothingInstalled(agent);
  });

  it('refuses another nonce, another fingerprint and half an answer, and installs nothing', async () => {
    const agent = await agentOnDisk('web-01');
    const other = await legacyDispatcher(installation().credentials, (connection) => {
      const approved = { ...installation().approve(connection), nonce: '00'.repeat(16) };
      connection.socket.end(legacyAnswer(approved));
    });
    expect(await requestPairing(agent, other.port, pinned()).ended).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/another nonce/),
    });
    const { port } = await approving();
    const wrong = ['--allow-v1', '--ca-sha256', 'ab'.repeat(32)];
    expect(await requestPairing(agent, port, wrong).ended).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/another fingerprint/),
    });
    const half = await legacyDispatcher(installation().credentials, (connection) => {
      connection.socket.end(legacyAnswer(installation().approve(connection)).slice(0, -100));
    });
    expect((await requestPairing(agent, half.port, pinned()).ended).code).toBe(1);
    expectNothingInstalled(agent);
  });

  it('is a mistake without --ca-sha256 or --trust-on-first-use, and nobody is asked', async () => {
    const { port, heads } = await approving();
    const agent = await agentOnDisk('web-01');
    for (const more of [[], ['--join', `cxj2.${'A'.repeat(11)}.${'A'.repeat(43)}`]])
      expect(await requestPairing(agent, port, ['--allow-v1', ...more]).ended).toMatchObject({
        code: 64,
        stderr: expect.stringMatching(/^--allow-v1: .*--ca-sha256 or --trust-on-first-use/),
      });
    expect(heads).toEqual([]);
  });

  it('is needed: without it a legacy dispatcher is asked once, and never by version 1', async () => {
    const { port, heads } = await approving();
    const agent = await agentOnDisk('web-01');
    const refused = await requestPairing(agent, port, ['--ca-sha256', installation().fingerprint]).ended;
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/--allow-v1/) });
    expect(heads).toHaveLength(1);
    expectNothingInstalled(agent);
  });

  it('still pairs by version 2 with a dispatcher that knows it, also one that serves version 1', async () => {
    const { control, port } = await serving();
    const agent = await agentOnDisk('web-01');
    const asking = requestPairing(agent, port, ['--allow-v1', '--trust-on-first-use']);
    const id = await asking.shows(/Request ([0-9a-f]{8}) to dispatcher control/);
    expect((await control.command('approve', id)).code).toBe(0);
    expect(await asking.ended).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/Paired with control as web-01\n/),
    });
  });
});
