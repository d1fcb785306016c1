import { spawn } from 'node:child_process';
import { appendFileSync, existsSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Credentials } from '../../../src/ports/channel.js';
import { atEnd, shared, temporaryDirectory } from '../../support/commands/commands.js';
import {
  agentCredentials,
  dispatcherCredentials,
  eventually,
  pairedHost,
  rawRequest,
  serialOf,
} from '../../support/fleet/fleet.js';
import { closed, openTls, received } from '../../support/network/raw-tls.js';
import { testCa } from '../../support/network/test-pki.js';

const host = pairedHost();
const hour = 3_600_000;

/** An agent that accepts a further CA, whose certificates the tests make as they like. */
const scene = shared(async () => {
  const agent = await host.fresh();
  const ran = join(temporaryDirectory(), 'ran');
  agent.script('touch', `#!/bin/sh\ntouch ${ran}\n`);
  const ca = await testCa({ commonName: 'a further CA' });
  appendFileSync(join(agent.home, 'ca.crt'), ca.pem);
  const good = dispatcherCredentials(host.control());
  const revoked = await ca.issue({ commonName: 'revoked', usages: ['clientAuth'] });
  writeFileSync(join(agent.home, 'revoked-serials'), `${serialOf(revoked)}\n`);
  const kinds: Record<string, Credentials | undefined> = {
    nothing: undefined,
    'of another CA': await (await testCa()).issue({ usages: ['clientAuth'] }),
    expired: await ca.issue({
      usages: ['clientAuth'],
      notBefore: new Date(Date.now() - 2 * hour),
      notAfter: new Date(Date.now() - hour),
    }),
    'not yet valid': await ca.issue({ usages: ['clientAuth'], notBefore: new Date(Date.now() + hour) }),
    'for servers only': await ca.issue({ usages: ['serverAuth'] }),
    revoked,
    'not trusted': await ca.issue({ commonName: 'stranger', usages: ['clientAuth'] }),
  };
  const trusted = join(agent.home, 'state', 'ctrl-exec-dispatchers');
  const pairs = Object.entries(kinds).filter(([kind]) => kind !== 'not trusted');
  for (const [, who] of pairs) if (who) appendFileSync(trusted, `${serialOf(who)} control\n`);
  const daemon = await agent.serve();
  return { agent, daemon, ran, good, kinds };
});

const tcpFrom = (localAddress: string): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: scene().agent.port, localAddress });
    atEnd(() => socket.destroy());
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.on('error', () => {});
      resolve(socket);
    });
  });

const run = 'POST /run HTTP/1.0\r\nContent-Length: 28\r\n\r\n{"script":"touch","args":[]}';

/** What comes back to a run from this address, with what TLS makes of the certificate. */
async function sends(address: string, who: Credentials | undefined): Promise<string> {
  const tcp = await tcpFrom(address);
  try {
    const socket = await openTls(0, who, { socket: tcp });
    const answer = received(socket);
    socket.write(run);
    return await answer;
  } catch {
    await closed(tcp);
    return '';
  }
}

describe('a client whose certificate is', () => {
  it.each([
    ['nothing', '127.0.1.1', /REASON=NO_CERTIFICATE/, ''],
    [
      'of another CA',
      '127.0.1.2',
      /REASON=(UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT_LOCALLY)/,
      '',
    ],
    ['expired', '127.0.1.3', /REASON=CERT_HAS_EXPIRED/, ''],
    ['not yet valid', '127.0.1.4', /REASON=CERT_NOT_YET_VALID/, ''],
    ['for servers only', '127.0.1.5', /REASON=INVALID_PURPOSE/, ''],
    ['revoked', '127.0.1.6', /REASON="certificate revoked"/, '{"error":"certificate revoked"}'],
  ])(
    '%s is refused, counted, and the reason logged; then its address is blocked',
    async (kind, address, reason, body) => {
      const { daemon, ran, kinds, agent, good } = scene();
      for (let count = 0; count < 4; count += 1) {
        const answer = await sends(address, kinds[kind]);
        expect(answer.slice(answer.indexOf('\r\n\r\n') + 4 || 0)).toBe(body);
      }
      const lines = () =>
        daemon
          .output('stderr')
          .split('\n')
          .filter((line) => line.includes(address));
      await eventually(() => expect(lines().join('\n')).toMatch(reason));
      await eventually(() =>
        expect(lines().filter((line) => line.startsWith('ACTION=source-limited '))).toEqual([
          `ACTION=source-limited EFFECT=blocked LIMIT=probe SECONDS=3600 SOURCE=${address}`,
        ]),
      );
      const before = lines().length;
      const blocked = await tcpFrom(address);
      const bytes = received(blocked);
      blocked.write('\x16\x03\x01');
      expect(await bytes).toBe('');
      expect(await sends(address, good)).toBe('');
      expect(lines()).toHaveLength(before);
      expect((await rawRequest(agent.port, good, '/ping', '{}')).statusLine).toBe('HTTP/1.0 200 OK');
      expect([existsSync(ran), daemon.child.exitCode]).toEqual([false, null]);
    },
  );

  it("another agent's is refused, too", async () => {
    const { daemon, ran } = scene();
    const other = await host.control().pairAgent('web-02');
    expect(await sends('127.0.1.7', agentCredentials(other))).toBe('');
    await daemon.shows(/ACTION=connection-refused IP=127\.0\.1\.7 REASON=INVALID_PURPOSE/, 'stderr');
    expect(existsSync(ran)).toBe(false);
  });

  it('of the CA and not trusted is told so once a connection, and counts by volume', async () => {
    const { daemon, ran, kinds } = scene();
    for (let count = 0; count < 11; count += 1)
      expect(await sends('127.0.1.8', kinds['not trusted'])).toMatch(/ 403 .*serial mismatch/s);
    await daemon.shows(
      /ACTION=source-limited EFFECT=blocked LIMIT=volume SECONDS=300 SOURCE=127\.0\.1\.8/,
      'stderr',
    );
    expect(await sends('127.0.1.8', kinds['not trusted'])).toBe('');
    expect(existsSync(ran)).toBe(false);
  });
});

describe('as OpenSSL sees it', () => {
  /** What `openssl s_client` prints, with its standard input held open until `until` shows. */
  function openssl(args: readonly string[], input = '', until = /$/): Promise<string> {
    const { agent, good } = scene();
    const directory = temporaryDirectory();
    for (const part of ['key', 'certificate'] as const) writeFileSync(join(directory, part), good[part]);
    const identity = ['-cert', join(directory, 'certificate'), '-key', join(directory, 'key')];
    const child = spawn(
      'openssl',
      ['s_client', '-connect', `127.0.0.1:${agent.port}`, '-no_ign_eof', ...identity, ...args],
      { stdio: 'pipe' },
    );
    atEnd(() => child.kill('SIGKILL'));
    let output = '';
    let asked = false;
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
        if (asked || !until.test(output)) return;
        asked = true;
        child.stdin.write(input);
      });
    child.stdin.on('error', () => {});
    return new Promise((resolve) => child.once('close', () => resolve(output)));
  }
  /** A request whose answer ends the connection; it is not signed, and refused. */
  const ask = 'GET /capabilities HTTP/1.0\r\n\r\n';
  const handshakeDone = /Verify return code|Verification/;

  it.each(['-tls1_2', '-tls1_3'])('%s is spoken, without compression and early data', async (version) => {
    const seen = await openssl([version], ask, /Verify return code/);
    expect(seen).toMatch(/Compression: NONE/);
    expect(seen).toMatch(/Secure Renegotiation IS( NOT)? supported/);
    expect(seen).toContain('{"error":"signature required"}');
    expect(seen).not.toMatch(/^Reused|Early data was accepted|Max Early Data: [1-9]/m);
  });

  it.each([
    [['-tls1_1', '-cipher', 'ALL:@SECLEVEL=0']],
    [['-tls1', '-cipher', 'ALL:@SECLEVEL=0']],
    [['-tls1_2', '-cipher', 'ECDHE-ECDSA-AES256-SHA384']],
    [['-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-SHA']],
    [['-tls1_2', '-cipher', 'AES256-GCM-SHA384:@SECLEVEL=0']],
    [['-tls1_2', '-cipher', 'aNULL:eNULL:@SECLEVEL=0']],
    [['-tls1_2', '-cipher', 'ECDHE-ECDSA-AES256-CCM8']],
  ])('%j is not spoken', async (args) => {
    const seen = await openssl(args);
    expect(seen).not.toMatch(/HTTP\/1|Cipher is (TLS|ECDHE|AES)/);
    expect(seen).toMatch(/alert|error|no cipher/i);
  });

  it('does not renegotiate', async () => {
    const seen = await openssl(['-tls1_2'], 'R\n', handshakeDone);
    expect(seen).toContain('RENEGOTIATING');
    expect(seen).toMatch(/no renegotiation|unexpected|error/i);
    expect(seen).not.toMatch(/HTTP\/1\.1 200/);
  });

  it.each(['-tls1_2', '-tls1_3'])(
    '%s: a session is not taken up again, and no early data is taken',
    async (version) => {
      const session = join(temporaryDirectory(), 'session');
      await openssl([version, '-sess_out', session], ask, /Verify return code/);
      // Without a ticket there is often nothing to take up.
      if (!existsSync(session)) return;
      const early = join(temporaryDirectory(), 'early');
      writeFileSync(early, ask);
      const more = version === '-tls1_3' ? ['-early_data', early] : [];
      const seen = await openssl([version, '-sess_in', session, ...more], ask, /Verify return code/);
      expect(seen).not.toMatch(/^Reused/m);
      expect(seen).not.toMatch(/Early data was accepted/);
    },
  );
});
