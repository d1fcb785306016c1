import { createHash } from 'node:crypto';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { utf8 } from '../../../../src/domain/core/bytes.js';
import { parseJsonObject } from '../../../../src/domain/core/json.js';
import { splitCertificates } from '../../../../src/domain/core/pem.js';
import { writePairingMessage } from '../../../../src/domain/pairing/messages.js';
import { jsonAnswer } from '../../../../src/domain/protocol/http-message.js';
import { caEndorsementMessage } from '../../../../src/domain/trust/lifecycle.js';
import type { PairingTrust } from '../../../../src/sdk/agent/pairing/options.js';
import { failure, value } from '../../../contract/result.js';
import {
  crypto,
  type MemoryFleet,
  memoryFleet,
  pairAgent,
  pairingPort,
  setUp,
  type TestAgent,
} from '../../../support/fleet/memory-fleet.js';
import { type TestCa, testCa } from '../../../support/network/test-pki.js';
import { impostor } from '../../../support/pairing/server.js';

let fleet: MemoryFleet;
let joining: TestAgent;
let [old, next, last, foreign]: TestCa[] = [];
const cas = () => ({ old, next, last, foreign }) as Record<Name, TestCa>;
type Name = 'old' | 'next' | 'last' | 'foreign';

beforeAll(async () => {
  [old, next, last, foreign] = await Promise.all(
    ['old', 'next', 'last', 'foreign'].map((commonName) => testCa({ commonName, type: 'p384' })),
  );
});
beforeEach(() => {
  fleet = memoryFleet();
  joining = fleet.agent('web-01');
});

const derOf = ({ pem }: TestCa) => value(crypto.readCertificate(pem)).der;
const fingerprintOf = (name: Name) => createHash('sha256').update(derOf(cas()[name])).digest('hex');
const endorsed = (by: Name, of: Name) =>
  value(crypto.signingKey(cas()[by].keys.pem)).sign(caEndorsementMessage(derOf(cas()[of])));

/** A dispatcher in pairing mode, and which CA issued what of it. */
interface Control {
  readonly id?: string;
  /** What M2 lists, in this order. */
  readonly lists: readonly Name[];
  /** Other text for one of them. */
  readonly encoded?: (pem: string) => string;
  readonly port?: Name;
  readonly dispatcher: Name;
  readonly own?: Name;
  /** Voucher and CA. */
  readonly endorsements?: readonly (readonly [Name, Name])[];
}

let hosts = 0;
/** The headers of each message that it was sent. */
async function control({
  id = 'control',
  dispatcher,
  port = dispatcher,
  own = dispatcher,
  ...rest
}: Control) {
  const issuer = cas();
  const encoded = rest.encoded ?? ((pem) => pem);
  const issued = await issuer[dispatcher].issue({
    uris: [`ctrl-exec:dispatcher:${id}`],
    usages: ['clientAuth'],
  });
  const { serve, credentials } = await impostor({
    dispatcherId: id,
    credentials: await issuer[port].issue({ uris: [`ctrl-exec:pairing:${id}`], usages: ['serverAuth'] }),
    caPem: rest.lists.map((name) => encoded(issuer[name].pem)),
    dispatcherPem: issued.certificate,
    ...(rest.endorsements && { endorsements: rest.endorsements.map(([by, of]) => endorsed(by, of)) }),
    issue: async (host, spki) => {
      const uris = [`ctrl-exec:agent:${host}`];
      return (await issuer[own].issue({ spki, dnsNames: [host], uris, usages: ['serverAuth'] })).certificate;
    },
  });
  hosts += 1;
  const host = `control-${hosts}.test`;
  const steps = new Map<string, ReadonlyMap<string, string>>();
  value(
    await fleet.network.listener(host).listen({
      bind: '',
      port: pairingPort,
      maxBody: 65_536,
      maxConnections: 9,
      credentials,
      handle: async ({ path, headers, body }) => {
        const step = path.split('/').at(-1) ?? '';
        steps.set(step, new Map(headers));
        const answer = await serve(step, value(parseJsonObject(value(await body()))));
        if (answer === 'drop') throw new Error('nothing is dropped here');
        return {
          ...jsonAnswer(answer.status, {}),
          body: utf8(JSON.stringify(writePairingMessage(answer.body))),
        };
      },
    }),
  );
  return { host, steps };
}

const compared: PairingTrust = { kind: 'compare', confirm: async () => true };
const known = (name: Name): PairingTrust => ({ kind: 'ca-sha256', fingerprint: fingerprintOf(name) });

async function pair(trust: PairingTrust, dispatcher: Control, replace = false) {
  const { host } = await control(dispatcher);
  return fleet.settle(joining.agent.pair({ dispatcher: host, trust, replace }));
}

const items = [
  'agent-certificate',
  'ca-certificate',
  'trusted-dispatchers',
  'dispatcher-certificates',
] as const;
const installed = async () => value(await joining.context.keyStore(undefined as never).read(items));
/** The CAs that are accepted, by their names. */
async function accepted(): Promise<readonly string[]> {
  const pems = splitCertificates((await installed())['ca-certificate'] ?? '');
  return pems.map((pem) => value(crypto.readCertificate(pem)).commonName ?? '').sort();
}

describe('the agent asks for endorsements of CAs', () => {
  it('in the header of the first message, and of no other', async () => {
    const { host, steps } = await control({ lists: ['old'], dispatcher: 'old' });
    value(await fleet.settle(joining.agent.pair({ dispatcher: host, trust: compared })));
    const asked = [...steps].map(([step, headers]) => [step, headers.get('ctrl-exec-pair-features')]);
    expect(asked).toEqual([
      ['start', 'ca-endorsements'],
      ['nonce', undefined],
      ['confirm', undefined],
      ['installed', undefined],
    ]);
  });
});

describe('a CA that is known by its fingerprint', () => {
  it('is the only one that is installed where nothing vouches for another', async () => {
    value(await pair(known('old'), { lists: ['foreign', 'old', 'next'], dispatcher: 'old' }));
    expect(await accepted()).toEqual(['old']);
  });

  it.each<[string, Control]>([
    ['the dispatcher', { lists: ['old', 'foreign'], port: 'old', dispatcher: 'foreign', own: 'old' }],
    ['the certificate of this host', { lists: ['old', 'foreign'], dispatcher: 'old', own: 'foreign' }],
    ['both', { lists: ['foreign', 'old'], port: 'old', dispatcher: 'foreign' }],
    ['the pairing port', { lists: ['old', 'foreign'], port: 'foreign', dispatcher: 'old' }],
    [
      'the dispatcher, and vouches for itself',
      {
        lists: ['old', 'foreign'],
        port: 'old',
        dispatcher: 'foreign',
        own: 'old',
        endorsements: [['foreign', 'foreign']],
      },
    ],
    [
      'the dispatcher, and vouches for the known one',
      {
        lists: ['old', 'foreign'],
        port: 'old',
        dispatcher: 'foreign',
        own: 'old',
        endorsements: [['foreign', 'old']],
      },
    ],
    [
      'the dispatcher, and the known one vouches for a third',
      {
        lists: ['old', 'next', 'foreign'],
        port: 'old',
        dispatcher: 'foreign',
        own: 'old',
        endorsements: [['old', 'next']],
      },
    ],
  ])('lets nothing be installed where another one issued %s', async (_, dispatcher) => {
    expect(['wrong_identity', 'certificate_invalid']).toContain(
      failure(await pair(known('old'), dispatcher)).code,
    );
    expect(Object.values(await installed())).toEqual([undefined, undefined, undefined, undefined]);
  });

  it('brings in the one that it vouches for, whatever is of which', async () => {
    const vouching = { endorsements: [['old', 'next']] } as const;
    value(await pair(known('old'), { lists: ['next', 'old'], dispatcher: 'next', ...vouching }));
    expect(await accepted()).toEqual(['next', 'old']);
    joining = fleet.agent('web-02');
    const mixed = { port: 'old', dispatcher: 'old', own: 'next' } as const;
    value(await pair(known('old'), { lists: ['old', 'next'], ...mixed, ...vouching }));
    expect(await accepted()).toEqual(['next', 'old']);
  });

  it('is the new one: the old one, for which nothing vouches, is not installed', async () => {
    const vouching = { endorsements: [['old', 'next']] } as const;
    value(await pair(known('next'), { lists: ['next', 'old'], dispatcher: 'next', ...vouching }));
    expect(await accepted()).toEqual(['next']);
    joining = fleet.agent('web-02');
    const before = { lists: ['next', 'old'], port: 'next', dispatcher: 'old', own: 'next' } as const;
    expect(failure(await pair(known('next'), { ...before, ...vouching })).code).toBe('certificate_invalid');
    const both = [
      ['old', 'next'],
      ['next', 'old'],
    ] as const;
    value(await pair(known('next'), { ...before, endorsements: both }));
    expect(await accepted()).toEqual(['next', 'old']);
  });

  it('vouches through the one that it vouches for, in whatever order', async () => {
    const chain = [
      ['next', 'last'],
      ['old', 'next'],
    ] as const;
    value(
      await pair(known('old'), { lists: ['last', 'old', 'next'], dispatcher: 'last', endorsements: chain }),
    );
    expect(await accepted()).toEqual(['last', 'next', 'old']);
    joining = fleet.agent('web-02');
    const broken = { lists: ['last', 'old'], dispatcher: 'last', port: 'old', endorsements: chain } as const;
    expect((await pair(known('old'), broken)).isErr()).toBe(true);
  });
});

describe('people who compare codes', () => {
  it('confirm every CA that was sent, and the endorsements that were', async () => {
    value(await pair(compared, { lists: ['old', 'next', 'foreign'], dispatcher: 'next', own: 'old' }));
    expect(await accepted()).toEqual(['next', 'old']);
    joining = fleet.agent('web-02');
    const vouching = { endorsements: [['foreign', 'next']] } as const;
    value(await pair(compared, { lists: ['old', 'next'], dispatcher: 'old', ...vouching }));
    expect(await accepted()).toEqual(['old']);
  });
});

describe('a host that is paired already', () => {
  const further = { id: 'second' };
  beforeEach(async () => {
    value(await pair(compared, { lists: ['old'], dispatcher: 'old' }));
  });

  it('pairs with a further dispatcher of its CA, and goes on trusting the first', async () => {
    value(await pair(compared, { ...further, lists: ['old'], dispatcher: 'old' }));
    expect(await accepted()).toEqual(['old']);
    const { dispatchers } = value(await joining.agent.pairingStatus());
    expect([...dispatchers].sort()).toEqual(['control', 'second']);
  });

  it.each<[string, Control]>([
    ['alone', { lists: ['foreign'], dispatcher: 'foreign' }],
    [
      'beside its own, having issued the dispatcher',
      { lists: ['old', 'foreign'], dispatcher: 'foreign', own: 'old' },
    ],
    [
      'before its own, having issued the dispatcher',
      { lists: ['foreign', 'old'], dispatcher: 'foreign', own: 'old' },
    ],
    [
      'beside its own, having issued its certificate',
      { lists: ['old', 'foreign'], dispatcher: 'old', own: 'foreign' },
    ],
    [
      'before its own, having issued its certificate',
      { lists: ['foreign', 'old'], dispatcher: 'old', own: 'foreign' },
    ],
    ['beside its own, having issued both', { lists: ['old', 'foreign'], dispatcher: 'foreign' }],
    [
      'that vouches for its own',
      { lists: ['old', 'foreign'], dispatcher: 'foreign', endorsements: [['foreign', 'old']] },
    ],
    [
      'that a CA vouches for which is not accepted',
      { lists: ['old', 'next', 'foreign'], dispatcher: 'foreign', endorsements: [['next', 'foreign']] },
    ],
  ])('without --replace accepts no foreign CA %s', async (_, dispatcher) => {
    const before = await installed();
    for (const trust of [compared, known(dispatcher.dispatcher)]) {
      expect(failure(await pair(trust, { ...further, ...dispatcher }))).toMatchObject(
        trust === compared
          ? { code: 'identity_exists', reason: 'another CA' }
          : { code: expect.stringMatching(/^(identity_exists|certificate_invalid)$/) },
      );
      expect(await installed()).toEqual(before);
    }
  });

  it('pays no heed to a CA that issued nothing', async () => {
    value(await pair(compared, { ...further, lists: ['foreign', 'old'], dispatcher: 'old' }));
    expect(await accepted()).toEqual(['old']);
  });

  it('knows its CA in another encoding, and keeps it once', async () => {
    const { 'ca-certificate': before } = await installed();
    const encoded = (pem: string) => {
      const [, body = ''] = /-----\n([^-]*)-----/.exec(pem) ?? [];
      const lines = body.replaceAll('\n', '').match(/.{1,76}/g) ?? [];
      return `-----BEGIN CERTIFICATE-----\r\n${lines.join('\r\n')}\r\n-----END CERTIFICATE-----\r\n`;
    };
    value(await pair(compared, { ...further, lists: ['old'], dispatcher: 'old', encoded }));
    expect((await installed())['ca-certificate']).toBe(before);
  });

  it('while its CA is being replaced accepts the next one, and loses none', async () => {
    const vouching = { endorsements: [['old', 'next']] } as const;
    value(
      await pair(compared, {
        ...further,
        lists: ['next', 'old'],
        dispatcher: 'old',
        own: 'next',
        ...vouching,
      }),
    );
    expect(await accepted()).toEqual(['next', 'old']);
    value(await pair(compared, { id: 'third', lists: ['next'], dispatcher: 'next' }));
    expect(await accepted()).toEqual(['next', 'old']);
  });

  it('accepts the next one of a dispatcher that lists its own no more, by what its own said', async () => {
    const vouching = { endorsements: [['old', 'next']] } as const;
    value(await pair(known('next'), { ...further, lists: ['next'], dispatcher: 'next', ...vouching }));
    expect(await accepted()).toEqual(['next', 'old']);
  });

  it('with --replace gives up the first dispatcher with its CA, also one that is listed beside the other', async () => {
    value(await pair(compared, { ...further, lists: ['old', 'foreign'], dispatcher: 'foreign' }, true));
    expect(await accepted()).toEqual(['foreign']);
    expect(value(await joining.agent.pairingStatus()).dispatchers).toEqual(['second']);
    const { 'dispatcher-certificates': certificates = '' } = await installed();
    expect(splitCertificates(certificates)).toHaveLength(1);
  });

  it('with --replace keeps the first dispatcher where nothing foreign would be trusted', async () => {
    value(await pair(compared, { ...further, lists: ['old'], dispatcher: 'old' }, true));
    expect([...value(await joining.agent.pairingStatus()).dispatchers].sort()).toEqual(['control', 'second']);
  });
});

describe('what was installed while a host was pairing', () => {
  it('counts: an identity of another CA is not given up without --replace', async () => {
    const elsewhere = fleet.dispatcher('other.test');
    await setUp(elsewhere);
    const { host } = await control({ lists: ['old'], dispatcher: 'old' });
    let meanwhile = {};
    const trust: PairingTrust = {
      kind: 'compare',
      confirm: async () => {
        value(await pairAgent(fleet, elsewhere, joining, { dispatcher: 'other.test' }));
        meanwhile = await installed();
        return true;
      },
    };
    const late = await fleet.settle(joining.agent.pair({ dispatcher: host, trust }));
    expect(failure(late).code).toBe('identity_exists');
    expect(await installed()).toEqual(meanwhile);
  });
});
