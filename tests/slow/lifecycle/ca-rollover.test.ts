import { describe, expect, it } from 'vitest';
import { rotateCa as rotateCaOf } from '../../../src/sdk/dispatcher/maintenance/ca-rollover.js';
import { maintain } from '../../../src/sdk/dispatcher/maintenance/maintain.js';
import { failure, value } from '../../contract/result.js';
import {
  ask,
  copyCa,
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

const names = ['a', 'b', 'c'] as const;
type World = Awaited<ReturnType<typeof lifecycle>>;

async function fleetOfThree() {
  const world = await lifecycle(names);
  for (const name of names) expect(await pingFails(world.control, name)).toBeUndefined();
  return world;
}

const rotateCa = async ({ fleet, control }: Pick<World, 'fleet' | 'control'>) =>
  value(await fleet.settle(control.dispatcher.rotateCa()));

const casOf = async ({ context }: World['control']) => value(await context.authority.certificates());

/** A maintenance pass a day, for so many days. */
async function pass({ control, clock }: Pick<World, 'control' | 'clock'>, days: number) {
  let last = value(await control.dispatcher.maintain());
  for (let done = 0; done < days; done += 5) {
    await clock.advance(5 * day);
    last = value(await control.dispatcher.maintain());
  }
  return last;
}

const ofCa = async (world: World, name: string, index: number) => {
  const ca = (await casOf(world.control))[index];
  return ca !== undefined && crypto.issuedBy((await stateOf(world.host(name))).certificate, ca);
};

describe('rotate-ca', () => {
  it('with all agents there: everything is of the new CA at once, and the old one goes after the overlap', async () => {
    const world = await fleetOfThree();
    const { control, clock, host } = world;
    const [old] = await casOf(control);
    const oldPresence = await presenceOf(control, 'control');
    const { remaining, fingerprint, maintenance } = await rotateCa(world);
    expect(remaining).toEqual([]);
    expect(maintenance.renewed).toEqual(names);
    const [current, previous] = await casOf(control);
    expect(previous?.serial).toBe(old?.serial);
    expect(fingerprint).toBe(Buffer.from(crypto.sha256(current?.der ?? new Uint8Array())).toString('hex'));
    for (const name of names) {
      expect(await ofCa(world, name, 0)).toBe(true);
      expect(await stateOf(host(name))).toMatchObject({ cas: 2 });
      expect(await runFails(control, name)).toBeUndefined();
    }
    const { 'pairing-certificate': pairing } = value(
      await control.context.keyStore.read(['pairing-certificate']),
    );
    const served = value(crypto.readCertificate(pairing ?? ''));
    expect(current && crypto.issuedBy(served, current)).toBe(true);

    await pass(world, 25);
    expect(await casOf(control)).toHaveLength(2);
    await clock.advance(6 * day);
    expect(value(await control.dispatcher.maintain()).caRetired).toBe(true);
    expect(await casOf(control)).toHaveLength(1);
    for (const name of names) {
      expect(await stateOf(host(name))).toMatchObject({ cas: 1 });
      expect(await runFails(control, name)).toBeUndefined();
    }
    const items = ['ca-previous-key'] as const;
    expect(value(await control.context.keyStore.read(items))['ca-previous-key']).toBeUndefined();
    // A certificate of the CA that was given up opens nothing any more.
    await expect(ask(control, oldPresence, 'a', '/ping', {})).rejects.toThrow();
  });

  it('an agent that answers with a certificate of the CA that was given up is not asked', async () => {
    const world = await fleetOfThree();
    const items = ['agent-key', 'agent-certificate', 'ca-certificate'] as const;
    const former = value(await world.host('a').keyStore.read(items));
    await rotateCa(world);
    await pass(world, 35);
    await world.host('a').down();
    value(
      await world.host('a').keyStore.replace({
        'agent-key': former['agent-key'] ?? null,
        'agent-certificate': former['agent-certificate'] ?? null,
      }),
    );
    await world.host('a').up();
    const { started } = world.host('a');
    expect(await runFails(world.control, 'a')).toContain('UNABLE_TO_VERIFY_LEAF_SIGNATURE');
    expect(world.host('a').started).toBe(started);
  });

  it.each([
    ['inside the overlap', 20, 0],
    ['past it', 60, 1],
  ] as const)(
    'with an agent away %s: it follows when it comes back, and only then the old CA goes',
    async (_, away, successions) => {
      const world = await fleetOfThree();
      const { control, host } = world;
      await host('c').down();
      expect((await rotateCa(world)).remaining).toEqual(['c']);
      expect((await pass(world, away)).caRetired).toBe(false);
      expect(await casOf(control)).toHaveLength(2);
      await host('c').up();
      expect(await runFails(control, 'c')).toBeUndefined();
      const followed = host('c').test.events.events.filter(({ action }) => action === 'succession-accepted');
      expect(followed).toHaveLength(successions);
      await pass(world, 40);
      expect(await casOf(control)).toHaveLength(1);
      for (const name of names) {
        expect(await ofCa(world, name, 0)).toBe(true);
        const { own } = await identityOf(control);
        expect((await stateOf(host(name))).trust).toEqual([`${own.current} control`]);
        expect(await runFails(control, name)).toBeUndefined();
      }
    },
  );

  it('with an agent away past the overlap and two more rotations: maintenance alone brings it back', async () => {
    const world = await fleetOfThree();
    await world.host('c').down();
    await rotateCa(world);
    for (let turn = 0; turn < 2; turn += 1) {
      await pass(world, 35);
      value(await world.control.dispatcher.rotate());
    }
    await pass(world, 35);
    await world.host('c').up();
    expect(value(await world.control.dispatcher.maintain())).toMatchObject({
      renewed: ['c'],
      failed: [],
    });
    await pass(world, 5);
    expect(await casOf(world.control)).toHaveLength(1);
    expect(await runFails(world.control, 'c')).toBeUndefined();
  });

  it('with an agent that was revoked or unpaired: nobody waits for it', async () => {
    const world = await fleetOfThree();
    await world.host('c').down();
    await world.host('b').down();
    value(await world.control.dispatcher.revoke('c'));
    await rotateCa(world);
    value(await world.control.dispatcher.unpair('b'));
    await pass(world, 35);
    expect(await casOf(world.control)).toHaveLength(1);
  });

  it.each([1, 2, 3, 4, 5])(
    'interrupted at write %i of the key store, it is gone on with by maintenance alone',
    async (n) => {
      const world = await fleetOfThree();
      const { control, fleet } = world;
      control.writeFails = nth(n);
      const first = await fleet.settle(control.dispatcher.rotateCa());
      for (const name of names) expect(await runFails(control, name)).toBeUndefined();
      const again = control.restarted();
      if (n === 1) {
        expect(first.isErr()).toBe(true);
        value(await fleet.settle(again.dispatcher.rotateCa()));
      }
      const later = { ...world, control: again };
      await pass(later, 40);
      const [current, ...others] = await casOf(again);
      expect(others).toEqual([]);
      for (const name of names) {
        expect(await ofCa(later, name, 0)).toBe(true);
        expect(await runFails(again, name)).toBeUndefined();
      }
      const { 'pairing-certificate': pairing } = value(
        await again.context.keyStore.read(['pairing-certificate']),
      );
      const served = value(crypto.readCertificate(pairing ?? ''));
      expect(current && crypto.issuedBy(served, current)).toBe(true);
    },
  );

  it('called again while it goes on makes no third CA', async () => {
    const world = await fleetOfThree();
    const { fingerprint } = await rotateCa(world);
    expect((await rotateCa(world)).fingerprint).toBe(fingerprint);
    expect(await casOf(world.control)).toHaveLength(2);
  });

  it('an agent that pairs while it goes on, and one that pairs again, have what they need', async () => {
    const world = await fleetOfThree();
    const { control, fleet, host } = world;
    await host('c').down();
    await rotateCa(world);
    const opened = value(await control.dispatcher.openPairing());
    const joining = fleet.agent('new');
    value(await pairAgent(fleet, control, joining, { dispatcher: 'control.test' }));
    const again = { ...host('c').test, agent: host('c').test.agent };
    value(await pairAgent(fleet, control, again, { dispatcher: 'control.test', replace: true }));
    await opened.close();
    value(await joining.agent.serve());
    await host('c').up();
    for (const name of ['new', 'c']) expect(await runFails(control, name)).toBeUndefined();
    await pass(world, 40);
    expect(await casOf(control)).toHaveLength(1);
    for (const name of ['new', 'c']) expect(await runFails(control, name)).toBeUndefined();
  });

  it('with a second dispatcher: agents keep the old CA until that one has followed, too', async () => {
    const world = await fleetOfThree();
    const { control, fleet, host, clock } = world;
    const second = await secondDispatcher(fleet, control);
    await paired(second, host('a'));
    await host('a').restart();
    expect(await runFails(second, 'a')).toBeUndefined();
    // Whoever does not have the new CA could not verify a certificate of it.
    expect(await rotateCa(world)).toMatchObject({ remaining: ['a'] });
    for (const each of [control, second]) expect(await runFails(each, 'a')).toBeUndefined();
    await copyCa(control, second);
    value(await second.dispatcher.maintain());
    expect(value(await control.dispatcher.maintain()).renewed).toEqual(['a']);
    for (const each of [control, second]) expect(await runFails(each, 'a')).toBeUndefined();
    await pass(world, 35);
    // The first has given it up, the agent has not: a certificate of the second is of it.
    expect(await casOf(control)).toHaveLength(1);
    expect(await stateOf(host('a'))).toMatchObject({ cas: 2 });
    // What the agent has against that keeps nothing else from it.
    expect(value(await control.dispatcher.revoke('abcdef'))).toMatchObject({ pending: [] });
    const [listed] = [await ask(control, await identityOf(control), 'a', '/ping', {})];
    expect(listed?.status).toBe(200);
    const held = value(await host('a').keyStore.read(['agent-revocation-lists']));
    expect(held['agent-revocation-lists']).toContain('# dispatcher control\n');
    expect(value(await control.dispatcher.rotate())).toMatchObject({
      state: 'switched',
      refused: [],
    });

    await pass({ control: second, clock }, 40);
    await pass(world, 5);
    expect(await stateOf(host('a'))).toMatchObject({ cas: 1 });
    for (const each of [control, second]) expect(await runFails(each, 'a')).toBeUndefined();
  });

  it('an old CA that has expired is given up whoever is still under it, and keeps nothing from the others', async () => {
    const world = await lifecycle(['a', 'b'], 'cert_days = 60\ncert_renewal_days = 20\n');
    const { control, clock, host } = world;
    await clock.advance(3600 * day);
    // Long enough for nobody to be left; they are paired anew.
    value(await control.dispatcher.rotate());
    for (const name of ['a', 'b']) {
      await paired(control, host(name));
      await host(name).restart();
      expect(await pingFails(control, name)).toBeUndefined();
    }
    await host('b').down();
    await rotateCa(world);
    await pass(world, 60);
    expect(await casOf(control)).toHaveLength(1);
    expect(await runFails(control, 'a')).toBeUndefined();
  });
});

describe('an agent refuses a set of CAs', () => {
  async function two() {
    const world = await lifecycle(['web']);
    await pingFails(world.control, 'web');
    const second = await secondDispatcher(world.fleet, world.control);
    await paired(second, world.host('web'));
    await world.host('web').restart();
    const [ca] = await casOf(world.control);
    const foreign = await lifecycle([]);
    const [other] = await casOf(foreign.control);
    if (!ca || !other) throw new Error('no CA');
    const put = async (...pems: unknown[]) =>
      ask(world.control, await identityOf(world.control), 'web', '/v2/cas', { ca_pem: pems });
    return { ...world, second, ca, other, put };
  }

  it('that would lock out the caller or the agent, with 409', async () => {
    const { put, other, host } = await two();
    expect(await put(other.pem)).toMatchObject({
      status: 409,
      json: { error: expect.stringContaining('caller') },
    });
    expect(await stateOf(host('web'))).toMatchObject({ cas: 1 });
  });

  it('that would lock out the agent alone, or another dispatcher, also one that has not been here yet', async () => {
    const { control, put, host, clock, fleet, second } = await two();
    const world = { control, fleet, clock, host };
    const before = await casOf(control);
    value(
      await fleet.settle(
        rotateCaOf({
          ...control.context,
          registry: { ...control.context.registry, list: () => second.context.registry.list().map(() => []) },
        }),
      ),
    );
    const [current] = await casOf(control);
    // The identity is of the new CA now, and nobody was told.
    expect(await runFails(control, 'web')).toBeUndefined();
    const lone = await put(current?.pem);
    expect(lone).toMatchObject({ status: 409, json: { error: expect.stringContaining('of this agent') } });
    await copyCa(control, second);
    for (const each of [control, second, control]) value(await maintain(each.context));
    const without = await put(current?.pem);
    expect(without).toMatchObject({ status: 409, json: { error: 'dispatcher second would be locked out' } });
    // The same where the agent does not know the certificate of that one.
    value(await host('web').keyStore.replace({ 'dispatcher-certificates': null }));
    await host('web').reload();
    const unseen = await put(current?.pem);
    expect(unseen).toMatchObject({ status: 409, json: { error: 'dispatcher second would be locked out' } });
    expect(await put(current?.pem, before[0]?.pem)).toMatchObject({ status: 200 });
    expect(world.control).toBe(control);
  });

  it('not on account of a dispatcher whose certificate has expired, and is renewed without waiting for it', async () => {
    const { control, fleet, clock, host } = await lifecycle(['web']);
    await pingFails(control, 'web');
    const second = await secondDispatcher(fleet, control, 'cert_days = 100\ncert_renewal_days = 10\n');
    const settings = { ...second.context.settings, certDays: 365 };
    await paired({ ...second, context: { ...second.context, settings } }, host('web'));
    await host('web').restart();
    await pingFails(second, 'web');
    await clock.advance(90 * day);
    expect(await rotateCa({ fleet, control })).toMatchObject({ remaining: ['web'] });
    await clock.advance(11 * day);
    expect(value(await control.dispatcher.maintain()).renewed).toEqual(['web']);
    await pass({ control, clock }, 40);
    expect(await stateOf(host('web'))).toMatchObject({ cas: 1 });
    expect(await runFails(control, 'web')).toBeUndefined();
  });

  it('that is none, with 400, and one that has something else than CAs, with 409', async () => {
    const { control, put, ca } = await two();
    for (const pems of [[], ['nonsense'], [1], Array.from({ length: 9 }, () => ca.pem)])
      expect((await put(...pems)).status).toBe(400);
    const { certificate } = await identityOf(control);
    expect(await put(ca.pem, certificate.pem)).toMatchObject({ status: 409 });
  });

  it('of which no CA that it accepts vouches for a new one, with 409', async () => {
    const { put, ca, other, host, control } = await two();
    const refused = await put(ca.pem, other.pem);
    expect(refused).toMatchObject({ status: 409, json: { error: expect.stringContaining('vouches') } });
    expect((await put(ca.pem)).status).toBe(200);
    expect(await stateOf(host('web'))).toMatchObject({ cas: 1 });
    expect(await runFails(control, 'web')).toBeUndefined();
  });
});

describe('readmit', () => {
  async function away(days: number, meanwhile: (world: World) => Promise<unknown> = async () => undefined) {
    const world = await fleetOfThree();
    await world.host('c').down();
    for (let done = 0; done < days; done += 30) {
      await world.clock.advance(30 * day);
      value(await world.control.dispatcher.maintain());
      if (done === 60) await meanwhile(world);
    }
    await world.host('c').up();
    return world;
  }

  it('brings an agent back whose certificate has expired, and is the only thing that does', async () => {
    const { control, clock, host } = await away(370);
    const { started } = host('c');
    expect(await runFails(control, 'c')).toContain('`ctrl-exec readmit c` renews it once');
    expect(value(await control.dispatcher.maintain()).failed).toMatchObject([{ name: 'c' }]);
    expect(host('c').started).toBe(started);
    const { notAfter, serial } = value(await control.dispatcher.readmit('c'));
    expect(notAfter).toBeGreaterThan(clock.now() + 364 * day);
    expect((await stateOf(host('c'))).certificate.serial).toBe(serial);
    expect(await runFails(control, 'c')).toBeUndefined();
    expect((await recordOf(control, 'c')).pins).toMatchObject([{ state: 'active', serial }]);
  });

  it('asks for nothing but the renewal and what it takes to be understood', async () => {
    const { control } = await away(370);
    control.sent.length = 0;
    value(await control.dispatcher.readmit('c'));
    const paths = new Set(control.sent.map((line) => line.split(' ')[1]));
    expect([...paths].filter((path) => !path?.startsWith('/v2/'))).toEqual(
      expect.arrayContaining(['/rotate-serial', '/renew', '/renew-complete', '/ping']),
    );
    expect(paths.has('/run')).toBe(false);
  });

  it('after missed rotations', async () => {
    const { control } = await away(420, async ({ control: { dispatcher } }) => dispatcher.rotate());
    value(await control.dispatcher.readmit('c'));
    expect(await runFails(control, 'c')).toBeUndefined();
  });

  it('after missed rotations and a missed replacement of the CA', async () => {
    const world = await away(420, (each) => rotateCa(each));
    const { control, host } = world;
    expect(await casOf(control)).toHaveLength(2);
    value(await control.dispatcher.readmit('c'));
    expect(await runFails(control, 'c')).toBeUndefined();
    expect(await ofCa(world, 'c', 0)).toBe(true);
    await pass(world, 5);
    expect(await casOf(control)).toHaveLength(1);
    expect(await stateOf(host('c'))).toMatchObject({ cas: 1 });
    expect(await runFails(control, 'c')).toBeUndefined();
  });

  it('does not accept another key, though its certificate is of the CA and in that name', async () => {
    const { control, host, clock } = await away(370);
    const key = value(await crypto.generateKey('p256'));
    const { spki } = value(crypto.signingKey(key));
    const now = clock.now();
    const validity = { notBefore: now - 2 * day, notAfter: now - day };
    const certificate = value(
      await control.context.authority.issue({ kind: 'agent', name: 'c' }, spki, validity),
    );
    value(await host('c').keyStore.replace({ 'agent-key': key, 'agent-certificate': certificate.pem }));
    await host('c').restart();
    const { message } = failure(await control.dispatcher.readmit('c'));
    expect(message).toContain('wrong identity');
  });

  it('does not accept the key of another agent', async () => {
    const { control, host } = await away(370);
    const items = ['agent-key', 'agent-certificate'] as const;
    const other = value(await host('b').keyStore.read(items));
    value(
      await host('c').keyStore.replace({
        'agent-key': other['agent-key'] ?? null,
        'agent-certificate': other['agent-certificate'] ?? null,
      }),
    );
    await host('c').restart();
    expect(failure(await control.dispatcher.readmit('c')).message).toContain('wrong identity');
  });

  it('of a name that nobody has is an error', async () => {
    const { control } = await lifecycle([]);
    expect(failure(await control.dispatcher.readmit('nobody')).code).toBe('agent_unknown');
  });
});
