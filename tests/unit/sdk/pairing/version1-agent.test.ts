import { createHash } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { legacyPairingCode } from '../../../../src/domain/legacy/pairing.js';
import type { Credentials } from '../../../../src/ports/channel.js';
import type { PairingCode, PairingOptions } from '../../../../src/sdk/agent/pairing/options.js';
import { failure, value } from '../../../contract/result.js';
import {
  crypto,
  dispatcherHost,
  type MemoryFleet,
  memoryFleet,
  pairAgent,
  setUp,
  type TestAgent,
} from '../../../support/fleet/memory-fleet.js';
import { type LegacyImpostor, legacyControl } from '../../../support/legacy/memory.js';
import { tapped } from '../../../support/network/tapped-channel.js';
import { type TestCa, testCa } from '../../../support/network/test-pki.js';

let fleet: MemoryFleet;
let joining: TestAgent;
/** As legacy installations have them: version 1, no extensions, a serial from a counter. */
let ca: TestCa;
let own: Credentials;
let other: TestCa;

beforeAll(async () => {
  ca = await testCa({ commonName: 'legacy CA', version1: true });
  own = await ca.issue({ commonName: 'ctrl-exec-dispatcher', version1: true, serial: '1a' });
  other = await testCa({ commonName: 'another CA', version1: true });
});
beforeEach(() => {
  fleet = memoryFleet();
  joining = fleet.agent('web-01');
});

const fingerprintOf = ({ pem }: TestCa) =>
  createHash('sha256')
    .update(value(crypto.readCertificate(pem)).der)
    .digest('hex');

const read = (agent: TestAgent) =>
  agent.context
    .keyStore(undefined as never)
    .read([
      'agent-key',
      'agent-certificate',
      'ca-certificate',
      'trusted-dispatchers',
      'dispatcher-certificates',
    ])
    .map((documents) => documents as Record<string, string | undefined>);

const nothingInstalled = async (agent = joining) =>
  expect(Object.values(value(await read(agent))).filter(Boolean)).toEqual([]);

function pairing(options: Partial<PairingOptions> = {}, agent = joining) {
  const codes: PairingCode[] = [];
  const outcome = agent.agent.pair({
    dispatcher: 'legacy.test',
    allowV1: true,
    trust: { kind: 'ca-sha256', fingerprint: fingerprintOf(ca) },
    onCode: (code) => codes.push(code),
    ...options,
  });
  return { codes, outcome: settled(outcome) };
}

/** Moves time on until the promise is settled; a key of RSA takes so long that it must not run away meanwhile. */
async function settled<T>(promise: PromiseLike<T>): Promise<T> {
  let over = false;
  const watched = Promise.resolve(promise).finally(() => {
    over = true;
  });
  while (!over) {
    await fleet.clock.advance(100);
    await setTimeout(1);
  }
  return watched;
}

const legacy = (script: Partial<LegacyImpostor> = {}) => legacyControl(fleet, { ca, own, ...script });

describe('pairing by version 1', () => {
  it('installs key, certificate, CA and trust, and not the certificate of the dispatcher, which need not sign', async () => {
    const { paths, asked, serial } = await legacy();
    const { codes, outcome } = pairing();
    const paired = value(await outcome);
    expect(paired).toMatchObject({
      name: 'web-01',
      dispatcherId: 'old-control',
      version: 'v1',
      acceptsUnsigned: false,
    });
    expect(paths).toEqual(['/pair/v2/start', '/pair']);
    const code = legacyPairingCode(crypto.sha256, String(asked[0]?.['csr']));
    expect(paired.code).toBe(code);
    expect(codes).toEqual([{ code, request: '3698ad2223d6b146', dispatcherId: undefined, version: 'v1' }]);
    const documents = value(await read(joining));
    expect(documents['ca-certificate']).toBe(ca.pem);
    expect(documents['trusted-dispatchers']).toBe(`${serial} old-control\n`);
    expect(documents['dispatcher-certificates']).toBeUndefined();
    const certificate = value(crypto.readCertificate(documents['agent-certificate'] ?? ''));
    const { spki, algorithm } = value(crypto.signingKey(documents['agent-key'] ?? ''));
    expect(certificate.spki).toEqual(spki);
    // Dispatchers from 0.12 on sign no other.
    expect(algorithm).toBe('rsa-pss-sha512');
    expect(value(await joining.agent.pairingStatus())).toMatchObject({
      paired: true,
      dispatchers: ['old-control'],
    });
  });

  it('asks for the name, the port and the way to be found, as deployed agents do', async () => {
    const { asked } = await legacy();
    await pairing({ hostName: 'WEB-01.example.org', agentPort: 8443, lookupBy: 'ip' }).outcome;
    expect(asked).toEqual([
      {
        hostname: 'web-01.example.org',
        nonce: expect.stringMatching(/^[0-9a-f]{32}$/),
        csr: expect.stringMatching(/^-----BEGIN CERTIFICATE REQUEST-----\n/),
        port: 8443,
        lookup_by: 'ip',
      },
    ]);
  });

  it('believes whoever answers where it is told to trust at the first use', async () => {
    await legacy();
    const { outcome } = pairing({ trust: { kind: 'first-use' } });
    expect(value(await outcome).version).toBe('v1');
  });

  it('says whether what a legacy dispatcher sends is accepted', async () => {
    await legacy();
    joining = fleet.agent('web-01', 'accept_legacy_dispatchers = yes\n');
    expect(value(await pairing().outcome).acceptsUnsigned).toBe(true);
  });

  it('takes a dispatcher of 0.8, which says no id, for one that has none', async () => {
    const { serial } = await legacy({
      decide: async (_asked, approved) => {
        const { dispatcher_id: _, ...rest } = await approved();
        return rest;
      },
    });
    expect(value(await pairing().outcome).dispatcherId).toBe('legacy');
    expect(value(await read(joining))['trusted-dispatchers']).toBe(`${serial} legacy\n`);
  });

  it('refuses a dispatcher that says that its id is legacy', async () => {
    await legacy({
      decide: async (_asked, approved) => ({ ...(await approved()), dispatcher_id: 'legacy' }),
    });
    expect(failure(await pairing().outcome).code).toBe('invalid_argument');
    expect(value(await read(joining))['trusted-dispatchers']).toBeUndefined();
  });

  it('trusts the serial of the certificate where a dispatcher of 0.12.2 sends it mangled, or none', async () => {
    for (const said of ['a', '10', '0010', undefined]) {
      fleet = memoryFleet();
      joining = fleet.agent('web-01');
      await legacy({
        own: await ca.issue({ commonName: 'ctrl-exec-dispatcher', version1: true, serial: '10' }),
        decide: async (_asked, approved) => ({ ...(await approved()), dispatcher_serial: said }),
      });
      expect((await pairing().outcome).isOk(), said).toBe(true);
      expect(value(await read(joining))['trusted-dispatchers']).toBe('10 old-control\n');
    }
  });

  it('trusts the serial that is said where TLS shows another certificate, and keeps none for it', async () => {
    await legacy({
      decide: async (_asked, approved) => ({ ...(await approved()), dispatcher_serial: '0F3' }),
    });
    value(await pairing().outcome);
    const documents = value(await read(joining));
    expect(documents['trusted-dispatchers']).toBe('f3 old-control\n');
    expect(documents['dispatcher-certificates'] ?? '').toBe('');
  });

  it('keeps the key where a further dispatcher of the same CA is paired with', async () => {
    await legacy();
    value(await pairing().outcome);
    const before = value(await read(joining));
    await legacyControl(
      fleet,
      {
        ca,
        own: await ca.issue({ version1: true, serial: '2b' }),
        decide: async (_a, approved) => ({ ...(await approved()), dispatcher_id: 'second' }),
      },
      'second.test',
    );
    value(await pairing({ dispatcher: 'second.test' }).outcome);
    const after = value(await read(joining));
    expect(after['agent-key']).toBe(before['agent-key']);
    expect(after['trusted-dispatchers']).toBe('1a old-control\n2b second\n');
  });

  it('does not give up an identity of another CA unless told to', async () => {
    const control = fleet.dispatcher();
    await setUp(control);
    value(await pairAgent(fleet, control, joining));
    await legacy();
    expect(failure(await pairing().outcome).code).toBe('identity_exists');
    expect(value(await joining.agent.pairingStatus()).dispatchers).toEqual(['control']);
    // The key that it has is no RSA key, and is asked for a certificate all the same.
    expect((await pairing({ replace: true }).outcome).isOk()).toBe(true);
    expect(value(await joining.agent.pairingStatus()).dispatchers).toEqual(['old-control']);
  });

  it('tells a denial, an expiry and a refusal apart', async () => {
    for (const [answer, expected] of [
      [
        { status: 'denied', reason: 'rejected by operator' },
        { code: 'pairing_denied', reason: 'rejected by operator' },
      ],
      [{ status: 'denied', reason: 'approval timeout' }, { code: 'pairing_expired' }],
      [{ status: 'denied' }, { code: 'pairing_denied' }],
      [{ status: 'pending', reqid: 'x' }, { code: 'protocol_violation' }],
    ] as const) {
      fleet = memoryFleet();
      joining = fleet.agent('web-01');
      await legacy({ decide: async () => answer });
      expect(failure(await pairing().outcome)).toMatchObject(expected);
    }
    for (const [first, expected] of [
      [
        { status: 'error', reason: 'invalid hostname' },
        { code: 'refused', reason: 'invalid hostname' },
      ],
      [{ status: 'denied', reason: 'no' }, { code: 'pairing_denied' }],
      [{ hello: 1 }, { code: 'protocol_violation' }],
    ] as const) {
      fleet = memoryFleet();
      joining = fleet.agent('web-01');
      await legacy({ first });
      const { codes, outcome } = pairing();
      expect(failure(await outcome)).toMatchObject(expected);
      expect(codes).toEqual([]);
    }
    await nothingInstalled();
  });

  it('asks again while the queue is full, as long as it has time', async () => {
    const { paths } = await legacy({ first: { status: 'error', reason: 'pairing queue full' } });
    const { outcome } = pairing({ timeout: 25 });
    expect(failure(await outcome)).toMatchObject({
      code: 'refused',
      reason: 'pairing queue full',
    });
    expect(paths).toEqual(['/pair/v2/start', '/pair', '/pair', '/pair']);
  });

  it('ends with its signal, wherever it is', async () => {
    const stop = new AbortController();
    await legacy({ decide: () => new Promise(() => undefined) });
    const { outcome } = pairing({ signal: stop.signal, onCode: () => stop.abort() });
    expect(failure(await outcome).code).toBe('aborted');
    await nothingInstalled();
  });
});

describe('version 1 is not tried', () => {
  const unasked = async (options: Partial<PairingOptions>, script: Partial<LegacyImpostor> = {}) => {
    const { paths } = await legacy(script);
    const { outcome } = pairing({ timeout: 5, ...options });
    const error = failure(await outcome);
    await nothingInstalled();
    return { code: error.code, paths };
  };
  const start = ['/pair/v2/start'];

  it('unless it is allowed', async () => {
    expect(await unasked({ allowV1: false })).toEqual({ code: 'refused', paths: start });
  });

  it.each<[string, PairingOptions['trust']]>([
    ['people compare codes', { kind: 'compare', confirm: async () => true }],
    ['a join token is given', { kind: 'join', token: `cxj2.${'A'.repeat(11)}.${'A'.repeat(43)}` }],
  ])('where %s', async (_what, trust) => {
    expect(await unasked({ trust })).toEqual({ code: 'invalid_argument', paths: [] });
  });

  it.each<[string, number, Record<string, unknown>]>([
    ['an error of version 2', 400, { status: 'error', error: 'invalid' }],
    ['an error of both versions', 400, { status: 'error', error: 'invalid', reason: 'invalid request' }],
    ['that the queue is full', 429, { status: 'error', error: 'queue_full' }],
    ['a fault of its own', 500, { status: 'error', error: 'internal' }],
    ['something else', 200, { hello: 1 }],
  ])('after %s in answer to M1', async (_what, status, body) => {
    const { code, paths } = await unasked({}, { toStart: { status, body } });
    expect(paths).toEqual(start);
    expect(['refused', 'protocol_violation']).toContain(code);
  });

  it('after a 404 of a dispatcher that has shown before that it knows version 2', async () => {
    let turn = 0;
    const toStart = {
      get status() {
        turn += 1;
        return turn === 1 ? 429 : 404;
      },
      get body() {
        return { status: 'error', error: turn === 1 ? 'queue_full' : 'not_found' };
      },
    };
    const { paths } = await unasked({ timeout: 25 }, { toStart });
    expect(paths).toEqual([...start, ...start]);
  });

  it('after M2, whatever is said then', async () => {
    const control = fleet.dispatcher();
    await setUp(control);
    const paths: string[] = [];
    const between: TestAgent['context'] = {
      ...joining.context,
      channel: tapped(joining.context.channel, (request, pass) => {
        paths.push(request.path);
        return pass(request).map((answer) =>
          request.path === '/pair/v2/nonce'
            ? {
                ...answer,
                status: 404,
                body: new TextEncoder().encode('{"status":"error","reason":"invalid request"}'),
              }
            : answer,
        );
      }),
    };
    const { createAgent } = await import('../../../../src/sdk/agent/agent.js');
    const tampered = { ...joining, agent: createAgent(between) };
    const { outcome } = pairing({ dispatcher: dispatcherHost, trust: { kind: 'first-use' } }, tampered);
    expect(failure(await outcome).code).toBe('refused');
    expect(paths).toEqual(['/pair/v2/start', '/pair/v2/nonce']);
    await nothingInstalled();
  });

  it('with a dispatcher that knows version 2: that is taken, and the offer is hashed', async () => {
    const control = fleet.dispatcher();
    await setUp(control);
    const { outcome } = pairing({
      dispatcher: dispatcherHost,
      trust: { kind: 'first-use' },
      onCode: ({ request, code }) =>
        void control.dispatcher.approve({ id: request, code }).then((approved) => value(approved)),
    });
    expect(value(await outcome).version).toBe('v2');
  });
});

it('a 404 in answer to M1 leads to version 1', async () => {
  await legacy({ toStart: { status: 404, body: { error: 'not found' } } });
  expect(value(await pairing().outcome).version).toBe('v1');
});

describe('an approval of version 1 is refused, and nothing of it installed,', () => {
  const refusedAs = async (script: Partial<LegacyImpostor>, options: Partial<PairingOptions> = {}) => {
    await legacy(script);
    const error = failure(await pairing(options).outcome);
    await nothingInstalled();
    return `${error.code}: ${error.message}`;
  };
  const changed = (change: Record<string, unknown>): Partial<LegacyImpostor> => ({
    decide: async (_asked, approved) => ({ ...(await approved()), ...change }),
  });

  it.each(['', 'ab'.repeat(16)])('with another nonce, %j', async (nonce) => {
    expect(await refusedAs(changed({ nonce }))).toMatch(/^wrong_identity: .*nonce/);
  });

  it('of a CA with another fingerprint', async () => {
    const trust = { kind: 'ca-sha256', fingerprint: fingerprintOf(other) } as const;
    expect(await refusedAs({}, { trust })).toMatch(/^wrong_identity: .*another fingerprint/);
  });

  it('from who does not hold a certificate of the CA with this fingerprint', async () => {
    const strange = await other.issue({ version1: true, serial: '1a' });
    expect(await refusedAs({ own: strange })).toMatch(/^wrong_identity: .*not of that CA/);
  });

  it('from who holds a certificate of that CA which is out of date, or for no server', async () => {
    const past = new Date(Date.now() - 60_000);
    expect(await refusedAs({ own: await ca.issue({ version1: true, notAfter: past }) })).toMatch(
      /^wrong_identity: .*expired/,
    );
    fleet = memoryFleet();
    joining = fleet.agent('web-01');
    expect(await refusedAs({ own: await ca.issue({ usages: ['clientAuth'] }) })).toMatch(
      /^wrong_identity: .*not for serverAuth/,
    );
  });

  it('from who holds the certificate of an agent', async () => {
    const agent = await ca.issue({ uris: ['ctrl-exec:agent:web-02'], usages: ['serverAuth'] });
    expect(await refusedAs({ own: agent })).toMatch(/^wrong_identity: .*not the one of old-control/);
  });

  it('with a certificate of another CA, although the right one is beside it', async () => {
    expect(
      await refusedAs({
        decide: async (asked, approved) => {
          const theirs = await approved();
          const { x509CertificateRequests } = await import(
            '../../../../src/adapters/x509/certificate-requests.js'
          );
          const { spki } = value(await x509CertificateRequests().read(String(asked['csr'])));
          const { certificate } = await other.issue({ version1: true, spki });
          return { ...theirs, cert: certificate, ca: `${other.pem}${ca.pem}` };
        },
      }),
    ).toMatch(/^certificate_invalid: .*cert: not of the CA/);
  });

  it('with a certificate for another key', async () => {
    const { certificate: cert } = await ca.issue({ version1: true });
    expect(await refusedAs(changed({ cert }))).toMatch(/^certificate_invalid: .*not for the key/);
  });

  it('with a certificate that is out of date, or for no server', async () => {
    const notAfter = new Date(Date.now() - 60_000);
    expect(await refusedAs({ issue: { notAfter } })).toMatch(/^certificate_invalid: .*expired/);
    fleet = memoryFleet();
    joining = fleet.agent('web-01');
    expect(await refusedAs({ issue: { version1: false, usages: ['clientAuth'] } })).toMatch(
      /^certificate_invalid: .*not for serverAuth/,
    );
  });

  it.each<[string, Record<string, unknown>]>([
    ['no CA', { ca: '' }],
    ['what is no CA', { ca: 'agent' }],
    ['an id that is none', { dispatcher_id: 'a b' }],
    ['an empty id', { dispatcher_id: '' }],
    ['a serial that is none', { dispatcher_serial: '12 34' }],
    ['no certificate', { cert: undefined }],
  ])('with %s', async (_what, change) => {
    const { certificate } = await ca.issue({ version1: true });
    const text = change['ca'] === 'agent' ? { ca: certificate } : change;
    expect(await refusedAs(changed(text), { trust: { kind: 'first-use' } })).toMatch(
      /^(certificate_invalid|invalid_argument|protocol_violation): /,
    );
  });

  it('without a serial, from who shows no certificate of a dispatcher', async () => {
    const strange = await other.issue({ version1: true });
    expect(
      await refusedAs(
        { own: strange, ...changed({ dispatcher_serial: undefined }) },
        { trust: { kind: 'first-use' } },
      ),
    ).toMatch(/^certificate_invalid: .*dispatcher_serial/);
  });
});
