import { describe, expect, it } from 'vitest';
import { failure, value } from '../../../contract/result.js';
import { openedPort as opened } from '../../../support/pairing/memory-port.js';
import { openPeer, type PairingPeer, type Post, pairingPeer } from '../../../support/pairing/peer.js';

const full = { status: 429, body: { status: 'error', error: 'queue_full' } };
const expired = { status: 410, body: { status: 'expired' } };
const startFrom = async (post: Post, host = 'web-01') => (await pairingPeer(post, host)).start();

async function startedPeer(post: Post, host = 'web-01'): Promise<PairingPeer> {
  const peer = await pairingPeer(post, host);
  expect((await peer.start()).status).toBe(201);
  return peer;
}

describe('a pairing session', () => {
  it('that has not sent its nonce within 15 s has expired', async () => {
    const { clock, post, listed } = await opened();
    const late = await startedPeer(post);
    await clock.advance(14_999);
    const inTime = await startedPeer(post);
    await clock.advance(1);
    expect(await late.nonce()).toMatchObject(expired);
    expect((await inTime.nonce()).status).toBe(200);
    expect((await listed()).map(({ id }) => id)).toEqual([inTime.id()]);
  });

  it('that has sent its nonce lives for 600 s from its beginning, then nobody can approve it', async () => {
    const { clock, dispatcher, post, listed } = await opened();
    const peer = await startedPeer(post);
    await clock.advance(10_000);
    expect((await peer.nonce()).status).toBe(200);
    await clock.advance(589_999);
    expect((await peer.confirm()).status).toBe(202);
    await clock.advance(1);
    const late = await dispatcher.approve({ id: peer.id() });
    expect(failure(late).code).toBe('pairing_unknown');
    expect(await peer.confirm()).toMatchObject(expired);
    expect(await listed()).toEqual([]);
  });

  it('does not live longer for sending the same nonce again, nor keeps its place', async () => {
    const { clock, post } = await opened();
    const peers = [await openPeer(post, 'web-01'), await openPeer(post, 'web-02')];
    await clock.advance(599_000);
    for (const peer of peers) await peer.nonce();
    await clock.advance(2_000);
    for (const peer of peers) expect(await peer.confirm()).toMatchObject(expired);
    expect((await startFrom(post)).status).toBe(201);
  });

  it('that was approved in time, but confirmed too late, gets no certificate', async () => {
    const { clock, dispatcher, post } = await opened();
    const peer = await openPeer(post, 'web-01');
    await clock.advance(599_999);
    value(await dispatcher.approve({ id: peer.id() }));
    await clock.advance(1);
    expect(await peer.confirm()).toMatchObject(expired);
    expect(value(await dispatcher.agents())).toEqual([]);
  });

  it('has expired when pairing mode has ended, also for the next pairing mode', async () => {
    const { dispatcher, mode, post, listed } = await opened();
    const peer = await openPeer(post, 'web-01');
    value(await mode.close());
    expect(await listed()).toEqual([]);
    value(await dispatcher.openPairing());
    expect(await peer.confirm()).toMatchObject(expired);
    expect(await peer.nonce()).toMatchObject(expired);
  });

  it('is decided once: of approve and deny at the same moment exactly one holds', async () => {
    for (const first of ['approve', 'deny'] as const) {
      const { dispatcher, post } = await opened();
      const peer = await openPeer(post, 'web-01');
      const id = peer.id();
      const decisions =
        first === 'approve'
          ? [dispatcher.approve({ id }), dispatcher.deny(id)]
          : [dispatcher.deny(id), dispatcher.approve({ id })];
      const outcomes = (await Promise.all(decisions)).map((outcome) => outcome.isOk());
      expect(outcomes.filter(Boolean)).toHaveLength(1);
      const approved = outcomes[0] === (first === 'approve');
      expect((await peer.confirm()).status).toBe(approved ? 200 : 403);
    }
  });

  it('issues one certificate, however many confirmations come at the same moment', async () => {
    const { dispatcher, events, post } = await opened();
    const peer = await openPeer(post, 'web-01');
    value(await dispatcher.approve({ id: peer.id() }));
    const answers = await Promise.all(Array.from({ length: 5 }, () => peer.confirm()));
    expect(new Set(answers.map(({ body }) => body['cert_pem'])).size).toBe(1);
    expect(events.events.filter(({ action }) => action === 'pairing-issued')).toHaveLength(1);
  });

  it('gives one nonce for one: of two different ones at the same moment only the first is answered', async () => {
    const { post } = await opened();
    const peer = await startedPeer(post);
    const answers = await Promise.all([peer.nonce(), peer.nonce({ nonce: new Uint8Array(32) })]);
    expect(answers.map(({ status }) => status)).toEqual([200, 400]);
    expect((await peer.confirm()).status).toBe(403);
  });
});

describe('the queue of the pairing port', () => {
  it('holds two requests of an address and ten of all', async () => {
    const { from, listed } = await opened();
    for (const address of ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4', '192.0.2.5']) {
      expect((await startFrom(from(address))).status).toBe(201);
      expect((await startFrom(from(address))).status).toBe(201);
      expect(await startFrom(from(address))).toMatchObject(full);
    }
    expect(await startFrom(from('192.0.2.6'))).toMatchObject(full);
    expect(await listed()).toHaveLength(10);
  });

  it('holds as many as pairing_max_queue says', async () => {
    const { from } = await opened('pairing_max_queue = 1\n');
    expect((await startFrom(from('192.0.2.1'))).status).toBe(201);
    expect(await startFrom(from('192.0.2.2'))).toMatchObject(full);
  });

  it('holds no more when they come at the same moment', async () => {
    const { from, listed } = await opened();
    const many = Array.from({ length: 30 }, (_, index) => `192.0.2.${Math.floor(index / 5)}`);
    const peers = await Promise.all(many.map((address) => pairingPeer(from(address), 'web-01')));
    const refused = (await Promise.all(peers.map((peer) => peer.start()))).filter(
      ({ status }) => status !== 201,
    );
    for (const answer of refused) expect(answer).toMatchObject(full);
    expect(refused).toHaveLength(20);
    const waiting = await listed();
    expect(waiting).toHaveLength(10);
    for (const { ip } of waiting)
      expect(waiting.filter((other) => other.ip === ip).length).toBeLessThanOrEqual(2);
  });

  it('has room again when a request has expired before its code was known, or was paired', async () => {
    const { clock, dispatcher, post } = await opened();
    await startedPeer(post);
    const paired = await openPeer(post, 'web-02');
    expect(await startFrom(post)).toMatchObject(full);
    value(await dispatcher.approve({ id: paired.id() }));
    expect((await paired.confirm()).status).toBe(200);
    await startedPeer(post, 'web-03');
    expect(await startFrom(post)).toMatchObject(full);
    await clock.advance(15_000);
    expect((await startFrom(post)).status).toBe(201);
  });

  it('has room again when a request was denied, although its agent does not ask', async () => {
    const { dispatcher, post } = await opened();
    for (const host of ['web-01', 'web-02']) value(await dispatcher.deny((await openPeer(post, host)).id()));
    expect((await startFrom(post)).status).toBe(201);
  });

  it('is not taken up by requests that are refused', async () => {
    const { post, listed } = await opened();
    const peer = await pairingPeer(post, 'web-01');
    for (const wrong of [{ csr_pem: 'no CSR' }, { host: '../x' }, { extra: 1 }])
      for (let times = 0; times < 5; times += 1) expect((await peer.start(wrong)).status).toBe(400);
    expect((await peer.start()).status).toBe(201);
    expect(await listed()).toHaveLength(1);
  });
});

describe('the rate limit of the pairing port', () => {
  it('counts beginnings by address, not polls, and blocks for as long as it says', async () => {
    const { clock, post, from } = await opened('pairing_rate_limit_volume = 3/60/300\n');
    const peer = await openPeer(post, 'web-01');
    for (let polls = 0; polls < 20; polls += 1) expect((await peer.confirm()).status).toBe(202);
    expect((await startFrom(post)).status).toBe(201);
    expect(await startFrom(post)).toMatchObject(full);
    await clock.advance(15_000);
    expect(await startFrom(post)).toMatchObject(full);
    expect((await peer.confirm()).status).toBe(202);
    expect((await startFrom(from('192.0.2.2'))).status).toBe(201);
    await clock.advance(299_999);
    expect(await startFrom(post)).toMatchObject(full);
    await clock.advance(1);
    expect((await startFrom(post)).status).toBe(201);
  });
});

describe('closing pairing mode', () => {
  it('is an event, once, however often it is closed', async () => {
    const { events, mode } = await opened();
    const closed = () => events.events.filter(({ action }) => action === 'pairing-mode-closed');
    expect(closed()).toEqual([]);
    for (const closing of [mode.close(), mode.close()]) value(await closing);
    value(await mode.close());
    expect(closed()).toEqual([
      { action: 'pairing-mode-closed', fields: { bind: mode.bind, port: mode.port } },
    ]);
  });
});

describe('wrong codes', () => {
  const wrongFor = (peer: PairingPeer) => (peer.code() === '000000' ? '000001' : '000000');

  it('refuse the request and end its session', async () => {
    const { dispatcher, post, listed } = await opened();
    const peer = await openPeer(post, 'web-01');
    const refused = await dispatcher.approve({ id: peer.id(), code: wrongFor(peer) });
    expect(failure(refused).code).toBe('codes_differ');
    expect((await dispatcher.approve({ id: peer.id(), code: peer.code() })).isErr()).toBe(true);
    expect(await peer.confirm()).toMatchObject({ status: 403, body: { status: 'denied' } });
    expect(await listed()).toEqual([]);
  });
});
