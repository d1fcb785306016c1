import { describe, expect, it } from 'vitest';
import { parseJoinToken } from '../../../src/domain/pairing/join-token.js';
import { value } from '../../contract/result.js';
import { shared } from '../../support/commands/commands.js';
import { dispatcherIdentity, dispatcherWith, inPairingMode } from '../../support/pairing/pairing.js';
import { openPeer, type Post, pairingPeer, postTo } from '../../support/pairing/peer.js';

const identity = shared(dispatcherIdentity);

/** One whose state no test changes. */
const openedOnce = shared(async () => {
  const control = dispatcherWith(identity());
  return { post: postTo((await control.open()).port) };
});

describe('the pairing port', () => {
  const started = async (post: Post) => {
    const peer = await pairingPeer(post, 'web-01');
    expect((await peer.start()).status).toBe(201);
    return peer;
  };
  const invalid = { status: 400, body: { status: 'error', error: 'invalid' } };

  it('gives the same nonce for the same nonce, and destroys the session at another one', async () => {
    const { control, post } = await inPairingMode(identity());
    const peer = await started(post);
    const first = await peer.nonce();
    expect(first.status).toBe(200);
    expect((await peer.nonce()).body).toEqual(first.body);
    expect((await control.command('approve', peer.id())).code).toBe(0);
    expect(await peer.nonce({ nonce: new Uint8Array(32) })).toMatchObject(invalid);
    expect((await peer.nonce()).status).toBe(410);
    expect((await peer.confirm()).status).not.toBe(200);
    expect((await peer.confirm()).status).not.toBe(202);
    expect(await control.requests()).toEqual([]);
    expect(await control.agents()).toEqual([]);
  });

  it('refuses a confirmation that is not signed by the key of the CSR, and takes the right one then', async () => {
    const { control, post } = await inPairingMode(identity());
    const peer = await openPeer(post, 'web-01');
    await control.command('approve', peer.id());
    const other = await openPeer(post, 'web-02');
    const { body } = await other.confirm({ session: Buffer.from(peer.id(), 'hex').toString('base64url') });
    expect(body).toEqual(invalid.body);
    for (const sig of [new Uint8Array(64), new Uint8Array(), new Uint8Array(5_000)])
      expect(await peer.confirm({ sig })).toMatchObject(invalid);
    expect(await control.agents()).toEqual([]);
    expect((await peer.confirm()).status).toBe(200);
  });

  it('gives the same certificate to a repeated confirmation, and is told of the installation as often as one likes', async () => {
    const { control, post } = await inPairingMode(identity());
    const peer = await openPeer(post, 'web-01');
    expect(await peer.installed()).toMatchObject(invalid);
    await control.command('approve', peer.id());
    const first = await peer.confirm();
    expect((await peer.confirm()).body).toEqual(first.body);
    expect(await control.agents()).toMatchObject([{ keys: [{ state: 'issued' }] }]);
    expect(await peer.installed({ sig: new Uint8Array(64) })).toMatchObject(invalid);
    expect(await control.agents()).toMatchObject([{ keys: [{ state: 'issued' }] }]);
    expect(await peer.installed()).toMatchObject({ status: 200, body: { status: 'ok' } });
    expect(await peer.installed()).toMatchObject({ status: 200, body: { status: 'ok' } });
    expect(await control.agents()).toMatchObject([{ keys: [{ state: 'active' }] }]);
  });

  it('refuses a confirmation before the nonce, and a session that it does not know', async () => {
    const { post } = await inPairingMode(identity());
    const peer = await started(post);
    expect(await peer.confirm()).toMatchObject(invalid);
    const unknown = { status: 404, body: { status: 'error', error: 'unknown_session' } };
    for (const step of ['nonce', 'confirm', 'installed'] as const)
      expect(await peer[step]({ session: new Uint8Array(16) })).toMatchObject(unknown);
  });

  it('refuses a member that it does not know, in every message, and whatever is not of the form', async () => {
    const { control, post } = await inPairingMode(identity());
    const peer = await pairingPeer(post, 'web-01');
    expect(await peer.start({ extra: 1 })).toMatchObject(invalid);
    for (const wrong of [
      { v: 1 },
      { v: '2' },
      { offer: [] },
      { offer: [1] },
      { offer: [2, 1] },
      { offer: [2, 2] },
      { port: 0 },
      { port: 65_536 },
      { port: 1.5 },
      { port: '7443' },
      { lookup_by: 'dns' },
      { csr_pem: 'x' },
      { csr_pem: undefined },
      { host: ['web-01'] },
    ])
      expect(await peer.start(wrong), JSON.stringify(wrong)).toMatchObject(invalid);
    expect(await control.requests()).toEqual([]);
    await peer.start();
    expect(await peer.nonce({ extra: 1 })).toMatchObject(invalid);
    expect(await peer.nonce({ nonce: new Uint8Array(31) })).toMatchObject(invalid);
    expect(await peer.nonce({ nonce: `${'A'.repeat(43)}=` })).toMatchObject(invalid);
    expect((await peer.nonce()).status).toBe(200);
    expect(await peer.confirm({ extra: 1 })).toMatchObject(invalid);
    expect(await peer.confirm({ extra: undefined })).toMatchObject({ status: 202 });
    await control.command('approve', peer.id());
    expect((await peer.confirm()).status).toBe(200);
    expect(await peer.installed({ extra: 1 })).toMatchObject(invalid);
  });

  it('refuses what is not exactly one JSON object', async () => {
    const { post } = openedOnce();
    const objects = ['{', '{"v":2,"v":2}', '{"v":2,"__proto__":{}}', '{"v":2}{}', '\ufeff{}'];
    for (const body of ['', '[]', 'null', ...objects])
      for (const step of ['start', 'nonce', 'confirm', 'installed'])
        expect(await post(step, body), `${step} ${body}`).toMatchObject(invalid);
  });

  it('answers 413 above 16 KiB, and reads what is just as long', async () => {
    const { post } = openedOnce();
    expect((await post('start', 'x'.repeat(16_384))).status).toBe(400);
    const large = { status: 413, body: { status: 'error', error: 'too_large' } };
    expect(await post('start', 'x'.repeat(16_385))).toMatchObject(large);
    expect(await post('nonce', 'x'.repeat(1_000_000))).toMatchObject(large);
  });

  it('knows no other routes and methods', async () => {
    const { post } = openedOnce();
    for (const step of ['', 'other', 'start/', '../../run', 'constructor'])
      expect((await post(step, '{}')).status, step).toBe(404);
  });

  it('serves version 2 over TLS 1.3 alone', async () => {
    const { control, port, post } = await inPairingMode(identity());
    const old = await pairingPeer(postTo(port, { maxVersion: 'TLSv1.2' }), 'web-01');
    const refused = await old.start().then(
      ({ status }) => status,
      () => 'closed',
    );
    expect([400, 'closed']).toContain(refused);
    expect(await control.requests()).toEqual([]);
    expect((await (await pairingPeer(post, 'web-01')).start()).status).toBe(201);
  });

  it('tells addresses apart: the third request of one is answered 429, the first of another is not', async () => {
    const { port } = await inPairingMode(identity());
    const start = async (localAddress: string) =>
      (await (await pairingPeer(postTo(port, { localAddress }), 'web-01')).start()).status;
    const statuses: number[] = [];
    for (const address of [1, 1, 1, 2]) statuses.push(await start(`127.0.0.${address}`));
    expect(statuses).toEqual([201, 201, 429, 201]);
  });

  it('takes nothing more that people compare after three wrong codes, and ends with 1', {
    timeout: 10_000,
  }, async () => {
    const { control, mode, port } = await inPairingMode(identity());
    for (const address of ['127.0.0.1', '127.0.0.2', '127.0.0.3']) {
      const peer = await openPeer(postTo(port, { localAddress: address }), 'web-01');
      const wrong = peer.code() === '000000' ? '000001' : '000000';
      expect((await control.command('approve', peer.id(), '--code', wrong)).code).toBe(1);
    }
    expect((await (await pairingPeer(postTo(port), 'web-01')).start()).status).toBe(429);
    const { stdout } = await control.command('join-token', '--host', 'web-02');
    const joining = await pairingPeer(postTo(port), 'web-02', value(parseJoinToken(stdout)));
    expect((await joining.start()).status).toBe(201);
    const ended = await mode.process.stop();
    expect(ended).toMatchObject({ code: 1, signal: null });
    expect(ended.stderr.split('\n').filter((line) => line.includes('somebody is trying'))).toHaveLength(1);
  });
});
