import { describe, expect, it } from 'vitest';
import { jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import { revoke } from '../../../../../src/sdk/dispatcher/trust/revoke.js';
import { failure, value } from '../../../../contract/result.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import {
  ask,
  day,
  identityOf,
  lifecycle,
  paired,
  pingFails,
  presenceOf,
  recordOf,
  runFails,
  secondDispatcher,
  stateOf,
} from '../../../../support/fleet/lifecycle.js';
import { scriptedAgent } from '../../../../support/fleet/memory-agents.js';

const names = ['a', 'b', 'c'] as const;

async function fleetOfThree() {
  const world = await lifecycle(names);
  for (const name of names) expect(await pingFails(world.control, name)).toBeUndefined();
  return world;
}

type Lists = Awaited<ReturnType<typeof lifecycle>>['control'];

/** A list as former versions made them: it does not name its dispatcher. */
const namelessListOf = async ({ context }: Lists, number: number, ...serials: string[]) =>
  value(await context.authority.revocationList(listContent(context, number, serials))).pem;

const listOf = async ({ context }: Lists, number: number, ...serials: string[]) => {
  const { dispatcherId } = context.settings;
  const content = { ...listContent(context, number, serials), dispatcherId };
  return value(await context.authority.revocationList(content)).pem;
};

const listContent = ({ clock }: Lists['context'], number: number, serials: readonly string[]) => ({
  number,
  revoked: serials.map((serial) => ({ serial, revokedAt: clock.now() })),
  thisUpdate: clock.now(),
  nextUpdate: clock.now() + day,
});

describe('revoke', () => {
  it('NAME: the agent is refused at once, also on a connection that is kept, and nothing is sent', async () => {
    const { control, host } = await fleetOfThree();
    const { serial } = (await stateOf(host('a'))).certificate;
    const { started } = host('a');
    const revoked = value(await control.dispatcher.revoke('a'));
    expect(revoked).toMatchObject({ name: 'a', serials: [serial], number: 1, told: ['b', 'c'], pending: [] });
    expect(await runFails(control, 'a')).toContain(`(serial ${serial}) was revoked; nothing was sent`);
    expect(await runFails(control, 'a:7443')).toContain('was revoked');
    expect(host('a').started).toBe(started);
    expect(await runFails(control, 'b')).toBeUndefined();
    expect(failure(await control.dispatcher.readmit('a')).message).toContain('was revoked');
    const { failed, told } = value(await control.dispatcher.maintain());
    expect({ failed, told }).toEqual({ failed: [], told: [] });
  });

  it('SERIAL, in the forms that people write', async () => {
    const { control, host } = await fleetOfThree();
    const { serial } = (await stateOf(host('a'))).certificate;
    const written = (serial.match(/../g) ?? []).join(':').toUpperCase();
    expect(value(await control.dispatcher.revoke(written))).toMatchObject({
      name: 'a',
      serials: [serial],
    });
    expect(await runFails(control, 'a')).toContain('was revoked');
  });

  it('a name after it was paired anew: only the certificates of before are refused', async () => {
    const { control, host } = await fleetOfThree();
    value(await control.dispatcher.revoke('a'));
    await host('a').down();
    value(await host('a').keyStore.replace({ 'agent-key': null }));
    await paired(control, host('a'));
    await host('a').restart();
    expect(await runFails(control, 'a')).toBeUndefined();
  });

  it('a name while it is renewed: what the renewal issues is refused as well', async () => {
    const { control, clock, host } = await fleetOfThree();
    await clock.advance(183 * day);
    const { registry } = control.context;
    let begun = false;
    // Between the reading of what is to be revoked and its recording, the renewal gets through.
    const slow = {
      ...control.context,
      revocations: {
        ...control.context.revocations,
        revoke: (revoking: Parameters<typeof control.context.revocations.revoke>[0]) => {
          const before = begun
            ? registry.find('a')
            : control.dispatcher.ping({ hosts: ['a'] }).andThen(() => registry.find('a'));
          begun = true;
          return before
            .mapErr(() => undefined as never)
            .andThen(() => control.context.revocations.revoke(revoking));
        },
      },
    };
    const old = (await stateOf(host('a'))).certificate.serial;
    const { serials } = value(await revoke(slow, 'a'));
    const { serial } = (await stateOf(host('a'))).certificate;
    expect(serial).not.toBe(old);
    expect([...serials].sort()).toEqual([old, serial].sort());
    expect(await runFails(control, 'a')).toContain('was revoked');
  });

  it('a name whose certificate another dispatcher has renewed', async () => {
    const { control, fleet, host } = await fleetOfThree();
    const second = await secondDispatcher(fleet, control);
    await paired(second, host('a'));
    await host('a').restart();
    expect(await runFails(control, 'a')).toBeUndefined();
    value(await control.dispatcher.revoke('a'));
    expect(await runFails(control, 'a')).toContain('was revoked');
  });

  it('what this dispatcher is trusted by: refused, with what to do instead', async () => {
    const { control, host } = await fleetOfThree();
    host('a').full = true;
    value(await control.dispatcher.rotate());
    const { own } = await identityOf(control);
    expect(own.next).toBeDefined();
    for (const serial of [own.current, own.next ?? '']) {
      const error = failure(await control.dispatcher.revoke(serial));
      expect(error).toMatchObject({ code: 'invalid_argument' });
      expect(error.message).toContain('use rotate-cert');
    }
    expect(await control.context.revocations.revision()).toMatchObject({ value: 0 });
  });

  it('the serial of before a rotation: who was away at both follows all the same', async () => {
    const { control, host } = await fleetOfThree();
    const old = (await identityOf(control)).own.current;
    await host('c').down();
    value(await control.dispatcher.rotate());
    expect(value(await control.dispatcher.revoke(old))).toMatchObject({ told: ['a', 'b'] });
    await host('c').up();
    for (const name of names) expect(await runFails(control, name)).toBeUndefined();
    expect((await pingOf(host('c'), control)).json['crl_number']).toBe(1);
  });

  it('nothing that is no serial', async () => {
    const { control } = await fleetOfThree();
    const error = failure(await control.dispatcher.revoke('nobody here'));
    expect(error.message).toContain('expected the name of a registered agent');
  });

  it('twice: the list stays as it is', async () => {
    const { control } = await fleetOfThree();
    value(await control.dispatcher.revoke('a'));
    expect(value(await control.dispatcher.revoke('a')).number).toBe(1);
  });
});

/** The serials on the lists that a host holds, sorted. */
const listsOf = async ({ keyStore, context }: ReturnType<Awaited<ReturnType<typeof lifecycle>>['host']>) => {
  const items = ['agent-revocation-lists', 'ca-certificate'] as const;
  const kept = value(await keyStore.read(items));
  const ca = value(context.crypto.readCertificate(kept['ca-certificate'] ?? ''));
  const pems = kept['agent-revocation-lists']?.match(/-----BEGIN[\s\S]+?-----END [^-]+-----\n/g) ?? [];
  const serials = new Set<string>();
  for (const pem of pems)
    for (const { serial } of value(await context.revocationLists.read(pem, [ca])).revoked)
      serials.add(serial);
  return [...serials].sort();
};

const pingOf = async (host: { name: string }, control: Parameters<typeof ask>[0]) =>
  ask(control, await identityOf(control), host.name, '/ping', {});

describe('agents', () => {
  it('refuse a dispatcher whose serial is on the list, on a connection that is open', async () => {
    const { control, fleet, host } = await fleetOfThree();
    const second = await secondDispatcher(fleet, control);
    await paired(second, host('a'));
    await host('a').restart();
    const stolen = await identityOf(second);
    expect((await ask(second, stolen, 'a', '/ping', {})).status).toBe(200);
    value(await control.dispatcher.revoke(stolen.own.current));
    for (const path of ['/ping', '/run', '/rotate-serial', '/v2/crl', '/v2/cas']) {
      const answer = await ask(second, stolen, 'a', path, {});
      expect(answer).toMatchObject({ status: 403, json: { error: 'certificate revoked' } });
    }
    expect(await runFails(control, 'a')).toBeUndefined();
    await host('a').restart();
    expect((await ask(second, stolen, 'a', '/ping', {})).status).toBe(403);
  });

  it('that are away get the list at the first contact', async () => {
    const { control, host } = await fleetOfThree();
    await host('c').down();
    const { told, pending } = value(await control.dispatcher.revoke('abcdef'));
    expect({ told, pending: pending.map(({ name }) => name) }).toEqual({ told: ['a', 'b'], pending: ['c'] });
    await host('c').up();
    expect(await runFails(control, 'c')).toBeUndefined();
    expect((await pingOf(host('c'), control)).json['crl_number']).toBe(1);
    expect((await recordOf(control, 'c')).standing.crlNumber).toBe(1);
  });

  it('that lost their list get it again, once a ping has shown it', async () => {
    const { control, host } = await fleetOfThree();
    value(await control.dispatcher.revoke('abcdef'));
    await host('a').down();
    value(await host('a').keyStore.replace({ 'agent-revocation-lists': null }));
    await host('a').up();
    expect((await pingOf(host('a'), control)).json['crl_number']).toBe(0);
    await pingFails(control, 'a');
    await pingFails(control, 'a');
    expect((await pingOf(host('a'), control)).json['crl_number']).toBe(1);
  });

  it('refuse an older list and one that nobody they accept has signed', async () => {
    const { control, host } = await fleetOfThree();
    const identity = await identityOf(control);
    const put = async (crl_pem: unknown) => ask(control, identity, 'a', '/v2/crl', { crl_pem });
    expect(await put(await listOf(control, 7, 'abc'))).toMatchObject({ status: 200, json: { number: 7 } });
    expect(await put(await listOf(control, 6, 'abc', 'abd'))).toMatchObject({ status: 409 });
    const foreign = await lifecycle([]);
    expect(await put(await listOf(foreign.control, 8, 'abc'))).toMatchObject({ status: 400 });
    expect(await put('nonsense')).toMatchObject({ status: 400 });
    expect(await put(undefined)).toMatchObject({ status: 400 });
    expect((await pingOf(host('a'), control)).json['crl_number']).toBe(7);
  });

  it('take a list of the same number again, also one with more on it, and none with less', async () => {
    const { control } = await fleetOfThree();
    const identity = await identityOf(control);
    const put = async (...serials: string[]) =>
      (await ask(control, identity, 'a', '/v2/crl', { crl_pem: await listOf(control, 7, ...serials) }))
        .status;
    expect(await put('abc', 'abd')).toBe(200);
    expect(await put('abc', 'abd')).toBe(200);
    expect(await put('abc')).toBe(409);
    expect(await put('abc', 'abd', 'abe')).toBe(200);
    expect(await put('abc', 'abd')).toBe(409);
  });

  it('hold the lists of several dispatchers, each with its own numbers', async () => {
    const { control, fleet, host } = await fleetOfThree();
    const second = await secondDispatcher(fleet, control);
    await paired(second, host('a'));
    await host('a').restart();
    await pingFails(second, 'a');
    const [mine, theirs] = [await presenceOf(control, 'control'), await presenceOf(second, 'second')];
    for (const [each, presence] of [
      [control, mine],
      [second, theirs],
    ] as const) {
      const { serial, pem } = presence.certificate;
      const added = await ask(each, await identityOf(each), 'a', '/rotate-serial', {
        serial,
        action: 'add',
        pem,
      });
      expect(added.json['status']).toBe('ok');
    }
    value(await control.dispatcher.revoke(mine.certificate.serial));
    expect(value(await second.dispatcher.revoke(theirs.certificate.serial))).toMatchObject({
      number: 1,
      told: ['a'],
    });
    for (const turn of ['at once', 'after a restart']) {
      for (const presence of [mine, theirs])
        expect({ turn, status: (await ask(control, presence, 'a', '/ping', {})).status }).toEqual({
          turn,
          status: 403,
        });
      await host('a').restart();
    }
    for (const each of [control, second])
      expect(value(await each.dispatcher.maintain())).toMatchObject({
        failed: [],
        told: expect.anything(),
      });
    expect(value(await second.dispatcher.maintain()).told).toEqual([]);
  });

  it('show a dispatcher that was restored from a backup how far it had come: nothing of it is lost', async () => {
    const { control, host } = await fleetOfThree();
    const identity = await identityOf(control);
    const { serial: stolen } = (await presenceOf(control, 'control')).certificate;
    // What it had told before it was restored.
    await ask(control, identity, 'a', '/v2/crl', { crl_pem: await listOf(control, 5, stolen, 'abd') });
    await pingFails(control, 'a');
    expect(value(await control.dispatcher.revocations())).toMatchObject(
      [{ serial: stolen }, { serial: 'abd' }].sort((x, y) => (x.serial < y.serial ? -1 : 1)),
    );
    expect(eventsOf(control.events, 'revocations-merged')).toMatchObject([
      { fields: { host: 'a', held: 5, added: 2, number: 6 } },
    ]);
    expect(value(await control.dispatcher.revoke('abe'))).toMatchObject({ told: names, number: 7 });
    for (const name of names) {
      const held = await listsOf(host(name));
      for (const serial of [stolen, 'abd', 'abe']) expect(held).toContain(serial);
    }
  });

  it('that hold a list with more on it, or of a higher number, are told once more in the same contact', async () => {
    for (const number of [1, 9]) {
      const { control, host } = await fleetOfThree();
      const identity = await identityOf(control);
      await ask(control, identity, 'b', '/v2/crl', { crl_pem: await listOf(control, number, 'abc', 'abd') });
      // Others have had the list of before when b shows its own.
      const { told, pending } = value(await control.dispatcher.revoke('abe'));
      expect({ told, pending }).toEqual({ told: names, pending: [] });
      for (const name of names) expect(await listsOf(host(name))).toEqual(['abc', 'abd', 'abe']);
      expect(value(await control.dispatcher.maintain()).told).toEqual([]);
    }
  });

  it('show no list that is merged but one of this dispatcher and its CA', async () => {
    const { control, fleet } = await lifecycle([]);
    const foreign = await lifecycle([]);
    const other = await secondDispatcher(fleet, control);
    const forged = [
      await listOf(foreign.control, 9, 'abc'),
      await listOf(other, 9, 'abc'),
      await namelessListOf(control, 9, 'abc'),
      'nonsense',
      7,
    ];
    let held: unknown;
    await scriptedAgent(fleet, control, 'a', ({ path }) =>
      path === '/v2/crl'
        ? jsonAnswer(409, { status: 'error', error: 'older', crl_pem: held })
        : jsonAnswer(200, { status: 'ok', version: '1', expiry: '', features: [] }),
    );
    for (const crl_pem of forged) {
      held = crl_pem;
      const { pending } = value(await control.dispatcher.revoke('abe'));
      expect(pending).toMatchObject([{ name: 'a', reason: expect.stringContaining('older') }]);
      expect(value(await control.dispatcher.revocations())).toMatchObject([{ serial: 'abe' }]);
      expect(value(await control.context.revocations.revision())).toBe(1);
    }
  });

  it('are told a list of which every entry is known once: one that repeats an old list gets no further', async () => {
    const { control, fleet } = await lifecycle([]);
    const old = await listOf(control, 1, 'abe');
    const { seen } = await scriptedAgent(fleet, control, 'a', ({ path }) =>
      path === '/v2/crl'
        ? jsonAnswer(409, { status: 'error', error: 'older', crl_pem: old })
        : jsonAnswer(200, { status: 'ok', version: '1', expiry: '', features: [] }),
    );
    value(await control.dispatcher.revoke('abe'));
    expect(value(await control.dispatcher.revoke('abf')).pending).toHaveLength(1);
    expect(seen.filter(({ path }) => path === '/v2/crl')).toHaveLength(2);
    expect(value(await control.context.revocations.revision())).toBe(2);
  });

  it('of which one cannot store the list: it is pending, and told later', async () => {
    const { control, host } = await fleetOfThree();
    host('a').full = true;
    expect(value(await control.dispatcher.revoke('abcdef')).pending).toMatchObject([{ name: 'a' }]);
    host('a').full = false;
    expect(value(await control.dispatcher.maintain()).told).toEqual(['a']);
  });

  it('refuse to serve with a list that cannot be read, and say what to do', async () => {
    const { control, host } = await fleetOfThree();
    value(await control.dispatcher.revoke('abcdef'));
    const items = ['agent-revocation-lists'] as const;
    const text = value(await host('a').keyStore.read(items))['agent-revocation-lists'] ?? '';
    const [half, forged] = [text.slice(0, -40), text.replace(/.{12}(?=\n-----END)/, 'AAAAAAAAAAAA')];
    for (const broken of ['', 'garbage', half, `${text}${half}`, forged]) {
      value(await host('a').keyStore.replace({ 'agent-revocation-lists': broken }));
      const outcome = await (await host('a').up()).reload();
      expect(failure(outcome).message).toContain('the revocation list cannot be used');
    }
  });
});

it('an enrolment that nobody completed is revoked, also when it is opening the pairing port that drops it', async () => {
  const { control, clock, host } = await fleetOfThree();
  const { certificate } = await stateOf(host('a'));
  const { registry } = control.context;
  const spkiSha256 = 'ab'.repeat(32);
  const at = clock.now();
  const pin = {
    spkiSha256,
    state: 'issued',
    serial: 'abc',
    notAfter: certificate.notAfter,
    issuedAt: at,
  } as const;
  const endpoint = { host: 'new', ip: '192.0.2.9', port: 7443, lookupBy: 'hostname' } as const;
  const { standing } = await recordOf(control, 'a');
  value(await registry.enrol({ name: 'new', endpoint, pin, pairing: 'v2', replace: false, standing, at }));
  await clock.advance(day + 1000);
  const mode = value(await control.dispatcher.openPairing());
  await mode.close();
  expect(await control.context.revocations.has('abc')).toMatchObject({ value: true });
  expect(value(await registry.find('new'))).toBeUndefined();
});
