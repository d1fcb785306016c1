import { X509Certificate } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openSqliteStores } from '../../../src/adapters/sql/sqlite/stores.js';
import type { PairingRequest } from '../../../src/domain/pairing/request.js';
import { value } from '../../contract/result.js';
import { run, shared, temporaryDirectory } from '../../support/commands/commands.js';
import { agentCredentials, serialOf } from '../../support/fleet/fleet.js';
import {
  ask,
  dispatcherIdentity,
  dispatcherWith,
  expectNothingInstalled,
  identityOf,
  inPairingMode,
  type PairingDispatcher,
  pairedBy,
} from '../../support/pairing/pairing.js';
import { openPeer, type PairingPeer, pairingPeer, postTo } from '../../support/pairing/peer.js';

const identity = shared(dispatcherIdentity);

const short = (peer: PairingPeer) => peer.id().slice(0, 8);
/** A request that came to nobody: only other terminals see it. */
async function queued(control: PairingDispatcher, ...ids: readonly string[]) {
  const state = join(control.home, 'state');
  const stores = value(
    await openSqliteStores({ path: join(state, 'ctrl-exec.db'), sessionsDirectory: join(state, 'locks') }),
  );
  const now = Date.now();
  for (const id of ids) {
    const waiting: PairingRequest = {
      id,
      state: 'open',
      host: 'web-01',
      ip: '192.0.2.7',
      port: 7443,
      lookupBy: 'ip',
      code: '123456',
      version: 'v2',
      decision: undefined,
      createdAt: now,
      expiresAt: now + 600_000,
      place: { kind: 'compare', key: '192.0.2.7', until: now + 600_000 },
    };
    value(await stores.pairing.begin({ request: waiting, limits: { total: 10, perKey: 10 } }));
  }
  await stores.close();
}

describe('list-requests', () => {
  it('shows what waits as a table whose first column is the request id, and as JSON', async () => {
    const { control, post } = await inPairingMode(identity());
    const empty = await control.command('list-requests');
    expect(empty).toMatchObject({ code: 0, stdout: expect.stringMatching(/^ID .*\n-+\n$/) });
    const ready = await openPeer(post, 'web-01');
    const started = await pairingPeer(post, 'web-02');
    await started.start({ port: 8443, lookup_by: 'hostname' });
    const { stdout } = await control.command('list-requests');
    const [header, dashes, ...rows] = stdout.trimEnd().split('\n');
    expect(header?.split(/\s+/)).toEqual(['ID', 'HOST', 'ADDRESS', 'CODE', 'STATE', 'EXPIRES', 'VERSION']);
    expect(dashes).toMatch(/^-+$/);
    expect(rows.map((row) => row.split(/\s+/).slice(0, 5))).toEqual([
      [ready.id(), 'web-01', '127.0.0.1', `${short(ready)}-${ready.code()}`, 'open'],
      [started.id(), 'web-02', '127.0.0.1', '-', 'started'],
    ]);
    expect(await control.requests()).toMatchObject([
      { id: ready.id(), host: 'web-01', ip: '127.0.0.1', port: 7443, code: ready.code(), state: 'open' },
      { id: started.id(), host: 'web-02', port: 8443, code: null, state: 'started' },
    ]);
  });

  it('says that a request was approved, until its certificate is fetched', async () => {
    const { control, post } = await inPairingMode(identity());
    const peer = await openPeer(post, 'web-01');
    await control.command('approve', peer.id());
    expect(await control.requests()).toMatchObject([{ id: peer.id(), state: 'approved' }]);
    expect((await peer.confirm()).status).toBe(200);
    expect(await control.requests()).toEqual([]);
  });

  it('does not show as open what was denied', async () => {
    const { control, post } = await inPairingMode(identity());
    const peer = await openPeer(post, 'web-01');
    expect((await control.command('deny', peer.id())).code).toBe(0);
    expect((await control.requests()).map(({ state }) => state)).not.toContain('open');
  });

  it('shows nothing of a pairing mode that was killed, once the next one is open', async () => {
    const { control, mode, post } = await inPairingMode(identity());
    const peer = await openPeer(post, 'web-01');
    await mode.process.stop('SIGKILL');
    await control.open();
    expect(await control.requests()).toEqual([]);
    expect((await control.command('approve', peer.id())).code).toBe(1);
  });
});

describe('approve', () => {
  it('takes the first eight digits, in either case, and no fewer', async () => {
    const { control, post } = await inPairingMode(identity());
    const peer = await openPeer(post, 'web-01');
    const tooShort = await control.command('approve', peer.id().slice(0, 7));
    expect(tooShort).toMatchObject({ code: 64, stderr: expect.stringContaining('8 to 32 hex digits') });
    const approved = await control.command('approve', short(peer).toUpperCase());
    expect(approved).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(`^Approved ${short(peer)} as web-01`),
    });
    const again = await control.command('approve', peer.id());
    expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('decided') });
  });

  it('refuses a prefix that names two requests, and takes a longer one', async () => {
    const control = dispatcherWith(identity());
    const [one, other] = [`abcdef01${'0'.repeat(24)}`, `abcdef01${'1'.repeat(24)}`];
    await queued(control, one, other);
    for (const verb of ['approve', 'deny'])
      expect(await control.command(verb, 'abcdef01')).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('names 2 requests'),
      });
    expect((await control.requests()).map(({ state }) => state)).toEqual(['open', 'open']);
    expect((await control.command('approve', 'abcdef010')).code).toBe(0);
    expect((await control.requests()).map(({ state }) => state)).toEqual(['approved', 'open']);
  });

  it('of what is not waiting, or is no id, is refused in one line', async () => {
    const control = dispatcherWith(identity());
    const cases = [
      ['0123456789', 1, 'no pairing request 0123456789 is waiting'],
      ['web-01 ', 64, 'a request id is 8 to 32 hex digits'],
      ['\u001b[2Jabcdef01', 64, String.raw`\u001b[2Jabcdef01: a request id`],
      ['%', 64, 'a request id is'],
      ['0'.repeat(33), 64, 'a request id is'],
    ] as const;
    const all = await Promise.all(cases.map(([id]) => control.command('approve', id)));
    for (const [index, [, code, message]] of cases.entries()) {
      expect(all[index]).toMatchObject({ code, stdout: '', stderr: expect.stringContaining(message) });
      expect(all[index]?.stderr.trimEnd().split('\n')).toHaveLength(1);
    }
  });

  it('says that a request is not ready before its code is known, and can be repeated then', async () => {
    const { control, post } = await inPairingMode(identity());
    const peer = await pairingPeer(post, 'web-01');
    await peer.start();
    const early = await control.command('approve', peer.id());
    expect(early).toMatchObject({ code: 1, stderr: expect.stringContaining('not ready') });
    await peer.nonce();
    expect((await control.command('approve', peer.id())).code).toBe(0);
  });

  it('--code with the code of the agent approves; both sides end with 0', async () => {
    const { control, port } = await inPairingMode(identity());
    const { approved, ended } = await pairedBy(control, port, 'web-01');
    expect([approved.code, ended.code]).toEqual([0, 0]);
    expect(ended.stdout).toContain('Paired with control as web-01\n');
  });

  it('--code with another code refuses and ends the request; the agent ends with 3', async () => {
    const { control, port } = await inPairingMode(identity());
    const asking = await ask('web-01', port);
    const wrong = asking.code === '000000' ? '000001' : '000000';
    const refused = await control.command('approve', asking.id, '--code', wrong);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('the codes differ') });
    expect((await control.command('approve', asking.id, '--code', asking.code)).code).toBe(1);
    asking.answer('y');
    expect(await asking.ended).toMatchObject({ code: 3, stderr: expect.stringContaining('codes differ') });
    expectNothingInstalled(asking.agent);
    expect(await control.agents()).toEqual([]);
  });

  it('--name gives the agent another name, in its certificate as well', async () => {
    const { control, port } = await inPairingMode(identity());
    const bad = await ask('web-01', port);
    const names = ['../x', 'a b', '', '\u001b[2J', 'x\ny', '-x', 'x'.repeat(65)];
    const all = await Promise.all(names.map((name) => control.command('approve', bad.id, `--name=${name}`)));
    for (const [index, refused] of all.entries()) {
      expect(refused.code, JSON.stringify(names[index])).toBe(64);
      expect(refused.stderr).not.toContain('\u001b');
      expect(refused.stderr.trimEnd().split('\n')).toHaveLength(1);
    }
    expect((await control.command('approve', bad.id, '--name', 'Frontend.Example.org')).code).toBe(0);
    bad.answer('y');
    expect((await bad.ended).stdout).toContain('Paired with control as frontend.example.org\n');
    const certificate = new X509Certificate(readFileSync(join(bad.agent.home, 'agent.crt')));
    expect(certificate.subjectAltName).toBe(
      'DNS:frontend.example.org, URI:ctrl-exec:agent:frontend.example.org',
    );
    expect((await control.agents()).map(({ name }) => name)).toEqual(['frontend.example.org']);
  });

  it('needs --replace for a registered name; then the new key takes the place of the old one', async () => {
    const { control, port } = await inPairingMode(identity());
    const first = await pairedBy(control, port, 'web-01');
    const asking = await ask('web-01', port);
    const refused = await control.command('approve', asking.id);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('--replace') });
    expect((await control.command('approve', asking.id, '--replace')).code).toBe(0);
    asking.answer('y');
    expect((await asking.ended).code).toBe(0);
    const [record, ...others] = await control.agents();
    expect(others).toEqual([]);
    expect(record?.keys).toMatchObject([
      { state: 'active', serial: serialOf(agentCredentials(asking.agent)) },
    ]);
    expect(serialOf(agentCredentials(asking.agent))).not.toBe(serialOf(agentCredentials(first.agent)));
  });

  it('of a key that another name has ends with a refusal at the agent, and changes nothing', async () => {
    const { control, port } = await inPairingMode(identity());
    const { agent } = await pairedBy(control, port, 'web-01');
    const before = identityOf(agent);
    const again = await pairedBy(control, port, { ...agent, name: 'web-02' });
    expect(again.ended).toMatchObject({ code: 1, stderr: expect.stringContaining('name_registered') });
    expect(identityOf(agent)).toEqual(before);
    expect(await control.agents()).toMatchObject([{ name: 'web-01', keys: [{ state: 'active' }] }]);
  });

  it('and deny at the same moment: exactly one of them holds', async () => {
    const { control, post } = await inPairingMode(identity());
    const peer = await openPeer(post, 'web-01');
    const outcomes = await Promise.all([
      control.command('approve', peer.id()),
      control.command('deny', peer.id()),
    ]);
    expect(outcomes.map(({ code }) => code).sort()).toEqual([0, 1]);
    expect((await peer.confirm()).status).toBe(outcomes[0].code === 0 ? 200 : 403);
  });
});

describe('deny', () => {
  it('ends the agent with 3 and the reason; nothing is installed or registered', async () => {
    const { control, port } = await inPairingMode(identity());
    const asking = await ask('web-01', port);
    expect(await control.command('deny', asking.id)).toMatchObject({
      code: 0,
      stdout: `Denied ${asking.id} (web-01)\n`,
    });
    asking.answer('y');
    expect(await asking.ended).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('pairing was denied: denied by the operator'),
    });
    expectNothingInstalled(asking.agent);
    expect(await control.agents()).toEqual([]);
  });
});

describe('the pairing port', () => {
  it('takes names of hosts alone: nothing else is stored, or forges a log line', async () => {
    const { control, mode, port } = await inPairingMode(identity());
    const names = [
      '../x',
      '\u001b[2J',
      'x\nACTION=paired HOST=x',
      'x\r\n',
      'x'.repeat(10_240),
      'a b',
      '.x',
      'x-',
    ];
    for (const [index, host] of names.entries()) {
      // An address has one line a minute.
      const peer = await pairingPeer(postTo(port, { localAddress: `127.0.0.${index + 1}` }), 'web-01');
      expect((await peer.start({ host })).status, JSON.stringify(host.slice(0, 30))).toBe(400);
    }
    expect(await control.requests()).toEqual([]);
    const log = (await mode.process.stop()).stderr.trimEnd().split('\n');
    expect(log.filter((line) => line.startsWith('ACTION=pairing-refused'))).toHaveLength(names.length);
    expect(log.filter((line) => !/^ACTION=pairing-(mode|mode-closed|refused) /.test(line))).toEqual([]);
    expect(log.join('')).not.toContain('\u001b');
  });

  it('stores the name of a host in lower case, whatever the peer writes', async () => {
    const { control, post } = await inPairingMode(identity());
    const peer = await openPeer(post, 'Web-01.EXAMPLE.org');
    expect((await control.command('approve', peer.id())).stdout).toContain('as web-01.example.org:');
    const approved = await peer.confirm();
    expect(approved.body).toMatchObject({ status: 'approved', name: 'web-01.example.org' });
    expect(await control.agents()).toMatchObject([{ name: 'web-01.example.org' }]);
  });

  it('says that it is taken in one line and ends with 1', async () => {
    const { port } = await inPairingMode(identity());
    const second = await dispatcherWith(identity()).command('pairing-mode', '--port', String(port));
    expect(second).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('EADDRINUSE') });
  });

  it('is not opened by a dispatcher without an identity, which is told what to do', async () => {
    const home = join(temporaryDirectory(), 'dispatcher');
    mkdirSync(home);
    const mode = () => run('ctrl-exec', ['pairing-mode', '--port', '0'], { home });
    expect(await mode()).toMatchObject({ code: 1, stderr: expect.stringContaining('setup-ca') });
    cpSync(join(identity(), 'ca.crt'), join(home, 'ca.crt'));
    expect(await mode()).toMatchObject({ code: 1, stderr: expect.stringContaining('setup-ctrl-exec') });
  });
});
