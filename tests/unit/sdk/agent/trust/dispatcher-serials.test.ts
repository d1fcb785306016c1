import { describe, expect, it } from 'vitest';
import { dispatcherUri } from '../../../../../src/domain/trust/certificate.js';
import {
  type Succession,
  successionMessage,
  successionToJson,
} from '../../../../../src/domain/trust/succession.js';
import type { Credentials } from '../../../../../src/ports/channel.js';
import { createAgent } from '../../../../../src/sdk/agent/agent.js';
import { selfCheck } from '../../../../../src/sdk/agent/checks.js';
import { failure, value } from '../../../../contract/result.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import {
  type AgentOptions,
  type Asked,
  dispatcherCredentials,
  servingAgent,
  signerOf,
  trustedSerial,
} from '../../../../support/fleet/memory-agents.js';
import { testCa } from '../../../../support/network/test-pki.js';

const own = `${trustedSerial} control\n`;

const serialOf = (credentials: Credentials) => signerOf(credentials).certificate.serial;

/** A certificate of the agent's CA, in date by its clock. */
const issued = ({ ca, clock }: Awaited<ReturnType<typeof servingAgent>>, over: object = {}) =>
  ca.issue({
    commonName: 'control',
    uris: [dispatcherUri('control')],
    usages: ['clientAuth'],
    notBefore: new Date(clock.now() - 60_000),
    notAfter: new Date(clock.now() + 60_000),
    ...over,
  });

/** The record that `next` follows `old`. */
const step = (old: Credentials, next: Credentials, joins?: true) => {
  const [from, to] = [signerOf(old), signerOf(next)];
  const fields = {
    old: from.certificate.serial,
    new: to.certificate.serial,
    at: 1,
    ...(joins && { joins }),
  };
  const sig = from.key.sign(successionMessage(fields, to.certificate.der));
  return { ...fields, newPem: to.certificate.pem, sig } satisfies Succession;
};

/** An agent that trusts `control`, and the legacy dispatcher `old` by the serial 0a. */
async function agentWith(options: AgentOptions = {}) {
  const agent = await servingAgent({
    configuration: 'accept_legacy_dispatchers = yes',
    trust: `${own}a old\n`,
    ...options,
  });
  const store = agent.keyStore;
  const read = async () =>
    value(await store.read(['trusted-dispatchers', 'dispatcher-certificates', 'trust-origins']));
  const lines = async () => ((await read())['trusted-dispatchers'] ?? '').split('\n').filter(Boolean);
  /** `/rotate-serial`; the error of the answer, undefined where it is `ok`. */
  const rotate = async (body: object, by: Asked = {}) => {
    const { json } = await agent.ask({ path: '/rotate-serial', body, ...by });
    return json['status'] === 'ok' ? undefined : (json['error'] ?? json);
  };
  const claim = (serial: string, by = 'a') =>
    rotate({ serial, action: 'add' }, { serial: by, uris: [], unsigned: true });
  const add = (next: Credentials, by: Asked = {}, more: object = {}) =>
    rotate({ serial: serialOf(next), action: 'add', pem: next.certificate, ...more }, by);
  const revoke = async (...serials: string[]) => {
    value(await store.replace({ 'revoked-serials': serials.join('\n') }));
    value(await agent.serving.reload());
  };
  const ping = async (by: Asked) => (await agent.ask({ path: '/ping', ...by })).status;
  return { ...agent, add, claim, lines, ping, read, revoke, rotate, store, sdk: createAgent(agent.context) };
}

describe('a dispatcher that signs', () => {
  it('adds a serial with its certificate, which counts for that certificate alone', async () => {
    const agent = await agentWith();
    const next = await dispatcherCredentials('c1');
    expect(await agent.add(next)).toBeUndefined();
    expect(await agent.lines()).toEqual([`${trustedSerial} control`, 'a old', 'c1 control']);
    expect(await agent.ping({ as: next })).toBe(200);
    expect(await agent.ping({ as: await issued(agent, { serial: 'c1' }) })).toBe(403);
    expect(await agent.add(await issued(agent, { serial: 'c1' }))).toBe(
      'another certificate of serial c1 is known',
    );
    const by = { dispatcher: 'control', serial: 'c1', by: trustedSerial, ip: '192.0.2.1' };
    expect(eventsOf(agent.events, 'serial-trusted').map(({ fields }) => fields)).toEqual([by]);
  });

  it('adds none without its certificate', async () => {
    const agent = await agentWith();
    for (const body of [
      { serial: 'c1', action: 'add' },
      { serial: 'c1', action: 'add', pem: '' },
      { serial: 'c1', action: 'add', pem: null },
    ])
      expect(await agent.rotate(body)).toEqual(expect.stringContaining('pem is'));
    expect(await agent.lines()).toHaveLength(2);
  });

  it.each<[string, object, string]>([
    [
      'of another dispatcher',
      { uris: [dispatcherUri('other')] },
      'pem is not a certificate of dispatcher control',
    ],
    ['of an agent that is a client, too', { uris: ['ctrl-exec:agent:web'] }, 'pem is not a certificate of'],
    ['that names nobody', { uris: [] }, 'pem is not a certificate of dispatcher control'],
    ['for servers only', { usages: ['serverAuth'] }, 'pem not for clientAuth'],
    ['that has expired', { notAfter: new Date(0) }, 'pem expired'],
    [
      'that is not valid yet',
      { notBefore: new Date(3e12), notAfter: new Date(4e12) },
      'pem not valid before',
    ],
  ])('adds none with a certificate %s', async (_, over, error) => {
    const agent = await agentWith();
    expect(await agent.add(await issued(agent, over))).toEqual(expect.stringContaining(error));
    expect(await agent.lines()).toHaveLength(2);
  });

  it('adds none with a certificate of another CA, nor with the one of another serial', async () => {
    const agent = await agentWith();
    const foreign = await issued({ ...agent, ca: await testCa() });
    expect(await agent.add(foreign)).toBe('pem is of no CA that is accepted here');
    const next = await issued(agent);
    expect(await agent.add(next, {}, { serial: 'c1' })).toBe('pem is not the certificate of serial c1');
    expect(await agent.lines()).toHaveLength(2);
  });

  it('has 32 serials with their certificates and no more; expired and revoked ones do not count', async () => {
    const agent = await agentWith();
    const serials = Array.from({ length: 32 }, (_, n) => `c${(n + 16).toString(16)}`);
    const pems = await Promise.all(serials.map((serial) => dispatcherCredentials(serial)));
    value(
      await agent.store.replace({
        'trusted-dispatchers': serials.map((serial) => `${serial} control\n`).join(''),
        'trust-origins': '',
        'dispatcher-certificates': pems.map(({ certificate }) => certificate).join(''),
      }),
    );
    value(await agent.serving.reload());
    const next = await dispatcherCredentials('d0');
    expect(await agent.add(next, { serial: 'c10' })).toBe('more than 32 serials of one dispatcher');
    await agent.revoke('c11');
    expect(await agent.add(next, { serial: 'c10' })).toBeUndefined();
    const expired = await issued(agent, { serial: 'c12', notAfter: new Date(agent.clock.now() - 1) });
    value(
      await agent.store.replace({
        'dispatcher-certificates': [...pems.filter((_, n) => n !== 2), next, expired]
          .map(({ certificate }) => certificate)
          .join(''),
      }),
    );
    value(await agent.serving.reload());
    const one = await dispatcherCredentials('d1');
    expect(await agent.add(one, { serial: 'c10' })).toBeUndefined();
    expect(await agent.add(await dispatcherCredentials('d2'), { serial: 'c10' })).toContain('more than 32');
  });
});

describe('the certificate of each request', () => {
  it.each([
    ['of another dispatcher', [dispatcherUri('other')]],
    ['of an agent', ['ctrl-exec:agent:web']],
    ['of a pairing server', ['ctrl-exec:pairing:control']],
    ['of a dispatcher named legacy', [dispatcherUri('legacy')]],
    ['of two roles', [dispatcherUri('control'), 'ctrl-exec:agent:web']],
    ['of two dispatchers', [dispatcherUri('control'), dispatcherUri('other')]],
    ['of a role in capitals', ['CTRL-EXEC:AGENT:web']],
  ])('must fit its trust line: one %s is refused', async (_, uris) => {
    const agent = await agentWith({ trust: `${own}c1 control\nc2\n` });
    for (const unsigned of [false, true]) {
      const told = await agent.ask({ path: '/run', serial: 'c1', uris, unsigned });
      expect(told).toMatchObject({ status: 403, json: { error: 'serial mismatch' }, bodyReads: 0 });
    }
    const [refused] = eventsOf(agent.events, 'request-refused');
    expect(refused?.fields.reason).toContain('serial mismatch: it is trusted as dispatcher control');
    expect(refused?.fields.reason).toContain(uris[0]);
    expect(await known(agent, 'c1', uris)).toBe(false);
  });

  it('that names no role is judged by its trust line alone', async () => {
    const agent = await agentWith();
    for (const uris of [[], ['https://control.example']]) {
      expect(await agent.ping({ serial: 'a', uris, unsigned: true })).toBe(200);
      expect(await known(agent, 'a', uris)).toBe(true);
    }
    const [called] = eventsOf(agent.events, 'ping-answered');
    expect(called?.fields.dispatcher).toBe('old');
  });

  /** Whether its listener takes a connection for one of a trusted dispatcher. */
  async function known(
    { heard, own }: Awaited<ReturnType<typeof agentWith>>,
    serial: string,
    uris: string[],
  ) {
    const { certificate } = signerOf(await dispatcherCredentials(serial, { uris }));
    const presented = signerOf(own).certificate;
    return heard.options?.knows?.({ address: '192.0.2.1', certificate, presented, tlsVersion: 'TLSv1.3' });
  }
});

describe('a serial that is trusted without an id', () => {
  it('takes the id of the first certificate that names one, and it stays that', async () => {
    const agent = await agentWith({ trust: 'c1\nc2 legacy\n' });
    expect(await agent.ping({ serial: 'c1', uris: [], unsigned: true })).toBe(200);
    expect(await agent.lines()).toEqual(['c1', 'c2 legacy']);
    for (const unsigned of [true, false]) {
      expect(await agent.ping({ serial: 'c1', uris: [dispatcherUri('control')], unsigned })).toBe(200);
      expect(await agent.lines()).toEqual(['c1 control', 'c2 legacy']);
    }
    value(await agent.serving.reload());
    expect(await agent.ping({ serial: 'c1', uris: [dispatcherUri('other')] })).toBe(403);
    const ids = eventsOf(agent.events, 'ping-answered').map(({ fields }) => fields.dispatcher);
    expect(ids).toEqual(['legacy', 'control', 'control']);
  });

  it('hands its id on: when its successor shows one, it takes the same', async () => {
    const agent = await agentWith({ trust: 'c1\n' });
    const first = { serial: 'c1', uris: [] };
    const next = await dispatcherCredentials('c2');
    expect(await agent.add(next, first)).toBeUndefined();
    expect(await agent.lines()).toEqual(['c1 legacy', 'c2 legacy']);
    expect(await agent.ping({ as: next })).toBe(200);
    expect(await agent.lines()).toEqual(['c1 control', 'c2 control']);
    expect(await agent.rotate({ serial: 'c1', action: 'remove' }, { as: next })).toBeUndefined();
    expect(await agent.lines()).toEqual(['c2 control']);
  });

  it('does not become a dispatcher that is trusted here already', async () => {
    const agent = await agentWith({ trust: `c1\n${own}` });
    const announced = await dispatcherCredentials('c2');
    expect(await agent.add(announced, { serial: 'c1', uris: [] })).toBeUndefined();
    expect(await agent.ping({ as: announced })).toBe(200);
    expect(await agent.lines()).toEqual(['c1 legacy', `${trustedSerial} control`, 'c2 control']);
  });

  it('takes over no serial of a dispatcher that has an id', async () => {
    const agent = await agentWith({ trust: `c1\nc2 control\n` });
    const other = await dispatcherCredentials('c2');
    expect(await agent.add(other, { serial: 'c1', uris: [] })).toBe(
      'serial c2 belongs to another dispatcher',
    );
  });
});

describe('a serial that a legacy dispatcher brings', () => {
  it('is unproven: two of a dispatcher at most, listed with what to do, until a person keeps them', async () => {
    const agent = await agentWith();
    for (const serial of ['b1', 'b2', 'b1']) expect(await agent.claim(serial)).toBeUndefined();
    expect(await agent.claim('b3')).toBe(
      'dispatcher old has brought 2 serials without a certificate (b1, b2); a person decides on this host: ctrl-exec-agent trust',
    );
    expect((await agent.read())['trust-origins']).toBe('b1 a\nb2 a\n');
    const warnings = async () =>
      (await selfCheck(agent.context)).filter(({ name }) => name === 'warning').map(({ detail }) => detail);
    expect(await warnings()).toEqual(
      ['b1', 'b2'].map((serial) =>
        expect.stringContaining(`serial ${serial} of dispatcher old is unproven: serial a brought it`),
      ),
    );
    value(await agent.sdk.keepSerial('B1'));
    expect(await agent.claim('b3')).toBeUndefined();
    expect((await warnings()).join()).not.toContain('serial b1');
    const [line] = value(await agent.sdk.trustedSerials()).filter(({ serial }) => serial === 'b1');
    expect(line).toEqual({
      serial: 'b1',
      dispatcherId: 'old',
      state: 'trusted',
      proven: false,
      mustSign: false,
      broughtBy: undefined,
    });
    for (const wrong of ['ff', 'no serial'])
      expect(failure(await agent.sdk.keepSerial(wrong)).code).toBe('invalid_argument');
  });

  it('does not count against what a person wrote, nor against another dispatcher', async () => {
    const agent = await agentWith({ trust: `${own}a old\nb1 old\nb2 old\nb3 old\nd other\n` });
    expect(await agent.claim('b4')).toBeUndefined();
    expect(await agent.claim('b5')).toBeUndefined();
    expect(await agent.claim('d1', 'd')).toBeUndefined();
    expect(await agent.claim('b6', 'b1')).toContain('has brought 2 serials');
  });

  it('may call, and rotates on: the one before is retired by the one that it brought', async () => {
    const agent = await agentWith();
    for (const [former, next] of [
      ['a', 'b1'],
      ['b1', 'b2'],
      ['b2', 'b3'],
    ] as const) {
      expect(await agent.claim(next, former)).toBeUndefined();
      const by = { serial: next, uris: [], unsigned: true };
      expect(await agent.ping(by)).toBe(200);
      expect(await agent.rotate({ serial: former, action: 'remove' }, by)).toBeUndefined();
    }
    expect(await agent.lines()).toEqual([`${trustedSerial} control`, 'b3 old']);
    // What b3 descends from is remembered, although it is not trusted any more.
    expect((await agent.read())['trust-origins']).toBe('b3 b2\nb2 b1\nb1 a\n');
  });

  it('goes when the serial that brought it is revoked, and what that brought, also over one that is gone', async () => {
    const agent = await agentWith();
    expect(await agent.claim('b1')).toBeUndefined();
    expect(await agent.claim('b2', 'b1')).toBeUndefined();
    const by = { serial: 'b2', uris: [], unsigned: true };
    expect(await agent.rotate({ serial: 'b1', action: 'remove' }, by)).toBeUndefined();
    expect(await agent.ping(by)).toBe(200);
    await agent.revoke('a');
    expect(await agent.ask({ path: '/ping', ...by })).toMatchObject({
      status: 403,
      json: { error: 'serial mismatch' },
    });
    const [state] = value(await agent.sdk.trustedSerials()).filter(({ serial }) => serial === 'b2');
    expect(state?.state).toBe('orphaned');
    expect((await selfCheck(agent.context)).map(({ detail }) => detail).join()).toContain(
      'serial b2 of dispatcher old is not trusted any more: serial b1 brought it',
    );
    // It is still there, and a person may know better.
    value(await agent.sdk.keepSerial('b2'));
    expect(await agent.ping(by)).toBe(403);
    value(await agent.serving.reload());
    expect(await agent.ping(by)).toBe(200);
  });

  it('goes also where the file that revokes who brought it has a bad line', async () => {
    const agent = await agentWith();
    expect(await agent.claim('b1')).toBeUndefined();
    value(await agent.store.replace({ 'revoked-serials': 'a\nno serial\n' }));
    expect((await agent.serving.reload()).isErr()).toBe(true);
    expect(await agent.ping({ serial: 'b1', uris: [], unsigned: true })).toBe(403);
  });

  it('goes with a revoked one although it signs, where its certificate names no dispatcher', async () => {
    const agent = await agentWith();
    expect(await agent.claim('b1')).toBeUndefined();
    // The certificate of an agent of an imported CA.
    expect(await agent.ping({ serial: 'b1', uris: [] })).toBe(200);
    await agent.revoke('a');
    expect(await agent.ping({ serial: 'b1', uris: [] })).toBe(403);
  });

  it('stays where its certificate names its dispatcher and it has signed', async () => {
    const agent = await agentWith({ trust: 'a control\n' });
    expect(await agent.claim('c1')).toBeUndefined();
    expect(await agent.ping({ serial: 'c1' })).toBe(200);
    await agent.revoke('a');
    expect(await agent.ping({ serial: 'c1' })).toBe(200);
  });

  it('cannot be brought over more than 64 generations', async () => {
    const agent = await agentWith();
    const origins = Array.from({ length: 64 }, (_, n) => `${n === 0 ? 'a' : `f${n}`} f${n + 1}\n`).join('');
    value(await agent.store.replace({ 'trust-origins': origins }));
    value(await agent.serving.reload());
    expect(await agent.claim('b1')).toContain('64 serials have followed one another');
    value(await agent.sdk.keepSerial('a'));
    expect(await agent.claim('b1')).toBeUndefined();
  });

  it('gives way to the dispatcher whose certificate it is, with an alarm: nobody is kept from a rotation', async () => {
    const agent = await agentWith();
    const next = await dispatcherCredentials('c1');
    expect(await agent.claim('c1')).toBeUndefined();
    // Claimed or not, it does not act as the one who claimed it.
    expect(await agent.ping({ as: next })).toBe(403);
    expect(await agent.add(next)).toBeUndefined();
    expect(await agent.lines()).toEqual([`${trustedSerial} control`, 'a old', 'c1 control']);
    expect(await agent.ping({ as: next })).toBe(200);
    expect(eventsOf(agent.events, 'serial-claim-replaced')).toEqual([
      {
        action: 'serial-claim-replaced',
        level: 'error',
        fields: { dispatcher: 'control', serial: 'c1', claimed: 'old', ip: '192.0.2.1' },
      },
    ]);
    await agent.revoke('a');
    expect(await agent.ping({ as: next })).toBe(200);
  });

  it('is not one of another dispatcher, nor a revoked one', async () => {
    const agent = await agentWith({ revoked: 'dead\n' });
    expect(await agent.claim(trustedSerial)).toBe(`serial ${trustedSerial} belongs to another dispatcher`);
    expect(await agent.claim('dead')).toBe('serial dead is revoked');
  });

  it('says nothing by a pem, a succession or a list: those are for requests that are signed', async () => {
    const agent = await agentWith({ trust: 'a control\n' });
    const next = await dispatcherCredentials('c1');
    const by = { serial: 'a', uris: [], unsigned: true };
    expect(await agent.add(next, by, { succession: 'none', crl_pem: 'none' })).toBeUndefined();
    expect((await agent.read())['dispatcher-certificates']).toBeUndefined();
    expect((await agent.read())['trust-origins']).toBe('c1 a\n');
  });
});

describe('a serial is retired', () => {
  async function rotated() {
    const agent = await agentWith();
    const [first, second, third] = await Promise.all(
      [trustedSerial, 'c2', 'c3'].map((serial) => dispatcherCredentials(serial)),
    );
    if (!first || !second || !third) throw new Error('no credentials');
    const remove = (of: Credentials, by: Credentials, ...records: readonly Succession[]) =>
      agent.rotate(
        {
          serial: serialOf(of),
          action: 'remove',
          ...(records.length > 0 && { succession: records.map(successionToJson) }),
        },
        { as: by },
      );
    return { agent, first, second, third, remove };
  }

  /** Lines with their certificates, and no note of who brought them, as version 0.1 left them. */
  async function withoutNotes() {
    const world = await rotated();
    const { agent, first, second, third } = world;
    const all = [first, second, third];
    value(
      await agent.store.replace({
        'trusted-dispatchers': all.map((each) => `${serialOf(each)} control\n`).join(''),
        'dispatcher-certificates': all.map(({ certificate }) => certificate).join(''),
        'trust-origins': null,
      }),
    );
    value(await agent.serving.reload());
    return world;
  }

  it('by the one that it brought, and never the other way round', async () => {
    const { agent, first, second, third, remove } = await rotated();
    expect(await agent.add(second)).toBeUndefined();
    expect(await agent.add(third, { as: second })).toBeUndefined();
    for (const [of, by] of [
      [second, first],
      [third, first],
      [third, second],
    ] as const)
      expect(await remove(of, by)).toBe(`nothing shows that ${serialOf(by)} replaces ${serialOf(of)}`);
    expect(await remove(first, third)).toBeUndefined();
    expect(await remove(second, third)).toBeUndefined();
    expect(await agent.lines()).toEqual(['a old', 'c3 control']);
    expect(eventsOf(agent.events, 'serial-retired').map(({ fields }) => fields.by)).toEqual(['c3', 'c3']);
  });

  it('by the records of succession, where nothing else says who follows whom', async () => {
    const { agent, first, second, third, remove } = await withoutNotes();
    const records = [step(first, second), step(second, third)];
    expect(await remove(first, third)).toBe(`nothing shows that c3 replaces ${trustedSerial}`);
    for (const [of, by] of [
      [second, first],
      [third, second],
    ] as const)
      expect(await remove(of, by, ...records)).toContain('nothing shows that');
    expect(await remove(first, third, ...records)).toBeUndefined();
    expect(await remove(second, third, ...records)).toBeUndefined();
    expect(await agent.lines()).toEqual(['c3 control']);
  });

  it.each<[string, (parts: Awaited<ReturnType<typeof withoutNotes>>) => readonly Succession[]]>([
    ['that lead elsewhere', ({ first, second }) => [step(first, second)]],
    ['with a gap', ({ second, third }) => [step(second, third)]],
    [
      'that another key signed',
      ({ first, second, third }) => [{ ...step(third, second), old: serialOf(first) }, step(second, third)],
    ],
    ['of a step that joins', ({ first, third }) => [step(first, third, true)]],
    [
      'with a step that joins',
      ({ first, second, third }) => [step(first, second, true), step(second, third)],
    ],
    [
      'whose mark of a step that joins was taken off',
      ({ first, third }) => {
        const { joins: _, ...record } = step(first, third, true);
        return [record];
      },
    ],
  ])('not by records %s', async (_, records) => {
    const parts = await withoutNotes();
    expect(await parts.remove(parts.first, parts.third, ...records(parts))).toContain('nothing shows that');
    expect(await parts.agent.lines()).toHaveLength(3);
  });

  it('not by an instance that joined: neither by the record nor by the note of who brought it', async () => {
    const { agent, first, second, remove } = await rotated();
    const joining = step(first, second, true);
    expect(await agent.add(second, {}, { succession: [successionToJson(joining)] })).toBeUndefined();
    expect(await agent.ping({ as: second })).toBe(200);
    expect(await remove(first, second)).toContain('nothing shows that');
    expect(await remove(first, second, joining)).toContain('nothing shows that');
  });

  it('not by a dispatcher of another id, whatever it has brought', async () => {
    const { agent } = await rotated();
    const by = { serial: 'a', uris: [], unsigned: true };
    const body = { serial: trustedSerial, action: 'remove' };
    expect(await agent.rotate(body, by)).toBe(`serial ${trustedSerial} belongs to another dispatcher`);
  });

  it('not by one that does not sign, where it does', async () => {
    const agent = await agentWith();
    expect(await agent.claim('b1')).toBeUndefined();
    expect(await agent.ping({ serial: 'a', uris: [] })).toBe(200);
    const by = { serial: 'b1', uris: [], unsigned: true };
    expect(await agent.rotate({ serial: 'a', action: 'remove' }, by)).toBe(
      'serial a signs its requests: only one that signs replaces it',
    );
  });

  it('and needs what any new one needs when it comes again', async () => {
    const { agent, first, second, remove } = await rotated();
    expect(await agent.add(second)).toBeUndefined();
    expect(await remove(first, second)).toBeUndefined();
    const again = { serial: trustedSerial, action: 'add' };
    expect(await agent.rotate(again, { as: second })).toContain('pem is missing');
    expect(await agent.add(first, { as: second })).toBeUndefined();
    expect(await agent.ping({ as: first })).toBe(200);
    // Each of them brought the other: neither note is a proof.
    expect(await remove(second, first)).toContain('nothing shows that');
    expect(await remove(first, second)).toContain('nothing shows that');
  });
});

describe('signatures are required', () => {
  it('of a certificate that has signed, and not of another one of the same dispatcher', async () => {
    const agent = await agentWith({ trust: 'a old\nb old\n' });
    // A stolen key of a legacy dispatcher signs.
    expect(await agent.ping({ serial: 'a', uris: [] })).toBe(200);
    expect(await agent.ping({ serial: 'a', uris: [], unsigned: true })).toBe(401);
    expect(await agent.ping({ serial: 'b', uris: [], unsigned: true })).toBe(200);
  });

  it('of what was announced by one that signs', async () => {
    const agent = await agentWith();
    const next = await dispatcherCredentials('c1');
    expect(await agent.add(next)).toBeUndefined();
    expect(await agent.ping({ as: next, unsigned: true })).toBe(401);
  });

  it('until a person says that the dispatcher is a legacy one again, and when it signs again', async () => {
    const agent = await agentWith();
    const by = { serial: 'a', uris: [] };
    expect(await agent.ping(by)).toBe(200);
    expect(await agent.ping({ ...by, unsigned: true })).toBe(401);
    const [refused] = eventsOf(agent.events, 'request-unverified');
    expect(refused?.fields.reason).toContain('ctrl-exec-agent trust --unsigned a');
    value(await agent.sdk.acceptUnsigned('0A'));
    value(await agent.serving.reload());
    expect(await agent.ping({ ...by, unsigned: true })).toBe(200);
    expect(await agent.ping(by)).toBe(200);
    expect(await agent.ping({ ...by, unsigned: true })).toBe(401);
  });

  it('of the ids that version 0.1 had noted, where their certificate is held', async () => {
    const agent = await agentWith();
    const held = await Promise.all(
      ['a', trustedSerial].map((serial) => dispatcherCredentials(serial, { uris: [] })),
    );
    value(
      await agent.store.replace({
        'dispatcher-certificates': held.map(({ certificate }) => certificate).join(''),
        'signing-dispatchers': 'control\n',
      }),
    );
    value(await agent.serving.reload());
    const [old, control] = held;
    expect(await agent.ping({ ...(old && { as: old }), unsigned: true })).toBe(200);
    expect(await agent.ping({ ...(control && { as: control }), unsigned: true })).toBe(401);
    // Of an agent of that version to which nobody has ever signed a request.
    value(await agent.store.replace({ 'signing-dispatchers': null }));
    value(await agent.serving.reload());
    expect(await agent.ping({ ...(control && { as: control }), unsigned: true })).toBe(200);
    value(await agent.store.replace({ 'signing-dispatchers': 'control\n' }));
    value(await agent.serving.reload());
    // The next change leaves nothing of that.
    expect(await agent.claim('b1')).toBeUndefined();
    const left = value(await agent.store.read(['signing-dispatchers', 'dispatcher-certificates']));
    expect(left).toEqual({
      'signing-dispatchers': undefined,
      'dispatcher-certificates': control?.certificate,
    });
  });
});
