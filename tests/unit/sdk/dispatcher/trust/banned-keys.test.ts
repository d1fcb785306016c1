import { describe, expect, it } from 'vitest';
import { hex } from '../../../../../src/domain/core/bytes.js';
import { failure, value } from '../../../../contract/result.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import {
  day,
  type Host,
  lifecycle,
  paired,
  pingFails,
  recordOf,
  runFails,
  stateOf,
} from '../../../../support/fleet/lifecycle.js';
import {
  crypto,
  pairAgent,
  pairingFleet,
  type TestDispatcher,
} from '../../../../support/fleet/memory-fleet.js';

async function fleetOfTwo() {
  const world = await lifecycle(['a', 'b']);
  for (const name of ['a', 'b']) expect(await pingFails(world.control, name)).toBeUndefined();
  return world;
}

const keyOf = async (host: Host) => hex(crypto.sha256((await stateOf(host)).certificate.spki));

/** Pairs the host over the key that it has. */
const pairsAgain = async (control: TestDispatcher, host: Host, name?: string): Promise<string> =>
  paired(control, host, name).then(
    () => 'paired',
    (thrown: Error) => (thrown.cause as { code: string }).code,
  );

describe('a key that a person has revoked', () => {
  const orders = {
    'revoke, then unpair': async ({ dispatcher }: TestDispatcher) => {
      value(await dispatcher.revoke('a'));
      value(await dispatcher.unpair('a'));
    },
    'unpair, then revoke by name': async ({ dispatcher }: TestDispatcher) => {
      value(await dispatcher.unpair('a'));
      value(await dispatcher.revoke('a'));
    },
    'unpair, then revoke by serial': async ({ dispatcher }: TestDispatcher, serial: string) => {
      value(await dispatcher.unpair('a'));
      value(await dispatcher.revoke(serial));
    },
    'rename, then revoke, then unpair': async ({ dispatcher }: TestDispatcher) => {
      value(await dispatcher.editAgent('a', { rename: 'c' }));
      value(await dispatcher.revoke('c'));
      value(await dispatcher.unpair('c'));
    },
  };
  it.each(Object.entries(orders))('is paired under no name after: %s', async (_, order) => {
    const { control, host } = await fleetOfTwo();
    const key = await keyOf(host('a'));
    await order(control, (await stateOf(host('a'))).certificate.serial);
    for (const name of ['a', 'other']) expect(await pairsAgain(control, host('a'), name)).toBe('key_banned');
    expect(value(await control.dispatcher.bannedKeys())).toMatchObject([{ spkiSha256: key }]);
    const written = (key.match(/../g) ?? []).join(':').toUpperCase();
    expect(value(await control.dispatcher.unban(written))).toMatchObject({ spkiSha256: key });
    expect(eventsOf(control.events, 'key-unbanned')).toHaveLength(1);
    expect(await pairsAgain(control, host('a'))).toBe('paired');
    await host('a').restart();
    expect(await runFails(control, 'a')).toBeUndefined();
  });

  it('is banned also where its pin was replaced before it was revoked by its serial', async () => {
    const { control, host } = await fleetOfTwo();
    const { certificate, key } = await stateOf(host('a'));
    value(await host('a').keyStore.replace({ 'agent-key': null }));
    await paired(control, host('a'));
    await host('a').restart();
    const stolen = hex(crypto.sha256(certificate.spki));
    expect(value(await control.dispatcher.revoke(certificate.serial))).toMatchObject({
      name: 'a',
      keys: [stolen],
      pending: [],
    });
    // The agent itself goes on with its new key.
    expect(await runFails(control, 'a')).toBeUndefined();
    value(await host('b').keyStore.replace({ 'agent-key': key }));
    expect(await pairsAgain(control, host('b'), 'thief')).toBe('key_banned');
  });

  it('is refused at once under every certificate that there is over it', async () => {
    const { control, host } = await fleetOfTwo();
    const before = (await stateOf(host('a'))).certificate.serial;
    await paired(control, host('a'));
    await host('a').restart();
    expect(await runFails(control, 'a')).toBeUndefined();
    value(await control.dispatcher.revoke(before));
    expect(await runFails(control, 'a')).toContain('was revoked; nothing was sent');
    const { failed, renewed } = value(await control.dispatcher.maintain());
    expect({ failed, renewed }).toEqual({ failed: [], renewed: [] });
  });

  it('gets no place in pairing mode, and both sides are told what to do', async () => {
    const { control, fleet, joining } = await pairingFleet();
    value(await pairAgent(fleet, control, joining));
    const { keys } = value(await control.dispatcher.revoke('web-01'));
    value(await control.dispatcher.unpair('web-01'));
    const error = failure(await pairAgent(fleet, control, joining));
    expect(error.message).toContain('--new-key');
    const refusals = eventsOf(control.events, 'pairing-refused').map(({ fields }) => fields.reason);
    expect(refusals.at(-1)).toContain(`ctrl-exec unban ${keys[0]}`);
    expect(value(await control.dispatcher.pairingRequests())).toEqual([]);
    value(await pairAgent(fleet, control, joining, { newKey: true }));
  });

  it('is what people are told of: which key, and what to do', async () => {
    const { control } = await fleetOfTwo();
    const { keys } = value(await control.dispatcher.revoke('a'));
    const [pin] = (await recordOf(control, 'a')).pins;
    expect(keys).toEqual([pin?.spkiSha256]);
    const { registry } = control.context;
    const error = failure(await registry.renew('b', { ...pin, serial: '1f', renewal: true } as never));
    expect(error.message).toContain(`ctrl-exec unban ${keys[0]}`);
    expect(error.message).toContain('--new-key');
    expect(failure(await control.dispatcher.unban('00'))).toMatchObject({
      code: 'invalid_argument',
      field: 'key',
    });
  });
});

describe('no key is banned', () => {
  it('by a pairing that lapsed', async () => {
    const { control, clock } = await fleetOfTwo();
    const { clock: now, registry } = control.context;
    const pin = {
      spkiSha256: 'f'.repeat(64),
      state: 'issued',
      serial: '1f',
      notAfter: now.now() + day,
    } as const;
    const { endpoint, standing } = await recordOf(control, 'a');
    const enrolment = { name: 'late', endpoint, standing, pairing: 'v2', replace: false } as const;
    value(await registry.enrol({ ...enrolment, pin: { ...pin, issuedAt: now.now() }, at: now.now() }));
    await clock.advance(2 * day);
    expect(value(await control.dispatcher.maintain()).lapsed).toEqual(['late']);
    expect(value(await control.dispatcher.revocations())).toMatchObject([
      { serial: '1f', notAfter: pin.notAfter },
    ]);
    expect(value(await control.dispatcher.bannedKeys())).toEqual([]);
  });

  it('by a renewal, a further pairing, or by unpairing', async () => {
    const { control, clock, host } = await fleetOfTwo();
    await clock.advance(183 * day);
    value(await control.dispatcher.maintain());
    await paired(control, host('a'));
    value(await control.dispatcher.unpair('a'));
    expect(value(await control.dispatcher.bannedKeys())).toEqual([]);
    expect(await pairsAgain(control, host('a'))).toBe('paired');
  });
});

describe('an agent that is revoked', () => {
  it('matches no tags; by its name it is refused', async () => {
    const { control } = await fleetOfTwo();
    for (const name of ['a', 'b'])
      value(await control.context.registry.update(name, { tags: { env: 'prod' } }));
    const named = async (tags = {}) => value(await control.dispatcher.agents(tags)).map(({ name }) => name);
    expect(await named({ env: 'prod' })).toEqual(['a', 'b']);
    value(await control.dispatcher.revoke('a'));
    expect(await named({ env: 'prod' })).toEqual(['b']);
    expect(await named()).toEqual(['a', 'b']);
    expect(await runFails(control, 'a')).toContain('was revoked');
  });

  it('holds no lock any more, also when its only certificate was revoked by serial', async () => {
    for (const way of ['name', 'serial']) {
      const { control, host } = await fleetOfTwo();
      const submitted = value(await control.dispatcher.submit({ hosts: ['a', 'b'], script: 'greet' }));
      expect(value(await control.dispatcher.locks()).map((lock) => lock.host)).toContain('a');
      value(
        await control.dispatcher.revoke(way === 'name' ? 'a' : (await stateOf(host('a'))).certificate.serial),
      );
      expect(value(await control.dispatcher.locks()).map((lock) => lock.host)).not.toContain('a');
      expect(value(await control.context.runStore.find(submitted.reqid))?.results).toHaveLength(2);
    }
  });
});
