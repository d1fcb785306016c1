import { describe, expect, it } from 'vitest';
import { x509CertificateAuthority } from '../../../src/adapters/x509/certificate-authority.js';
import {
  type Succession,
  successionMessage,
  successionToJson,
} from '../../../src/domain/trust/succession.js';
import { contact } from '../../../src/sdk/dispatcher/fleet/contact.js';
import type { Presence } from '../../../src/sdk/dispatcher/trust/identity.js';
import { reconcileFirst } from '../../../src/sdk/dispatcher/trust/reconcile/reconcile.js';
import { ping } from '../../../src/sdk/protocol/endpoints.js';
import { failure, value } from '../../contract/result.js';
import { eventsOf } from '../../support/fleet/events.js';
import {
  ask,
  type Control,
  day,
  identityOf,
  lifecycle,
  nth,
  paired,
  pingFails,
  presenceOf,
  recordOf,
  runFails,
  secondDispatcher,
  stateOf,
} from '../../support/fleet/lifecycle.js';
import { crypto, pairAgent } from '../../support/fleet/memory-fleet.js';

const names = ['a', 'b', 'c', 'd'] as const;
const half = ['c', 'd'] as const;

/** Four hosts that have been spoken with. */
async function fleetOfFour() {
  const world = await lifecycle(names);
  for (const name of names) expect(await pingFails(world.control, name)).toBeUndefined();
  return world;
}

const rotated = async ({ dispatcher }: Control, insist = false) => value(await dispatcher.rotate({ insist }));

const states = async ({ dispatcher }: Control) => {
  const { agents } = value(await dispatcher.serialStatus());
  return Object.fromEntries(agents.map(({ name, state }) => [name, state]));
};

const serialsTrusted = async (host: Parameters<typeof stateOf>[0]) =>
  (await stateOf(host)).trust.map((line) => line.split(' ')[0]);

describe('a rotation', () => {
  it('goes through its phases: announced, acknowledged, in use, retired after the overlap', async () => {
    const { control, clock, host } = await fleetOfFour();
    const old = (await identityOf(control)).own.current;
    const { state, next, acknowledged } = await rotated(control);
    expect({ state, acknowledged: [...acknowledged].sort() }).toEqual({
      state: 'switched',
      acknowledged: names,
    });
    const status = value(await control.dispatcher.serialStatus());
    expect(status).toMatchObject({ current: next, previous: old, next: undefined });
    expect(status.overlapEnds).toBe(clock.now() + 30 * day);
    expect(await serialsTrusted(host('a'))).toEqual([old, next]);
    await clock.advance(30 * day - 1000);
    await control.dispatcher.maintain();
    expect(await serialsTrusted(host('a'))).toEqual([old, next]);
    await clock.advance(1000);
    expect(value(await control.dispatcher.maintain()).told).toEqual(names);
    for (const name of names) expect(await serialsTrusted(host(name))).toEqual([next]);
    expect(value(await control.dispatcher.serialStatus()).previous).toBeUndefined();
    const items = ['dispatcher-previous-key', 'dispatcher-previous-certificate'] as const;
    const kept = value(await control.context.keyStore.read(items));
    expect(Object.values(kept)).toEqual([undefined, undefined]);
    expect(await runFails(control, 'a')).toBeUndefined();
  });

  it('comes by itself, when fewer than cert_renewal_days remain, and not before', async () => {
    const { control, clock } = await fleetOfFour();
    const old = (await identityOf(control)).own.current;
    await clock.advance(274 * day);
    expect(value(await control.dispatcher.maintain()).rotation).toBeUndefined();
    await clock.advance(2 * day);
    expect(value(await control.dispatcher.maintain()).rotation).toMatchObject({
      state: 'switched',
      old,
    });
    expect(value(await control.dispatcher.maintain()).rotation).toBeUndefined();
  });

  it('leaves agents that are away pending; back inside the overlap they are told at the first contact', async () => {
    const { control, clock, host } = await fleetOfFour();
    for (const name of half) await host(name).down();
    const { state, pending } = await rotated(control);
    expect(state).toBe('switched');
    expect(pending.map(({ name }) => name).sort()).toEqual(half);
    expect(await states(control)).toEqual({ a: 'current', b: 'current', c: 'pending', d: 'pending' });
    await clock.advance(29 * day);
    for (const name of half) await host(name).up();
    // One by a run, the other by maintenance.
    expect(await runFails(control, 'c')).toBeUndefined();
    expect(value(await control.dispatcher.maintain()).told).toContain('d');
    expect(await states(control)).toEqual({ a: 'current', b: 'current', c: 'current', d: 'current' });
    const accepted = host('c').test.events.events.filter(({ action }) => action === 'succession-accepted');
    expect(accepted).toEqual([]);
  });

  it('leaves them stale when the overlap ends; back after it they follow by succession', async () => {
    const { control, clock, host } = await fleetOfFour();
    for (const name of half) await host(name).down();
    await rotated(control);
    await clock.advance(31 * day);
    const { stale } = value(await control.dispatcher.maintain());
    expect(stale).toEqual(half);
    // A further rotation, that they miss as well.
    await rotated(control);
    await clock.advance(31 * day);
    await control.dispatcher.maintain();
    for (const name of half) await host(name).up();
    expect(await runFails(control, 'c')).toBeUndefined();
    const { stale: none, told } = value(await control.dispatcher.maintain());
    expect({ none, told }).toEqual({ none: [], told: ['d'] });
    for (const name of half) {
      expect(host(name).test.events.events).toContainEqual(
        expect.objectContaining({
          action: 'succession-accepted',
          fields: expect.objectContaining({ steps: 2, dispatcher: 'control' }),
        }),
      );
      await control.dispatcher.maintain();
      expect(await serialsTrusted(host(name))).toEqual([(await identityOf(control)).own.current]);
    }
  });

  it('is survived by an agent whose trust was restored from a backup', async () => {
    const { control, clock, host } = await fleetOfFour();
    const items = ['trusted-dispatchers', 'dispatcher-certificates'] as const;
    const backup = value(await host('a').keyStore.read(items));
    for (let turn = 0; turn < 3; turn += 1) {
      await rotated(control);
      await clock.advance(31 * day);
      await control.dispatcher.maintain();
    }
    for (const restored of [
      () => runFails(control, 'a'),
      async () => {
        const { failed } = value(await control.dispatcher.maintain());
        return failed[0]?.reason;
      },
    ]) {
      await host('a').down();
      value(
        await host('a').keyStore.replace({
          'trusted-dispatchers': backup['trusted-dispatchers'] ?? null,
          'dispatcher-certificates': backup['dispatcher-certificates'] ?? null,
        }),
      );
      await host('a').up();
      // Something to be told, or maintenance has no reason to speak with it.
      value(await control.dispatcher.revoke('abcdef'));
      expect(await restored()).toBeUndefined();
      expect((await states(control))['a']).toBe('current');
    }
  });

  it('reaches an agent that is asked by another spelling of its name', async () => {
    const { control, host, clock } = await fleetOfFour();
    value(await control.dispatcher.editAgent('c', { rename: 'shop' }));
    await host('c').down();
    await rotated(control);
    await clock.advance(31 * day);
    await host('c').up();
    expect(await runFails(control, 'c:7443')).toBeUndefined();
  });

  it('is gone on with where the identity has expired meanwhile', async () => {
    const { control, clock, host } = await fleetOfFour();
    await clock.advance(366 * day);
    const outcome = await control.dispatcher.run({ hosts: ['a'], script: 'greet' });
    expect(failure(outcome).message).toContain('rotate-cert');
    expect(await rotated(control)).toMatchObject({ state: 'switched' });
    // The agents' own certificates have expired as well.
    for (const name of names)
      expect(value((await control.dispatcher.readmit(name)).map(({ name: of }) => of))).toBe(name);
    for (const name of names) expect(await runFails(control, name)).toBeUndefined();
    expect(await serialsTrusted(host('a'))).toContain((await identityOf(control)).own.current);
  });

  it('of another dispatcher is none of its business: neither retires a serial of the other', async () => {
    const { control, fleet, clock, host } = await fleetOfFour();
    const second = await secondDispatcher(fleet, control);
    await paired(second, host('a'));
    await host('a').restart();
    expect(await runFails(second, 'a')).toBeUndefined();
    for (let turn = 0; turn < 2; turn += 1) {
      await rotated(control);
      await clock.advance(31 * day);
      await control.dispatcher.maintain();
      expect(await runFails(second, 'a')).toBeUndefined();
      await rotated(second);
      await clock.advance(31 * day);
      await second.dispatcher.maintain();
      expect(await runFails(control, 'a')).toBeUndefined();
    }
    const own = [control, second].map(async (each) => (await identityOf(each)).own.current);
    expect([...(await serialsTrusted(host('a')))].sort()).toEqual((await Promise.all(own)).sort());
  });

  it('and pairing in another process do not undo each other at an agent', async () => {
    const { control, fleet, host } = await fleetOfFour();
    const second = await secondDispatcher(fleet, control);
    // The agent that serves has not been told to read it yet.
    await paired(second, host('a'));
    await rotated(control);
    await host('a').reload();
    expect(await runFails(second, 'a')).toBeUndefined();
    expect(await runFails(control, 'a')).toBeUndefined();
  });

  it('trusts both serials from the start where an agent pairs while one is announced', async () => {
    const { control, fleet, clock, host } = await lifecycle(['a']);
    await pingFails(control, 'a');
    host('a').full = true;
    expect(await rotated(control)).toMatchObject({ state: 'waiting' });
    const opened = value(await control.dispatcher.openPairing());
    const joining = fleet.agent('new');
    value(await pairAgent(fleet, control, joining, { dispatcher: 'control.test' }));
    await opened.close();
    value(await joining.agent.serve());
    const { own } = await identityOf(control);
    expect((await recordOf(control, 'new')).standing.serials).toEqual([own.current, own.next]);
    expect((await states(control))['new']).toBe('current');
    expect(await rotated(control, true)).toMatchObject({ state: 'switched' });
    await clock.advance(31 * day);
    await control.dispatcher.maintain();
    expect(await runFails(control, 'new')).toBeUndefined();
    const followed = joining.events.events.filter(({ action }) => action === 'succession-accepted');
    expect(followed).toEqual([]);
  });
});

describe('an agent that refuses the next serial', () => {
  async function refused() {
    const world = await fleetOfFour();
    world.host('a').full = true;
    return { ...world, disk: world.host('a') };
  }

  it('keeps the switch waiting, and a later pass goes on', async () => {
    const { control, disk } = await refused();
    const { current } = value(await control.dispatcher.serialStatus());
    const first = await rotated(control);
    expect(first).toMatchObject({ state: 'waiting', refused: [{ name: 'a' }] });
    expect(value(await control.dispatcher.serialStatus())).toMatchObject({
      current,
      next: first.next,
    });
    expect((await states(control))['a']).toBe('pending');
    for (const name of names) expect(await runFails(control, name)).toBeUndefined();
    disk.full = false;
    expect(value(await control.dispatcher.maintain()).rotation).toMatchObject({
      state: 'switched',
      next: first.next,
    });
  });

  it('is left behind when the operator insists, and follows by itself when it can', async () => {
    const { control, disk } = await refused();
    expect(await rotated(control, true)).toMatchObject({ state: 'switched', refused: [{ name: 'a' }] });
    expect(await runFails(control, 'a')).toContain('could not store it');
    expect(await runFails(control, 'b')).toBeUndefined();
    disk.full = false;
    expect(await runFails(control, 'a')).toBeUndefined();
  });

  it('is left behind when half of the time for a rotation is over', async () => {
    const { control, clock, add } = await lifecycle([]);
    await clock.advance(280 * day);
    const host = await add('a');
    await pingFails(control, 'a');
    host.full = true;
    expect((await rotated(control)).state).toBe('waiting');
    await clock.advance(40 * day - 2000);
    expect((await rotated(control)).state).toBe('waiting');
    await clock.advance(4000);
    expect((await rotated(control)).state).toBe('switched');
  });

  it('has waited until the next certificate expired: another one is made', async () => {
    const { control, clock, host, disk } = await refused();
    const { next } = await rotated(control);
    await clock.advance(366 * day);
    disk.full = false;
    const second = await rotated(control);
    expect(second.next).not.toBe(next);
    for (const name of names) value(await control.dispatcher.readmit(name));
    await control.dispatcher.maintain();
    // The one that was given up is followed by nobody, so that nobody retires it. Its certificate has expired.
    for (const name of names.slice(1)) {
      expect(await serialsTrusted(host(name))).toContain(next);
      expect(await runFails(control, name)).toBeUndefined();
    }
  });
});

describe('a rotation that is interrupted is gone on with', () => {
  it.each([1, 2, 3])('at write %i of the key store', async (n) => {
    const { control, clock, host } = await fleetOfFour();
    await clock.advance(276 * day);
    // The agents' own certificates are due as well, and are not what this is about.
    expect(value(await control.restarted().dispatcher.maintain()).failed).toEqual([]);
    await clock.advance(276 * day);
    const old = (await identityOf(control)).own.current;
    control.writeFails = nth(n);
    const first = await control.dispatcher.maintain();
    // A pass that failed has renewed agents all the same.
    expect(first.isErr()).toBe(true);
    for (const name of names) {
      const { certificate } = await stateOf(host(name));
      expect(certificate.notAfter).toBeGreaterThan(clock.now() + 364 * day);
      expect(await runFails(control, name)).toBeUndefined();
    }
    const again = control.restarted();
    const second = value(await again.dispatcher.maintain());
    expect(second.failed).toEqual([]);
    expect((await identityOf(again)).own.current).not.toBe(old);
    for (const name of names) expect(await runFails(again, name)).toBeUndefined();
    await clock.advance(31 * day);
    await again.dispatcher.maintain();
    for (const name of names)
      expect(await serialsTrusted(host(name))).toEqual([(await identityOf(again)).own.current]);
  });

  it.each(['request', 'answer'] as const)(
    'where the %s of each /rotate-serial is lost once',
    async (loss) => {
      const { control, clock, host } = await fleetOfFour();
      const lost = new Set<string>();
      let turn = 0;
      control.fault = (path) => {
        if (path !== '/rotate-serial' || lost.size >= 4) return undefined;
        turn += 1;
        lost.add(String(turn));
        return loss;
      };
      const first = await rotated(control);
      expect(first.pending).toHaveLength(4);
      control.fault = () => undefined;
      for (const name of names) expect(await runFails(control, name)).toBeUndefined();
      await clock.advance(31 * day);
      await control.dispatcher.maintain();
      for (const name of names) expect(await serialsTrusted(host(name))).toEqual([first.next]);
    },
  );
});

describe('no run fails because of a rotation', () => {
  it('a process that still has the identity of before, and something to tell, does not take the next one away', async () => {
    const { control, host } = await fleetOfFour();
    const before = await identityOf(control);
    const record = await recordOf(control, 'a');
    // The agent has missed a revocation, so that there is something to tell.
    await host('a').down();
    value(await control.dispatcher.revoke('abcdef'));
    await host('a').up();
    host('b').full = true;
    const { next } = await rotated(control);
    expect(await serialsTrusted(host('a'))).toContain(next);
    const agent = { host: 'a', record, dial: { host: 'a', port: 7443 } };
    const stale = { ...agent, record: { ...record, standing: { ...record.standing, caSet: undefined } } };
    value(await reconcileFirst(control.context, before, stale));
    expect(await serialsTrusted(host('a'))).toContain(next);
  });

  it('a run that has waited while its identity was replaced twice goes on with the present one', async () => {
    const { control, clock } = await fleetOfFour();
    const [identity, record] = [await identityOf(control), await recordOf(control, 'a')];
    for (let turn = 0; turn < 2; turn += 1) {
      await rotated(control);
      await clock.advance(31 * day);
      await control.dispatcher.maintain();
    }
    const addressed = { host: 'a', record, dial: { host: 'a', port: 7443 } };
    const options = { answerTimeout: 10_000 };
    const { answer } = value(await contact(control.context, identity, addressed, ping, {}, options));
    expect(answer.outcome).toBe('pong');
    expect((await states(control))['a']).toBe('current');
  });
});

describe('a stranger', () => {
  /** An agent that was away for two rotations, and the records that lead there. */
  async function behind() {
    const world = await fleetOfFour();
    const { control, clock, host } = world;
    await host('a').down();
    const former = await identityOf(control);
    await rotated(control);
    await clock.advance(31 * day);
    await rotated(control);
    await clock.advance(31 * day);
    await control.dispatcher.maintain();
    await host('a').up();
    const identity = await identityOf(control);
    return { ...world, former, identity, chain: identity.rotation.successions };
  }
  const claim = (presence: Presence, succession: unknown, over: object = {}) => ({
    serial: presence.certificate.serial,
    action: 'add',
    pem: presence.certificate.pem,
    succession,
    ...over,
  });
  const json = (chain: readonly Succession[]) => chain.map(successionToJson);
  const step = (from: Presence, to: Presence): Succession => {
    const fields = { old: from.certificate.serial, new: to.certificate.serial, at: 1 };
    const sig = from.signer.key.sign(successionMessage(fields, to.certificate.der));
    return { ...fields, newPem: to.certificate.pem, sig };
  };

  it('may do nothing but /rotate-serial, with a chain', async () => {
    const { control, identity } = await behind();
    for (const path of ['/run', '/ping', '/renew', '/renew-complete', '/v2/crl', '/v2/cas', '/nothing']) {
      const { status, json: answer } = await ask(control, identity, 'a', path, {});
      expect({ path, status, error: answer['error'] }).toEqual({
        path,
        status: 403,
        error: 'serial mismatch',
      });
    }
    const own = { serial: identity.certificate.serial, action: 'add' };
    for (const body of [{}, own, { ...own, pem: identity.certificate.pem }, { ...own, succession: 'all' }])
      expect((await ask(control, identity, 'a', '/rotate-serial', body)).status).toBe(403);
  });

  it('is let in by the unbroken chain, and by one that begins earlier', async () => {
    const { control, identity, chain } = await behind();
    const answer = await ask(control, identity, 'a', '/rotate-serial', claim(identity, json(chain)));
    expect(answer).toMatchObject({ status: 200, json: { status: 'ok', dispatcher: 'control' } });
  });

  it.each<[string, (parts: Awaited<ReturnType<typeof behind>>) => Promise<[Presence, unknown, object?]>]>([
    ['of no step', async ({ identity }) => [identity, []]],
    ['with a gap', async ({ identity, chain }) => [identity, json(chain.slice(1))]],
    ['in the wrong order', async ({ identity, chain }) => [identity, json(chain.toReversed())]],
    ['that ends too early', async ({ identity, chain }) => [identity, json(chain.slice(0, 1))]],
    [
      'with a forged signature',
      async ({ identity, chain }) => [
        identity,
        json(chain.map((each) => ({ ...each, sig: each.sig.map((b) => b ^ 1) }))),
      ],
    ],
    [
      'with another certificate in a step',
      async ({ control, identity, chain }) => {
        const { certificate } = await presenceOf(control, 'control');
        return [identity, json(chain.map((each) => ({ ...each, newPem: certificate.pem })))];
      },
    ],
    [
      'that is signed by a key that is not trusted',
      async ({ control, former, chain }) => {
        const mallory = await presenceOf(control, 'control');
        const forged = { ...step(mallory, mallory), old: former.certificate.serial };
        return [mallory, json([...chain.slice(0, 0), forged])];
      },
    ],
    [
      'to a certificate of another dispatcher',
      async ({ control, former }) => {
        const other = await presenceOf(control, 'second');
        return [other, json([step(former, other)])];
      },
    ],
    [
      'for another serial than its own',
      async ({ identity, chain }) => [identity, json(chain), { serial: 'abcdef' }],
    ],
    ['for a removal', async ({ identity, chain }) => [identity, json(chain), { action: 'remove' }]],
    [
      'of too many steps',
      async ({ identity, chain }) => [
        identity,
        json(Array.from({ length: 33 }, () => chain[0] as Succession)),
      ],
    ],
    [
      'with a member that is not known',
      async ({ identity, chain }) => [identity, json(chain).map((each) => ({ ...each, more: 1 }))],
    ],
    [
      'with a signature that is no base64',
      async ({ identity, chain }) => [identity, json(chain).map((each) => ({ ...each, sig: '***' }))],
    ],
    [
      'that somebody else than who it leads to shows',
      async ({ control, chain }) => [await presenceOf(control, 'control'), json(chain)],
    ],
  ])('is refused with a chain %s', async (_, make) => {
    const parts = await behind();
    const [presence, succession, over] = await make(parts);
    const before = await serialsTrusted(parts.host('a'));
    const answer = await ask(
      parts.control,
      presence,
      'a',
      '/rotate-serial',
      claim(presence, succession, over),
    );
    expect(answer).toMatchObject({ status: 403, json: { error: 'serial mismatch' } });
    expect(await serialsTrusted(parts.host('a'))).toEqual(before);
    expect(parts.host('a').test.events.events).toContainEqual(
      expect.objectContaining({ action: 'succession-refused' }),
    );
  });

  it('is refused with a chain whose last serial is revoked', async () => {
    const { control, host, identity, chain, former } = await behind();
    value(await host('a').keyStore.replace({ 'revoked-serials': `${identity.certificate.serial}\n` }));
    await host('a').reload();
    const answer = await ask(control, identity, 'a', '/rotate-serial', claim(identity, json(chain)));
    expect(answer.status).toBe(403);
    expect(await serialsTrusted(host('a'))).toEqual([former.certificate.serial]);
  });

  it('is let in by a chain of which the others are revoked: it is the true dispatcher, whoever has those keys', async () => {
    const { control, host, identity, chain, former } = await behind();
    const revoked = [former.certificate.serial, ...chain.map((each) => each.new)].slice(0, -1);
    value(await host('a').keyStore.replace({ 'revoked-serials': revoked.join('\n') }));
    await host('a').reload();
    const answer = await ask(control, identity, 'a', '/rotate-serial', claim(identity, json(chain)));
    expect(answer).toMatchObject({ status: 200, json: { status: 'ok', dispatcher: 'control' } });
    expect(await runFails(control, 'a')).toBeUndefined();
  });

  it('is refused with a chain from a revoked serial without an id: nothing says who may follow it', async () => {
    const { control, host, identity, chain, former } = await behind();
    const { serial } = former.certificate;
    value(
      await host('a').keyStore.replace({ 'trusted-dispatchers': `${serial}\n`, 'revoked-serials': serial }),
    );
    await host('a').reload();
    const body = claim(identity, json(chain));
    expect((await ask(control, identity, 'a', '/rotate-serial', body)).status).toBe(403);
    value(await host('a').keyStore.replace({ 'revoked-serials': null }));
    await host('a').reload();
    expect(await ask(control, identity, 'a', '/rotate-serial', body)).toMatchObject({
      json: { dispatcher: 'control' },
    });
    expect(await serialsTrusted(host('a'))).toContain(identity.certificate.serial);
  });

  it('is let in although another dispatcher has claimed its serial, and that is an alarm', async () => {
    const { control, host, identity, chain, former } = await behind();
    const { serial } = identity.certificate;
    value(
      await host('a').keyStore.replace({
        'trusted-dispatchers': `${former.certificate.serial} control\nabc other\n${serial} other\n`,
        'trust-origins': `${serial} abc\n`,
      }),
    );
    await host('a').reload();
    const answer = await ask(control, identity, 'a', '/rotate-serial', claim(identity, json(chain)));
    expect(answer).toMatchObject({ status: 200, json: { dispatcher: 'control' } });
    expect((await stateOf(host('a'))).trust).toContain(`${serial} control`);
    expect(eventsOf(host('a').test.events, 'serial-claim-replaced').map(({ fields }) => fields)).toEqual([
      { dispatcher: 'control', serial, claimed: 'other', ip: '192.0.2.1' },
    ]);
  });

  it('that joins by its chain is trusted, and retires nothing', async () => {
    const { control, former, host } = await behind();
    const instance = await presenceOf(control, 'control');
    const fields = {
      old: former.certificate.serial,
      new: instance.certificate.serial,
      at: 1,
      joins: true,
    } as const;
    const sig = former.signer.key.sign(successionMessage(fields, instance.certificate.der));
    const joining = [{ ...fields, newPem: instance.certificate.pem, sig }];
    const body = claim(instance, json(joining));
    expect(await ask(control, instance, 'a', '/rotate-serial', body)).toMatchObject({
      json: { status: 'ok' },
    });
    const { serial } = former.certificate;
    for (const succession of [undefined, json(joining)]) {
      const removal = { serial, action: 'remove', ...(succession && { succession }) };
      const { json: answer } = await ask(control, instance, 'a', '/rotate-serial', removal);
      expect(answer['error']).toBe(`nothing shows that ${instance.certificate.serial} replaces ${serial}`);
    }
    expect(await serialsTrusted(host('a'))).toEqual([serial, instance.certificate.serial]);
  });

  it('of another CA does not even get a connection', async () => {
    const { control, former, chain } = await behind();
    const foreign = await lifecycle([]);
    const mallory = await presenceOf(foreign.control, 'control');
    const outcome = ask(
      control,
      mallory,
      'a',
      '/rotate-serial',
      claim(mallory, json([...chain, step(former, mallory)])),
    );
    await expect(outcome).rejects.toThrow();
  });
});

describe('a dispatcher', () => {
  async function two() {
    const { control, fleet, host } = await lifecycle(['web']);
    await pingFails(control, 'web');
    const second = await secondDispatcher(fleet, control);
    await paired(second, host('web'));
    await host('web').restart();
    await pingFails(second, 'web');
    return { control, second, host: host('web') };
  }

  it('cannot retire a serial of another', async () => {
    const { control, second, host } = await two();
    const serial = (await identityOf(control)).own.current;
    const answer = await ask(second, await identityOf(second), 'web', '/rotate-serial', {
      serial,
      action: 'remove',
    });
    expect(answer.json).toMatchObject({
      status: 'error',
      error: `serial ${serial} belongs to another dispatcher`,
    });
    expect(await serialsTrusted(host)).toContain(serial);
  });

  it('cannot take a serial of another over', async () => {
    const { control, second, host } = await two();
    const identity = await identityOf(control);
    const { serial, pem } = identity.certificate;
    const answer = await ask(second, await identityOf(second), 'web', '/rotate-serial', {
      serial,
      action: 'add',
      pem,
    });
    expect(answer.json['status']).toBe('error');
    expect((await stateOf(host)).trust).toContain(`${serial} control`);
  });

  it('cannot retire its own present serial', async () => {
    const { control } = await two();
    const identity = await identityOf(control);
    const body = { serial: identity.own.current, action: 'remove' };
    const answer = await ask(control, identity, 'web', '/rotate-serial', body);
    expect(answer.json).toMatchObject({ status: 'error', error: 'that serial is the one of this request' });
  });

  it('cannot announce a certificate of another, nor one under the wrong serial', async () => {
    const { control } = await two();
    const identity = await identityOf(control);
    const other = (await presenceOf(control, 'second')).certificate;
    const own = (await presenceOf(control, 'control')).certificate;
    for (const [serial, pem] of [
      [other.serial, other.pem],
      ['abcdef', own.pem],
      [own.serial, 'nonsense'],
    ]) {
      const answer = await ask(control, identity, 'web', '/rotate-serial', { serial, action: 'add', pem });
      expect(answer.json['status']).toBe('error');
    }
  });

  it('is not taken for another by a certificate with the serial of that one', async () => {
    const { control, host } = await two();
    const identity = await identityOf(control);
    // Whoever has the key of a CA that is accepted can issue it.
    const { serial } = identity.certificate;
    const double = await withSerial(control, serial);
    expect(double.certificate.serial).toBe(serial);
    const answer = await ask(control, double, 'web', '/ping', {});
    expect(answer).toMatchObject({ status: 403, json: { error: 'serial mismatch' } });
    expect(await serialsTrusted(host)).toContain(serial);
  });
});

describe('after its key was stolen a dispatcher', () => {
  /** An agent that trusts the stolen key, the next identity, the chain to it, and a list of the old one. */
  async function stolen() {
    const world = await lifecycle(['web']);
    const { control, host } = world;
    await pingFails(control, 'web');
    const old = await identityOf(control);
    const next = await presenceOf(control, 'control');
    const fields = { old: old.certificate.serial, new: next.certificate.serial, at: 1 };
    const sig = old.signer.key.sign(successionMessage(fields, next.certificate.der));
    const succession = [successionToJson({ ...fields, newPem: next.certificate.pem, sig })];
    const listOf = async (number: number, ...serials: string[]) => {
      const now = control.context.clock.now();
      const revoked = serials.map((serial) => ({ serial, revokedAt: now }));
      const { authority } = control.context;
      const times = { thisUpdate: now, nextUpdate: now + day };
      const list = value(
        await authority.revocationList({ dispatcherId: 'control', number, revoked, ...times }),
      );
      return list.pem;
    };
    const body = (crl: string | undefined) => ({
      serial: next.certificate.serial,
      action: 'add',
      pem: next.certificate.pem,
      succession,
      ...(crl !== undefined && { crl_pem: crl }),
    });
    const tell = (path: string, by: Presence, sent: unknown) => ask(control, by, 'web', path, sent);
    return { ...world, host: host('web'), old, next, listOf, body, tell };
  }

  it('comes with its next key, the chain and the list in one request: stored as one change', async () => {
    const { host, old, next, listOf, body, tell } = await stolen();
    const sent = body(await listOf(1, old.certificate.serial, 'abcdef'));
    const writes: string[][] = [];
    const { replace } = host.keyStore;
    Object.assign(host.keyStore, {
      replace: (...[change, options]: Parameters<typeof replace>) => {
        writes.push(Object.keys(change).sort());
        return replace(change, options);
      },
    });
    expect(await tell('/rotate-serial', next, sent)).toMatchObject({
      status: 200,
      json: { status: 'ok', serial: next.certificate.serial, dispatcher: 'control' },
    });
    expect(writes).toHaveLength(1);
    expect(writes[0]).toEqual(expect.arrayContaining(['agent-revocation-lists', 'trusted-dispatchers']));
    expect(await tell('/ping', old, {})).toMatchObject({
      status: 403,
      json: { error: 'certificate revoked' },
    });
    expect(await tell('/ping', next, {})).toMatchObject({ status: 200, json: { crl_number: 1 } });
    expect(eventsOf(host.test.events, 'revocations-updated').map(({ fields }) => fields.revoked)).toEqual([
      2,
    ]);
    // Asked again, because the answer was lost.
    expect(await tell('/rotate-serial', next, sent)).toMatchObject({ status: 200, json: { status: 'ok' } });
    expect(writes).toHaveLength(1);
  });

  it('comes after the list that the old key brought, which revokes that key', async () => {
    const { old, next, listOf, body, tell } = await stolen();
    const list = await listOf(1, old.certificate.serial);
    expect(await tell('/v2/crl', old, { crl_pem: list })).toMatchObject({ status: 200 });
    expect(await tell('/ping', old, {})).toMatchObject({ status: 403 });
    expect(await tell('/rotate-serial', next, body(list))).toMatchObject({
      status: 200,
      json: { status: 'ok' },
    });
    expect(await tell('/ping', next, {})).toMatchObject({ status: 200 });
  });

  it('comes by the chain first, and brings the list afterwards with a request about its own serial', async () => {
    const { old, next, listOf, body, tell } = await stolen();
    expect(await tell('/rotate-serial', next, body(undefined))).toMatchObject({ status: 200 });
    const sent = body(await listOf(1, old.certificate.serial));
    expect(await tell('/rotate-serial', next, sent)).toMatchObject({ status: 200, json: { status: 'ok' } });
    expect(await tell('/ping', old, {})).toMatchObject({ status: 403 });
  });

  it('is not let in with a list that is not taken, and learns which one is held', async () => {
    const { host, old, next, listOf, body, tell } = await stolen();
    const newer = await listOf(7, 'abcdef');
    expect(await tell('/v2/crl', old, { crl_pem: newer })).toMatchObject({ status: 200 });
    for (const trusted of [false, true]) {
      const older = await tell('/rotate-serial', next, body(await listOf(6, old.certificate.serial)));
      expect(older).toMatchObject({ status: 409, json: { status: 'error', crl_pem: newer, number: 7 } });
      expect(await tell('/rotate-serial', next, body('no list'))).toMatchObject({ status: 400 });
      expect((await serialsTrusted(host)).includes(next.certificate.serial)).toBe(trusted);
      await tell('/rotate-serial', next, body(undefined));
    }
  });

  it('is told from a thief: an earlier key of it cannot bring the revoked one back, nor retire the new one', async () => {
    const { old, next, listOf, body, tell } = await stolen();
    expect(await tell('/rotate-serial', next, body(await listOf(1, old.certificate.serial)))).toMatchObject({
      status: 200,
    });
    const { serial, pem } = old.certificate;
    for (const action of ['add', 'remove'])
      for (const each of [next.certificate, old.certificate])
        expect(
          await tell('/rotate-serial', old, { serial: each.serial, action, pem: each.pem }),
        ).toMatchObject({
          status: 403,
        });
    const { json } = await tell('/rotate-serial', next, { serial, action: 'add', pem });
    expect(json['error']).toBe(`serial ${serial} is revoked`);
  });

  it('is followed although a thief of the old key removes in a loop: nobody removes what replaces him', async () => {
    const { host, old, next, body, tell } = await stolen();
    const remove = { serial: next.certificate.serial, action: 'remove' };
    const { pem } = next.certificate;
    expect(await tell('/rotate-serial', old, { ...remove, action: 'add', pem })).toMatchObject({
      status: 200,
    });
    for (const more of [{}, { succession: body(undefined).succession }]) {
      const { json } = await tell('/rotate-serial', old, { ...remove, ...more });
      expect(json['error']).toContain('nothing shows that');
    }
    expect(await serialsTrusted(host)).toContain(next.certificate.serial);
  });
});

/** A certificate of the dispatcher's CA with this serial, over a fresh key. */
async function withSerial(control: Control, serial: string): Promise<Presence> {
  const bytes = Uint8Array.from(serial.padStart(32, '0').match(/../g) ?? [], (pair) =>
    Number.parseInt(pair, 16),
  );
  const random = { bytes: (length: number) => bytes.slice(0, length) };
  const authority = x509CertificateAuthority({ keyStore: control.context.keyStore, random, crypto });
  return presenceOf({ ...control, context: { ...control.context, authority } }, 'control');
}
