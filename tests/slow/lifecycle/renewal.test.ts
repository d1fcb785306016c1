import { describe, expect, it } from 'vitest';
import type { CertificateProfile } from '../../../src/domain/trust/certificate.js';
import { renewAgent } from '../../../src/sdk/dispatcher/trust/renewal.js';
import { validFor } from '../../../src/sdk/dispatcher/trust/validity.js';
import { failure, value } from '../../contract/result.js';
import {
  ask,
  day,
  identityOf,
  type Loss,
  lifecycle,
  loseOnce,
  nth,
  paired,
  pingFails,
  presenceOf,
  recordOf,
  runFails,
  secondDispatcher,
  stateOf,
  until,
} from '../../support/fleet/lifecycle.js';
import { crypto } from '../../support/fleet/memory-fleet.js';
import { testCa } from '../../support/network/test-pki.js';

const due = 183 * day;

/** One host that answers, and whose certificate is due. */
async function dueFleet() {
  const world = await lifecycle(['web']);
  expect(await pingFails(world.control, 'web')).toBeUndefined();
  await world.clock.advance(due);
  return { ...world, web: world.host('web') };
}

describe('an agent is renewed', () => {
  it.each(['ping', 'maintain'] as const)('by %s, over a fresh key and at once', async (by) => {
    const { control, web } = await dueFleet();
    const before = await stateOf(web);
    if (by === 'ping') expect(await pingFails(control, 'web')).toBeUndefined();
    else expect(value(await control.dispatcher.maintain()).renewed).toEqual(['web']);
    const after = await stateOf(web);
    expect(after.key).not.toBe(before.key);
    expect(after.certificate.uris).toEqual(before.certificate.uris);
    const { pins } = await recordOf(control, 'web');
    expect(pins).toMatchObject([{ state: 'active', serial: after.certificate.serial }]);
    expect(await runFails(control, 'web')).toBeUndefined();
    const renewed = control.events.events.filter(({ action }) => action === 'agent-renewed');
    expect(renewed).toHaveLength(1);
  });

  it.each(['ping', 'maintain'] as const)('by %s not before half of its lifetime is over', async (by) => {
    const { control, clock, host } = await lifecycle(['web']);
    const before = await stateOf(host('web'));
    await clock.advance(182 * day);
    if (by === 'ping') await pingFails(control, 'web');
    else await control.dispatcher.maintain();
    expect((await stateOf(host('web'))).certificate.serial).toBe(before.certificate.serial);
  });

  it('while a run is under way, whose answer is signed by the old key and accepted', async () => {
    const { control, web } = await dueFleet();
    let open = () => {};
    web.gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const { started } = web;
    const running = runFails(control, 'web', 'slow');
    await until(() => web.started > started);
    const before = await stateOf(web);
    expect(value(await control.dispatcher.maintain()).renewed).toEqual(['web']);
    expect((await stateOf(web)).key).not.toBe(before.key);
    open();
    expect(await running).toBeUndefined();
    expect(await runFails(control, 'web')).toBeUndefined();
  });

  it('in the name that it has, after it was renamed in the registry', async () => {
    const { control, clock, host } = await lifecycle(['web']);
    value(await control.dispatcher.editAgent('web', { rename: 'shop' }));
    await clock.advance(due);
    expect(value(await control.dispatcher.maintain()).renewed).toEqual(['shop']);
    expect((await stateOf(host('web'))).certificate.uris).toEqual(['ctrl-exec:agent:web']);
    expect(await runFails(control, 'shop')).toBeUndefined();
  });

  it('over its key while two dispatchers have it pinned, by each of them, and both go on', async () => {
    const { control, fleet, clock, host } = await lifecycle(['web']);
    const web = host('web');
    const second = await secondDispatcher(fleet, control);
    await paired(second, web);
    await web.restart();
    const { key } = await stateOf(web);
    await clock.advance(due);
    expect(value(await control.dispatcher.maintain()).renewed).toEqual(['web']);
    expect(await runFails(second, 'web')).toBeUndefined();
    expect(value(await second.dispatcher.maintain()).renewed).toEqual(['web']);
    expect((await stateOf(web)).key).toBe(key);
    expect(await runFails(control, 'web')).toBeUndefined();
    expect(await runFails(second, 'web')).toBeUndefined();
    expect((await recordOf(control, 'web')).pins).toHaveLength(1);
  });
});

/** Where a renewal can break, and how. `updates` are what precedes it. */
const steps = ['/renew', '/renew-complete', '/ping'] as const;
const losses: readonly Loss[] = ['request', 'answer'];
const breaks = steps.flatMap((path) => losses.map((loss) => ({ path, loss })));

describe('a renewal that is interrupted leaves an agent that works', () => {
  describe.each(breaks)('the $loss of $path is lost', ({ path, loss }) => {
    it.each(['nothing else happens', 'the agent is restarted', 'the dispatcher is restarted'] as const)(
      'and %s: it answers, and the next renewal works',
      async (then) => {
        const { control, web } = await dueFleet();
        control.fault = loseOnce(path, loss);
        expect(value(await control.dispatcher.maintain()).failed).toHaveLength(1);
        if (then === 'the agent is restarted') await web.restart();
        const next = then === 'the dispatcher is restarted' ? control.restarted() : control;
        expect(await runFails(next, 'web')).toBeUndefined();
        const { renewed, failed } = value(await next.dispatcher.maintain());
        expect(failed).toEqual([]);
        const { certificate } = await stateOf(web);
        // Whether that pass had anything left to renew depends on how far the one before had come.
        expect(renewed.length).toBe(
          path === '/ping' || (path === '/renew-complete' && loss === 'answer') ? 0 : 1,
        );
        expect((await recordOf(next, 'web')).pins).toMatchObject([
          { state: 'active', serial: certificate.serial },
        ]);
        expect(certificate.notAfter).toBeGreaterThan(next.context.clock.now() + 364 * day);
      },
    );
  });

  it.each(breaks.flatMap((first) => breaks.map((then) => ({ first, then }))))(
    '$first.loss of $first.path, and in the next attempt $then.loss of $then.path',
    async ({ first, then }) => {
      const { control, web } = await dueFleet();
      const identity = await identityOf(control);
      // No request in between by which the dispatcher would learn what the agent has.
      for (const { path, loss } of [first, then]) {
        control.fault = loseOnce(path, loss);
        expect((await renewAgent(control.context, identity, await recordOf(control, 'web'))).isErr()).toBe(
          true,
        );
      }
      control.fault = () => undefined;
      expect(await runFails(control, 'web')).toBeUndefined();
      expect(value(await control.dispatcher.maintain()).failed).toEqual([]);
      const { certificate } = await stateOf(web);
      const { pins } = await recordOf(control, 'web');
      expect(pins.filter(({ state }) => state === 'active')).toMatchObject([{ serial: certificate.serial }]);
      expect(await runFails(control, 'web')).toBeUndefined();
    },
  );

  it('the agent cannot store the certificate: it keeps what it has, and says so', async () => {
    const { control, clock, host, add } = await lifecycle([]);
    const web = await add('web');
    await pingFails(control, 'web');
    await clock.advance(due);
    const before = await stateOf(web);
    const { replace } = web.keyStore;
    const fails = nth(1);
    Object.assign(web.keyStore, {
      replace: (...given: Parameters<typeof replace>) =>
        fails() ? replace({}).andThen(() => web.keyStore.checkWritable(['agent-key'])) : replace(...given),
    });
    // What it pretends to have written is not there when it looks: it answers for what is.
    await control.dispatcher.maintain();
    expect((await stateOf(web)).certificate.serial).toBe(before.certificate.serial);
    expect(await runFails(control, 'web')).toBeUndefined();
    expect(value(await control.dispatcher.maintain()).renewed).toEqual(['web']);
    expect(await runFails(control, 'web')).toBeUndefined();
    expect(host('web')).toBe(web);
  });

  it('the store of the dispatcher fails: the next pass does it', async () => {
    const { control, web } = await dueFleet();
    const { registry } = control.context;
    const broken = { ...registry, renew: () => registry.activate('nobody', '') } as typeof registry;
    const identity = await identityOf(control);
    const outcome = await renewAgent(
      { ...control.context, registry: broken },
      identity,
      await recordOf(control, 'web'),
    );
    expect(outcome.isErr()).toBe(true);
    expect(await runFails(control, 'web')).toBeUndefined();
    expect(value(await control.dispatcher.maintain()).renewed).toEqual(['web']);
    expect(await runFails(control, 'web')).toBeUndefined();
    expect(web.isUp()).toBe(true);
  });

  it('two passes at a time renew it once', async () => {
    const { control, web } = await dueFleet();
    const outcomes = await Promise.all([control.dispatcher.maintain(), control.dispatcher.maintain()]);
    const renewed = outcomes.flatMap((outcome) => value(outcome).renewed);
    expect(renewed).toEqual(['web']);
    expect(await runFails(control, 'web')).toBeUndefined();
    expect((await recordOf(control, 'web')).pins).toHaveLength(1);
    expect(web.isUp()).toBe(true);
  });
});

describe('an agent refuses a certificate', () => {
  const profile = { kind: 'agent', name: 'web' } as const;

  async function offered(
    make: (parts: Awaited<ReturnType<typeof dueFleet>> & { csrSpki: Uint8Array }) => Promise<string>,
  ) {
    const world = await dueFleet();
    const { control, web } = world;
    const before = await stateOf(web);
    const identity = await identityOf(control);
    const begun = await ask(control, identity, 'web', '/renew', { reqid: '1', key: 'new' });
    const csr = value(await control.context.certificateRequests.read(String(begun.json['csr'])));
    const cert = await make({ ...world, csrSpki: csr.spki });
    const answer = await ask(control, identity, 'web', '/renew-complete', { reqid: '1', cert });
    return {
      ...world,
      answer,
      changed: (await stateOf(web)).certificate.serial !== before.certificate.serial,
    };
  }

  const issued = async (
    { control }: Awaited<ReturnType<typeof dueFleet>>,
    spki: Uint8Array,
    of: CertificateProfile = profile,
    validity = validFor(control.context, 365),
  ) => value(await control.context.authority.issue(of, spki, validity)).pem;

  it('the right one is taken', async () => {
    const { answer, changed } = await offered((parts) => issued(parts, parts.csrSpki));
    expect(answer.json).toMatchObject({ status: 'ok', staged: false });
    expect(changed).toBe(true);
  });

  it.each([
    [
      'in another name',
      'cert is in another name',
      async (parts: Parameters<Parameters<typeof offered>[0]>[0]) =>
        issued(parts, parts.csrSpki, { kind: 'agent', name: 'db' }),
    ],
    [
      'of a dispatcher',
      'cert not for serverAuth',
      async (parts) => issued(parts, parts.csrSpki, { kind: 'dispatcher', dispatcherId: 'web' }),
    ],
    [
      'for another key',
      'cert is not for the key of the CSR',
      async (parts) => {
        const other = value(crypto.signingKey(value(await crypto.generateKey('p256'))));
        return issued(parts, other.spki);
      },
    ],
    [
      'of another CA',
      'cert is not of a CA that is accepted here',
      async (parts) => {
        const foreign = await lifecycle([]);
        const { authority } = foreign.control.context;
        const validity = validFor(parts.control.context, 365);
        return value(await authority.issue(profile, parts.csrSpki, validity)).pem;
      },
    ],
    [
      'that is out of date',
      /^cert expired at/,
      async (parts) => {
        const now = parts.clock.now();
        return issued(parts, parts.csrSpki, profile, { notBefore: now - 2 * day, notAfter: now - day });
      },
    ],
    [
      'that is not valid yet',
      /^cert not valid before/,
      async (parts) => {
        const now = parts.clock.now();
        return issued(parts, parts.csrSpki, profile, { notBefore: now + day, notAfter: now + 2 * day });
      },
    ],
    ['that is none', 'cert is not a certificate', async () => 'nonsense'],
  ] as [string, string | RegExp, Parameters<typeof offered>[0]][])('%s', async (_, words, make) => {
    const { answer, changed, control } = await offered(make);
    expect(answer.json).toMatchObject({ status: 'error', error: expect.stringMatching(words) });
    expect(changed).toBe(false);
    expect(await runFails(control, 'web')).toBeUndefined();
  });

  it('that it did not ask for', async () => {
    const { control, web } = await dueFleet();
    const { certificate } = await stateOf(web);
    const pem = value(
      await control.context.authority.issue(profile, certificate.spki, validFor(control.context, 365)),
    ).pem;
    const answer = await ask(control, await identityOf(control), 'web', '/renew-complete', { cert: pem });
    expect(answer.json).toMatchObject({ status: 'error', error: 'no renewal is under way' });
  });

  it('over a fresh key, when another dispatcher was paired in between', async () => {
    const { answer, changed, control } = await offered(async (parts) => {
      const second = await secondDispatcher(parts.fleet, parts.control);
      await paired(second, parts.web);
      return issued(parts, parts.csrSpki);
    });
    expect(answer.json).toMatchObject({
      status: 'error',
      error: expect.stringContaining('another dispatcher'),
    });
    // The pairing brought a certificate of its own, over the same key.
    expect(changed).toBe(true);
    expect(await runFails(control, 'web')).toBeUndefined();
  });

  it('after the host was given another key', async () => {
    const { answer, control, web } = await offered(async (parts) => {
      value(await parts.web.keyStore.replace({ 'agent-key': null }));
      await paired(parts.control, parts.web);
      await parts.web.reload();
      return issued(parts, parts.csrSpki);
    });
    expect(answer.json['error']).toBe('this host was given another key meanwhile: begin again');
    expect(web.isUp()).toBe(true);
    expect(await pingFails(control, 'web')).toBeUndefined();
  });
});

/** Renews over the key that the host has, with a certificate of this validity. */
async function renewedFor(
  { control, web }: Awaited<ReturnType<typeof dueFleet>>,
  validity: { notBefore: number; notAfter: number },
) {
  const identity = await identityOf(control);
  await ask(control, identity, 'web', '/renew', {});
  const { spki } = (await stateOf(web)).certificate;
  const made = await control.context.authority.issue({ kind: 'agent', name: 'web' }, spki, validity);
  const cert = value(made).pem;
  const { json } = await ask(control, identity, 'web', '/renew-complete', { cert });
  return { said: json['error'] ?? json['status'], cert };
}

describe('a certificate goes forward', () => {
  it('one that was issued before the present one is not taken, also where it ends later', async () => {
    const world = await dueFleet();
    const { certificate } = await stateOf(world.web);
    const validity = { notBefore: certificate.notBefore - 1000, notAfter: certificate.notAfter + 90 * day };
    expect((await renewedFor(world, validity)).said).toBe('cert was issued before the present one');
    expect((await stateOf(world.web)).certificate.serial).toBe(certificate.serial);
  });

  it('the one of before is not taken again, and the present one is', async () => {
    const world = await dueFleet();
    const { control, web, clock } = world;
    const before = await stateOf(web);
    const { said, cert } = await renewedFor(world, validFor(control.context, 365));
    expect(said).toBe('ok');
    await clock.advance(day);
    const identity = await identityOf(control);
    const complete = async (pem: string) => {
      await ask(control, identity, 'web', '/renew', {});
      const { json } = await ask(control, identity, 'web', '/renew-complete', { cert: pem });
      return json['error'] ?? json['status'];
    };
    expect(await complete(before.certificate.pem)).toBe('cert was issued before the present one');
    expect(await complete(cert)).toBe('ok');
    expect((await stateOf(web)).certificate.pem).toBe(cert);
  });

  it.each([
    ['ends tomorrow', 1, 'cert ends sooner than the present one, and within 7 days'],
    ['ends in 6 days', 6, 'cert ends sooner than the present one, and within 7 days'],
    ['ends in 7 days, for cert_days was lowered', 7, 'ok'],
    ['ends in 100 days', 100, 'ok'],
  ])('a new one that %s', async (_, days, said) => {
    const world = await dueFleet();
    expect((await renewedFor(world, validFor(world.control.context, days))).said).toBe(said);
  });

  it('a new one that ends tomorrow is taken where the present one ends sooner', async () => {
    const world = await dueFleet();
    await world.clock.advance(181.5 * day);
    expect((await renewedFor(world, validFor(world.control.context, 1))).said).toBe('ok');
  });

  it('one of 100 years keeps no shorter one away, nor one of a clock that was ahead', async () => {
    const world = await dueFleet();
    const { control, clock, web } = world;
    expect((await renewedFor(world, validFor(control.context, 3000))).said).toBe('ok');
    expect((await renewedFor(world, validFor(control.context, 30))).said).toBe('ok');
    const { key, certificate } = await stateOf(web);
    const ahead = { notBefore: clock.now() + 300 * day, notAfter: clock.now() + 600 * day };
    const made = await control.context.authority.issue(
      { kind: 'agent', name: 'web' },
      certificate.spki,
      ahead,
    );
    value(await web.keyStore.replace({ 'agent-key': key, 'agent-certificate': value(made).pem }));
    await web.reload();
    expect((await renewedFor(world, validFor(control.context, 30))).said).toBe('ok');
  });

  it('one may be issued by a clock that is 30 s ahead, and not by one that is further ahead', async () => {
    const world = await dueFleet();
    const at = (seconds: number) => {
      const from = world.clock.now() + seconds * 1000;
      return { notBefore: from, notAfter: from + 90 * day };
    };
    expect((await renewedFor(world, at(40))).said).toMatch(/^cert not valid before /);
    expect((await renewedFor(world, at(29))).said).toBe('ok');
  });
});

describe('several dispatchers renew at once', () => {
  async function both() {
    const world = await dueFleet();
    const second = await secondDispatcher(world.fleet, world.control);
    await paired(second, world.web);
    await world.web.reload();
    const begun = async (each: typeof second, key?: string) => {
      const { json } = await ask(each, await identityOf(each), 'web', '/renew', { key });
      const csr = value(await each.context.certificateRequests.read(String(json['csr'])));
      const made = each.context.authority.issue(
        { kind: 'agent', name: 'web' },
        csr.spki,
        validFor(each.context, 365),
      );
      return value(await made).pem;
    };
    const completed = async (each: typeof second, cert: string) =>
      (await ask(each, await identityOf(each), 'web', '/renew-complete', { cert })).json['status'];
    return { ...world, second, begun, completed };
  }

  it('and each gets its certificate in, over the key that all of them have pinned', async () => {
    const { control, second, web, begun, completed } = await both();
    const { key } = await stateOf(web);
    const [mine, theirs] = [await begun(control, 'new'), await begun(second, 'new')];
    expect(await completed(control, mine)).toBe('ok');
    expect(await completed(second, theirs)).toBe('ok');
    expect((await stateOf(web)).key).toBe(key);
    for (const each of [control, second]) expect(await runFails(each, 'web')).toBeUndefined();
  });

  it('and one that begins again and again keeps nobody from it', async () => {
    const { control, second, begun, completed } = await both();
    const theirs = await begun(second);
    for (let times = 0; times < 40; times += 1) await begun(control);
    expect(await completed(second, theirs)).toBe('ok');
  });

  it('32 of them at most: then the first has to begin again', async () => {
    const { control, second, web, begun, completed } = await both();
    const theirs = await begun(second);
    const others = await Promise.all(
      Array.from({ length: 32 }, (_, index) => presenceOf(control, `d${index}`)),
    );
    const lines = others.map(({ certificate }, index) => `${certificate.serial} d${index}\n`);
    const { trust } = await stateOf(web);
    value(
      await web.keyStore.replace({ 'trusted-dispatchers': `${[...trust, ''].join('\n')}${lines.join('')}` }),
    );
    await web.reload();
    for (const each of others)
      expect((await ask(control, each, 'web', '/renew', {})).json['status']).toBe('ok');
    expect(await completed(second, theirs)).toBe('error');
    expect(await completed(second, await begun(second))).toBe('ok');
  });
});

it('a pairing with a second dispatcher, whose key was renewed before it ended, installs nothing', async () => {
  const { control, web, fleet } = await dueFleet();
  const second = await secondDispatcher(fleet, control);
  const opened = value(await second.dispatcher.openPairing());
  const pairing = web.test.agent.pair({
    dispatcher: 'second.test',
    trust: {
      kind: 'compare',
      confirm: async ({ request }) => {
        expect(value(await control.dispatcher.maintain()).renewed).toEqual(['web']);
        return (await second.dispatcher.approve({ id: request })).isOk();
      },
    },
  });
  const { code, message } = failure(await fleet.settle(pairing));
  await opened.close();
  expect({ code, message }).toMatchObject({
    code: 'identity_exists',
    message: expect.stringContaining('pair again'),
  });
  await web.restart();
  expect(await runFails(control, 'web')).toBeUndefined();
});

it('an agent whose key is not the pinned one is not renewed', async () => {
  const { control, web } = await dueFleet();
  const ca = await testCa();
  const own = await ca.issue({ commonName: 'web', dnsNames: ['web'], usages: ['serverAuth'] });
  value(await web.keyStore.replace({ 'agent-key': own.key, 'agent-certificate': own.certificate }));
  await web.restart();
  const { failed } = value(await control.dispatcher.maintain());
  expect(failed).toHaveLength(1);
});
