import { describe, expect, it } from 'vitest';
import { failure, value } from '../../contract/result.js';
import { eventsOf } from '../../support/fleet/events.js';
import {
  ask,
  type Control,
  day,
  identityOf,
  lifecycle,
  nth,
  pingFails,
  runFails,
  stateOf,
} from '../../support/fleet/lifecycle.js';

const names = ['a', 'b', 'c'] as const;

async function fleetOfThree() {
  const world = await lifecycle(names);
  for (const name of names) expect(await pingFails(world.control, name)).toBeUndefined();
  return world;
}

const compromised = (control: Control) => control.dispatcher.rotate({ compromised: true });

const revokedBy = async (control: Control) =>
  value(await control.dispatcher.revocations())
    .map(({ serial }) => serial)
    .sort();

describe('rotate with a stolen key', () => {
  it('makes a new identity, revokes the old one, and tells every agent both', async () => {
    const { control, host } = await fleetOfThree();
    const stolen = await identityOf(control);
    const rotation = value(await compromised(control));
    const { own, rotation: kept } = await identityOf(control);
    expect(rotation).toMatchObject({
      state: 'switched',
      old: stolen.own.current,
      next: own.current,
      acknowledged: names,
      pending: [],
      revoked: [stolen.own.current],
      number: 1,
    });
    expect(kept.compromised).toBeUndefined();
    for (const name of names) {
      expect(await runFails(control, name)).toBeUndefined();
      expect(await ask(control, stolen, name, '/ping', {})).toMatchObject({
        status: 403,
        json: { error: 'certificate revoked' },
      });
      expect((await stateOf(host(name))).trust).toEqual([`${own.current} control`]);
    }
  });

  it('locks the thief out with one request, also where no other one arrives', async () => {
    const { control } = await fleetOfThree();
    const stolen = await identityOf(control);
    control.fault = (path) => (path === '/rotate-serial' ? undefined : 'request');
    expect(value(await compromised(control)).pending).toHaveLength(3);
    control.fault = () => undefined;
    for (const name of names) {
      expect(await ask(control, stolen, name, '/ping', {})).toMatchObject({
        status: 403,
        json: { error: 'certificate revoked' },
      });
      expect(await runFails(control, name)).toBeUndefined();
    }
  });

  it('destroys the keys of every former identity, and that of the pairing port', async () => {
    const { control, host } = await fleetOfThree();
    value(await control.dispatcher.rotate());
    host('a').full = true;
    expect(value(await control.dispatcher.rotate()).state).toBe('waiting');
    const items = [
      'dispatcher-key',
      'dispatcher-next-key',
      'dispatcher-previous-key',
      'pairing-key',
    ] as const;
    const before = value(await control.context.keyStore.read(items));
    const { own } = await identityOf(control);
    expect([own.next, own.previous]).not.toContain(undefined);
    host('a').full = false;
    expect(value(await compromised(control)).revoked?.toSorted()).toEqual(
      [own.current, own.next, own.previous].toSorted(),
    );
    const after = value(await control.context.keyStore.read(items));
    expect(after['dispatcher-next-key']).toBeUndefined();
    expect(after['dispatcher-previous-key']).toBeUndefined();
    for (const key of Object.values(before)) expect(Object.values(after)).not.toContain(key);
    for (const name of names) expect(await runFails(control, name)).toBeUndefined();
  });

  it('revokes every certificate of all rotations that has not expired, and no other', async () => {
    const { control, clock } = await fleetOfThree();
    const expired = (await identityOf(control)).own.current;
    value(await control.dispatcher.rotate());
    await clock.advance(300 * day);
    value(await control.dispatcher.rotate());
    await clock.advance(100 * day);
    const { own, rotation } = await identityOf(control);
    const valid = rotation.successions.map((step) => step.new);
    expect(own.previous).toBeUndefined();
    const { revoked } = value(await compromised(control));
    expect(revoked).toEqual(expect.arrayContaining([own.current]));
    // Of the first one only the serial is known, which may be in force: it is revoked as well.
    expect(revoked?.toSorted()).toEqual([...valid.slice(-1), expired].toSorted());
  });

  it('reaches agents that were away, at their next contact, in one request', async () => {
    const { control, host } = await fleetOfThree();
    const stolen = await identityOf(control);
    await host('c').down();
    expect(value(await compromised(control))).toMatchObject({
      acknowledged: ['a', 'b'],
      pending: [{ name: 'c' }],
    });
    await host('c').up();
    const before = control.sent.length;
    expect(await runFails(control, 'c')).toBeUndefined();
    expect(control.sent[before]).toBe('c /rotate-serial');
    expect((await ask(control, stolen, 'c', '/ping', {})).status).toBe(403);
  });

  it('interrupted at any write of the key store or any request, a further call goes on and ends as one', async () => {
    for (const interruption of [1, 2, 3]) {
      const { control } = await fleetOfThree();
      const stolen = (await identityOf(control)).own.current;
      control.writeFails = nth(interruption);
      const first = await compromised(control);
      control.writeFails = () => false;
      const between = (await identityOf(control)).own.current;
      expect({ interruption, failed: first.isErr() }).toEqual({ interruption, failed: true });
      expect({ interruption, switched: between !== stolen }).toEqual({
        interruption,
        switched: interruption > 1,
      });
      const again = control.restarted();
      const { next, revoked } = value(await compromised(again));
      if (interruption > 1) expect(next).toBe(between);
      expect(revoked).toEqual([stolen]);
      expect(await revokedBy(again)).toEqual([stolen]);
      for (const name of names) expect(await runFails(again, name)).toBeUndefined();
    }
  });

  it('stopped by its signal, maintenance goes on with it', async () => {
    const { control } = await fleetOfThree();
    const stolen = (await identityOf(control)).own.current;
    const stop = new AbortController();
    control.fault = () => {
      stop.abort();
      return 'request';
    };
    expect(failure(await control.dispatcher.rotate({ compromised: true, signal: stop.signal })).code).toBe(
      'aborted',
    );
    control.fault = () => undefined;
    expect((await identityOf(control)).rotation.compromised).toBeDefined();
    value(await control.dispatcher.maintain());
    expect((await identityOf(control)).rotation.compromised).toBeUndefined();
    expect(await revokedBy(control)).toEqual([stolen]);
    for (const name of names) expect(await runFails(control, name)).toBeUndefined();
  });

  it('done twice, the second time replaces the identity of the first', async () => {
    const { control } = await fleetOfThree();
    const first = value(await compromised(control));
    const second = value(await compromised(control));
    expect(second).toMatchObject({ old: first.next, revoked: [first.next] });
    expect(await revokedBy(control)).toEqual([first.old, first.next].toSorted());
    for (const name of names) expect(await runFails(control, name)).toBeUndefined();
  });

  it('revokes also what agents were met with that knew the CA of before alone', async () => {
    const { clock, control, fleet, host } = await fleetOfThree();
    await host('c').down();
    value(await fleet.settle(control.dispatcher.rotateCa()));
    // The identity of before is given up.
    await clock.advance(40 * day);
    value(await control.dispatcher.maintain());
    await host('c').up();
    expect(await runFails(control, 'c')).toBeUndefined();
    const bridges = value(
      await control.context.revocations.issued({ name: 'ctrl-exec:dispatcher:control' }),
    ).map(({ serial }) => serial);
    expect(bridges).not.toEqual([]);
    const { revoked, pending } = value(await compromised(control));
    expect(pending).toEqual([]);
    for (const serial of bridges) expect(revoked).toContain(serial);
    for (const name of names) expect(await runFails(control, name)).toBeUndefined();
  });
});

describe('serials that are retired', () => {
  it('go with the records that prove that the present one follows', async () => {
    const { control, clock, host } = await fleetOfThree();
    const first = (await identityOf(control)).own.current;
    value(await control.dispatcher.rotate());
    await clock.advance(40 * day);
    value(await control.dispatcher.maintain());
    for (const name of names) {
      expect(await runFails(control, name)).toBeUndefined();
      expect((await stateOf(host(name))).trust.join()).not.toContain(first);
    }
    expect(eventsOf(control.events, 'serial-kept')).toEqual([]);
  });
});
