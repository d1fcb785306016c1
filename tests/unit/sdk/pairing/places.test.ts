import { describe, expect, it } from 'vitest';
import { fromBase64url } from '../../../../src/domain/core/bytes.js';
import { parseJoinToken } from '../../../../src/domain/pairing/join-token.js';
import { caEndorsementMessage } from '../../../../src/domain/trust/lifecycle.js';
import { failure, value } from '../../../contract/result.js';
import { eventsOf } from '../../../support/fleet/events.js';
import { crypto } from '../../../support/fleet/memory-fleet.js';
import { legacyJoiner } from '../../../support/legacy/memory.js';
import { openedPort } from '../../../support/pairing/memory-port.js';
import { openPeer, type PairingPeer, type Post, pairingPeer } from '../../../support/pairing/peer.js';

type Opened = Awaited<ReturnType<typeof openedPort>>;

const full = { status: 429, body: { status: 'error', error: 'queue_full' } };
const another = { nonce: new Uint8Array(32) };
const startFrom = async (post: Post, host = 'web-01') => (await pairingPeer(post, host)).start();
const sources = ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4', '192.0.2.5'];

/** A code, and a second nonce: one try of whoever grinds codes. */
async function tryOnce(post: Post): Promise<PairingPeer> {
  const peer = await openPeer(post, 'web-01');
  expect((await peer.nonce(another)).status).toBe(400);
  return peer;
}

/** As many tries as the port lets through. */
async function tries({ from }: Opened): Promise<number> {
  let done = 0;
  for (const source of [...sources, ...sources, ...sources]) {
    const peer = await pairingPeer(from(source), 'web-01');
    if ((await peer.start()).status !== 201) continue;
    expect((await peer.nonce()).status).toBe(200);
    expect((await peer.nonce(another)).status).toBe(400);
    done += 1;
  }
  return done;
}

const issueToken = async ({ dispatcher }: Opened, host = 'web-01', ttl = 900) =>
  value(parseJoinToken(value(await dispatcher.issueJoinToken({ host, ttl })).token));

describe('code grinding', () => {
  it('has ten tries in ten minutes, from however many addresses', async () => {
    const port = await openedPort();
    expect(await tries(port)).toBe(10);
    await port.clock.advance(599_000);
    expect(await tries(port)).toBe(0);
    await port.clock.advance(1_000);
    expect(await tries(port)).toBe(10);
  });

  it('gets no further tries by a pairing mode that is started again', async () => {
    const port = await openedPort();
    expect(await tries(port)).toBe(10);
    value(await port.mode.close());
    value(await port.dispatcher.openPairing());
    expect(await tries(port)).toBe(0);
  });

  it('gets no further tries by requests that are left alone', async () => {
    const port = await openedPort();
    for (const source of sources) for (const host of ['a', 'b']) await openPeer(port.from(source), host);
    value(await port.mode.close());
    value(await port.dispatcher.openPairing());
    expect(await tries(port)).toBe(0);
  });

  it('has two tries from one address, or from one /64, and leaves the places of others alone', async () => {
    const { from } = await openedPort();
    await tryOnce(from('2001:db8:0:1::1'));
    await tryOnce(from('2001:db8:0:1::2'));
    expect(await startFrom(from('2001:db8:0:1:ffff::3'))).toMatchObject(full);
    expect((await startFrom(from('2001:db8:0:2::1'))).status).toBe(201);
  });

  it('is counted by version 1 as well, where whoever is gone has had a try', async () => {
    const port = await openedPort(undefined, { allowV1: true });
    for (const source of sources)
      for (const host of ['a', 'b']) {
        const asked = await (await legacyJoiner(port.fleet, host, source)).ask();
        expect(asked.first).toMatchObject({ status: 'pending' });
        asked.hangUp();
        await port.clock.advance(1);
      }
    const more = await (await legacyJoiner(port.fleet, 'c', '192.0.2.99')).ask();
    expect(more.first).toEqual({ status: 'error', reason: 'pairing queue full' });
    expect(await tries(port)).toBe(0);
    expect(eventsOf(port.events, 'pairing-given-up')).toHaveLength(1);
  });

  it('is an alarm at ten tries within an hour, once an hour, and closes nothing', async () => {
    const port = await openedPort();
    const alarms = () => eventsOf(port.events, 'pairing-given-up');
    expect(await tries(port)).toBe(10);
    expect(alarms()).toEqual([
      { action: 'pairing-given-up', level: 'error', fields: { requests: 10, ip: '192.0.2.5' } },
    ]);
    for (let turn = 0; turn < 5; turn += 1) {
      await port.clock.advance(600_000);
      expect(await tries(port)).toBe(10);
    }
    expect(alarms()).toHaveLength(1);
    await port.clock.advance(600_000);
    expect(await tries(port)).toBe(10);
    expect(alarms()).toHaveLength(2);
  });

  it('needs the request id to be the same, too', async () => {
    const { dispatcher, post } = await openedPort();
    const [one, two] = [await openPeer(post, 'web-01'), await openPeer(post, 'web-02')];
    const shown = `${one.id().slice(0, 8)}-${two.code()}`;
    expect(failure(await dispatcher.approve({ id: two.id(), code: shown })).code).toBe('codes_differ');
    const whole = `${one.id().slice(0, 8)}-${one.code()}`;
    value(await dispatcher.approve({ id: one.id(), code: whole.toUpperCase() }));
    expect((await one.confirm()).status).toBe(200);
  });
});

describe('a request that was given up', () => {
  it('is listed only where that is asked for, cannot be approved, and gives its place back when it is denied', async () => {
    const { dispatcher, post, listed } = await openedPort();
    const peers = [await tryOnce(post), await tryOnce(post)];
    expect(await startFrom(post)).toMatchObject(full);
    expect(await listed()).toEqual([]);
    const all = value(await dispatcher.pairingRequests({ givenUp: true }));
    expect(all.map(({ id }) => id).sort()).toEqual(peers.map((peer) => peer.id()).sort());
    const [id = ''] = peers.map((peer) => peer.id());
    expect(failure(await dispatcher.approve({ id })).code).toBe('pairing_unknown');
    value(await dispatcher.deny(id));
    expect(value(await dispatcher.pairingRequests({ givenUp: true }))).toHaveLength(1);
    expect((await startFrom(post)).status).toBe(201);
    expect(await startFrom(post)).toMatchObject(full);
  });

  it('is none where a person gave a wrong code: that person has decided', async () => {
    const { dispatcher, post } = await openedPort();
    const peer = await openPeer(post, 'web-01');
    const code = peer.code() === '000000' ? '000001' : '000000';
    expect(failure(await dispatcher.approve({ id: peer.id(), code })).code).toBe('codes_differ');
    expect(value(await dispatcher.pairingRequests({ givenUp: true }))).toEqual([]);
  });
});

describe('join tokens', () => {
  const pairs = async (peer: PairingPeer) => {
    expect((await peer.start()).status).toBe(201);
    expect((await peer.nonce()).status).toBe(200);
    expect((await peer.confirm()).status).toBe(200);
    expect((await peer.installed()).status).toBe(200);
  };

  it('go on while every place of what people compare is taken', async () => {
    const port = await openedPort('pairing_rate_limit_volume = 10/60/300\n');
    expect(await tries(port)).toBe(10);
    await pairs(await pairingPeer(port.from(sources[0] ?? ''), 'web-01', await issueToken(port)));
  });

  it('go on after three wrong codes, also those that were begun before', async () => {
    const port = await openedPort();
    const before = await pairingPeer(port.post, 'web-01', await issueToken(port));
    await before.start();
    const waiting = await openPeer(port.from('192.0.2.9'), 'web-09');
    for (const source of sources.slice(0, 3)) {
      const peer = await openPeer(port.from(source), 'a');
      const code = peer.code() === '000000' ? '000001' : '000000';
      failure(await port.dispatcher.approve({ id: peer.id(), code }));
    }
    expect(await startFrom(port.post)).toMatchObject(full);
    expect(await port.mode.comparingClosed).toBe('wrong codes');
    expect(eventsOf(port.events, 'pairing-codes-closed')).toHaveLength(1);
    expect((await waiting.confirm()).status).toBe(410);
    expect((await before.nonce()).status).toBe(200);
    expect((await before.confirm()).status).toBe(200);
    await pairs(await pairingPeer(port.post, 'web-02', await issueToken(port, 'web-02')));
  });

  it('pair many hosts behind one address at once', async () => {
    const port = await openedPort('pairing_rate_limit_volume = 10/60/300\n');
    const hosts = Array.from({ length: 25 }, (_, index) => `web-${index}`);
    const peers: PairingPeer[] = [];
    for (const host of hosts) peers.push(await pairingPeer(port.post, host, await issueToken(port, host)));
    for (const peer of peers) expect((await peer.start()).status).toBe(201);
    for (const peer of peers) expect((await peer.nonce()).status).toBe(200);
    for (const peer of peers) expect((await peer.confirm()).status).toBe(200);
  });

  it('that are unknown take no place, and are limited by rate', async () => {
    const port = await openedPort('pairing_rate_limit_volume = 3/60/300\n');
    const unknown = { id: new Uint8Array(8), secret: new Uint8Array(32) };
    const statuses: number[] = [];
    for (let turn = 0; turn < 5; turn += 1)
      statuses.push((await (await pairingPeer(port.post, 'web-01', unknown)).start()).status);
    expect(statuses).toEqual([403, 403, 403, 429, 429]);
    expect(value(await port.context.pairing.held(port.clock.now()))).toEqual([]);
  });

  it('are not blocked by a stranger who knows the id alone', async () => {
    const port = await openedPort();
    const token = await issueToken(port);
    const stranger = { id: token.id, secret: new Uint8Array(32) };
    const host = await pairingPeer(port.post, 'web-01', token);
    for (const source of sources)
      for (let turn = 0; turn < 3; turn += 1)
        await (await pairingPeer(port.from(source), 'web-01', stranger)).start();
    const held = value(await port.context.pairing.held(port.clock.now()));
    expect(held.length).toBeLessThanOrEqual(4);
    const refused = await pairingPeer(port.post, 'web-01', stranger);
    await refused.start();
    expect((await refused.nonce()).status).toBe(403);
    await pairs(host);
  });

  it('give their place back at once where they were not proved, and are no try at a code', async () => {
    const port = await openedPort();
    const token = await issueToken(port);
    for (let turn = 0; turn < 12; turn += 1) {
      const peer = await pairingPeer(port.post, 'web-01', { id: token.id, secret: new Uint8Array(32) });
      await peer.start();
      expect((await peer.nonce()).status).toBe(403);
      expect(value(await port.context.pairing.held(port.clock.now()))).toEqual([]);
    }
    expect(eventsOf(port.events, 'pairing-given-up')).toEqual([]);
    await (await pairingPeer(port.post, 'web-01', token)).start();
    await port.clock.advance(15_000);
    expect(value(await port.context.pairing.held(port.clock.now()))).toEqual([]);
  });

  it('do not replace the key of a host that became active meanwhile', async () => {
    const port = await openedPort();
    const [early, late] = await Promise.all(
      ['192.0.2.66', '192.0.2.67'].map(async (address) =>
        pairingPeer(port.from(address), 'web-01', await issueToken(port)),
      ),
    );
    if (!early || !late) throw new Error('nobody');
    await early.start();
    expect((await early.nonce()).status).toBe(200);
    await late.start();
    const host = await openPeer(port.post, 'web-01');
    value(await port.dispatcher.approve({ id: host.id() }));
    expect((await host.confirm()).status).toBe(200);
    expect((await host.installed()).status).toBe(200);
    const before = value(await port.dispatcher.agents());
    // Its token was burnt with the key of the host; the other one is still as it was issued.
    expect(await early.confirm()).toMatchObject({ status: 403, body: { error: 'join_refused' } });
    expect((await late.nonce()).status).toBe(200);
    expect(await late.confirm()).toMatchObject({ status: 409, body: { error: 'name_registered' } });
    for (const thief of [early, late]) expect((await thief.confirm()).status).toBe(403);
    expect(value(await port.dispatcher.agents())).toEqual(before);
  });

  it('that were taken back between two messages are of no use, and that is no alarm', async () => {
    const port = await openedPort();
    const { token } = value(await port.dispatcher.issueJoinToken({ host: 'web-01' }));
    const peer = await pairingPeer(port.post, 'web-01', value(parseJoinToken(token)));
    await peer.start();
    expect(value(await port.dispatcher.withdrawJoinToken(token))).toBe(true);
    expect(await peer.nonce()).toMatchObject({ status: 403, body: { error: 'join_refused' } });
    expect(eventsOf(port.events, 'join-token-misused')).toEqual([]);
  });

  it.each(['nonce', 'confirm'] as const)('that expired before %s are of no use', async (last) => {
    const port = await openedPort();
    const peer = await pairingPeer(port.post, 'web-01', await issueToken(port, 'web-01', 5));
    await peer.start();
    if (last === 'confirm') await peer.nonce();
    await port.clock.advance(5_000);
    expect(await peer[last]()).toMatchObject({ status: 403, body: { error: 'join_refused' } });
    expect(value(await port.dispatcher.agents())).toEqual([]);
  });

  it('are burnt with the pin that becomes active, in one step', async () => {
    const port = await openedPort();
    const token = await issueToken(port);
    const peer = await pairingPeer(port.post, 'web-01', token);
    await peer.start();
    await peer.nonce();
    expect((await peer.confirm()).status).toBe(200);
    expect((await peer.installed()).status).toBe(200);
    const kept = value(await port.context.joinTokens.find(Buffer.from(token.id).toString('hex')));
    expect(kept?.burntAt).toBe(port.clock.now());
    expect(await (await pairingPeer(port.post, 'web-01', token)).start()).toMatchObject({ status: 403 });
  });
});

describe('what the pairing port refuses', () => {
  it('is one line a minute of each source, by version 2 and by version 1', async () => {
    const port = await openedPort(undefined, { allowV1: true });
    const refusals = () => eventsOf(port.events, 'pairing-refused');
    for (let turn = 0; turn < 50; turn += 1) {
      await port.post('start', 'no JSON');
      await port.post('nonce', '{}');
      await port.from(`2001:db8::${turn.toString(16)}`)('confirm', '{}');
      await (await legacyJoiner(port.fleet, 'web-01', '192.0.2.7')).ask({ nonce: 'short' });
    }
    expect(refusals().map(({ fields }) => [fields.ip, fields.step])).toEqual([
      ['192.0.2.1', '/pair/v2/start'],
      ['2001:db8::0', '/pair/v2/confirm'],
      ['192.0.2.7', '/pair'],
    ]);
    await port.clock.advance(60_000);
    await port.post('start', 'no JSON');
    expect(refusals().at(-1)?.fields).toMatchObject({ ip: '192.0.2.1', more: 99 });
  });
});

describe('endorsements of a CA that is being replaced', () => {
  const header = [['ctrl-exec-pair-features', 'other, ca-endorsements']] as const;
  const endorsements = async (port: Opened, headers: Parameters<Opened['from']>[1]) => {
    const peer = await pairingPeer(port.from('192.0.2.1', headers), 'web-01');
    const { body } = await peer.start();
    await peer.nonce();
    value(await port.dispatcher.approve({ id: peer.id(), code: peer.code() }));
    expect((await peer.confirm()).status).toBe(200);
    value(await port.dispatcher.unpair('web-01'));
    return body['ca_endorsements'];
  };

  it('are in M2, and in what both hash, where the agent asks for them', async () => {
    const port = await openedPort();
    expect(await endorsements(port, header)).toBeUndefined();
    const now = port.clock.now();
    value(await port.context.authority.succeed({ notBefore: now - 1000, notAfter: now + 9e9 }));
    const [current, previous] = value(await port.context.authority.certificates());
    const [sent, ...others] = (await endorsements(port, header)) as readonly string[];
    expect(others).toEqual([]);
    const signature = fromBase64url(sent ?? '') ?? new Uint8Array();
    const message = caEndorsementMessage(current?.der ?? new Uint8Array());
    expect(crypto.verify(previous?.spki ?? new Uint8Array(), message, signature)).toBe(true);
    expect(await endorsements(port, [])).toBeUndefined();
    expect(await endorsements(port, [['ctrl-exec-pair-features', 'ca-endorsements2']])).toBeUndefined();
  });
});
