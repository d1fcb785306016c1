import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nodeCrypto } from '../../../../src/adapters/node-crypto/crypto.js';
import { utf8 } from '../../../../src/domain/core/bytes.js';
import {
  type HeaderList,
  type HttpAnswer,
  jsonAnswer,
} from '../../../../src/domain/protocol/http-message.js';
import type { Certificate, KeyType } from '../../../../src/domain/trust/certificate.js';
import {
  checkAnswer,
  checkRequestBody,
  checkRequestHead,
  type RequestOnWire,
  type Signer,
  signAnswer,
  signRequest,
} from '../../../../src/sdk/protocol/message-signing.js';
import { failure, value } from '../../../contract/result.js';

const crypto = nodeCrypto();
const now = 1_800_000_000_000;

async function signerOf(type: KeyType, name: string): Promise<Signer> {
  const pem = value(await crypto.generateKey(type));
  const key = value(crypto.signingKey(pem));
  const certificate: Certificate = {
    pem: '',
    der: utf8(`certificate of ${name}`),
    spki: key.spki,
    serial: 'ab',
    commonName: name,
    dnsNames: [],
    uris: [],
    notBefore: 0,
    notAfter: now * 2,
    isCa: false,
    usages: undefined,
  };
  return { key, certificate };
}

const keyTypes = ['p256', 'p384', 'ed25519', 'rsa2048'] as const;
const dispatchers = new Map<string, Signer>();
for (const type of keyTypes) dispatchers.set(type, await signerOf(type, `dispatcher ${type}`));
const signer = (type: (typeof keyTypes)[number]): Signer => {
  const found = dispatchers.get(type);
  if (!found) throw new Error(`no ${type}`);
  return found;
};
const dispatcher = signer('p256');
const agent = await signerOf('p256', 'agent');
const stranger = await signerOf('p256', 'stranger');

const plain: RequestOnWire = {
  method: 'POST',
  path: '/run',
  query: '?a=1',
  headers: [
    ['host', 'web1.example.org:7443'],
    ['content-type', 'application/json'],
  ],
  body: utf8('{"script":"backup"}'),
};
const get: RequestOnWire = {
  method: 'GET',
  path: '/capabilities',
  query: '',
  headers: [['host', 'web1.example.org:7443']],
  body: new Uint8Array(),
};

const sent = (
  request: RequestOnWire = plain,
  from: Signer = dispatcher,
  nonce = 1,
  options: { lifetime?: number; at?: number } = {},
): RequestOnWire => ({
  ...request,
  headers: [
    ...request.headers,
    ...signRequest(crypto, from, request, {
      targetSpki: agent.certificate.spki,
      now: options.at ?? now,
      nonce: new Uint8Array(16).fill(nonce),
      ...(options.lifetime === undefined ? {} : { lifetime: options.lifetime }),
    }),
  ],
});

/** Head and body as the agent checks them. */
const received = (
  request: RequestOnWire,
  by: { from?: Signer; own?: Uint8Array | readonly Uint8Array[]; at?: number } = {},
) =>
  checkRequestHead(crypto, request, {
    certificate: (by.from ?? dispatcher).certificate,
    ownSpki: by.own ?? agent.certificate.spki,
    now: by.at ?? now,
  }).andThen((verified) => checkRequestBody(crypto, verified, request.body).map(() => verified));

const errorOf = (...parameters: Parameters<typeof received>) =>
  received(...parameters).match(
    () => undefined,
    ({ error }) => error,
  );

const replaced = <M extends { headers: HeaderList }>(
  message: M,
  name: string,
  change: (value: string) => string,
): M => {
  expect(message.headers.some(([key]) => key === name)).toBe(true);
  return {
    ...message,
    headers: message.headers.map(([key, value]) => [key, key === name ? change(value) : value] as const),
  };
};
const without = <M extends { headers: HeaderList }>(message: M, ...names: string[]): M => ({
  ...message,
  headers: message.headers.filter(([key]) => !names.includes(key)),
});

describe('a signed request', () => {
  it.each(keyTypes)('of a key %s is accepted, with and without a body', (type) => {
    const from = signer(type);
    const request = sent(plain, from);
    expect(request.headers.slice(plain.headers.length).map(([name]) => name)).toEqual([
      'content-digest',
      'ctrl-exec-target',
      'signature-input',
      'signature',
    ]);
    const input = request.headers.find(([name]) => name === 'signature-input')?.[1] ?? '';
    expect(input).toContain(`;alg="${from.key.algorithm}"`);
    expect(value(received(request, { from }))).toMatchObject({
      created: now,
      expires: now + 60_000,
      nonce: 'AQEBAQEBAQEBAQEBAQEBAQ',
      hasBody: true,
    });
    expect(value(received(sent(get, from), { from })).hasBody).toBe(false);
  });

  it('without a body, a content type is not signed', () => {
    const empty = sent({ ...plain, body: new Uint8Array() });
    expect(empty.headers.find(([name]) => name === 'signature-input')?.[1]).not.toContain('content-type');
    expect(received(empty).isOk()).toBe(true);
    expect(errorOf({ ...empty, body: utf8('x') })).toBe('signature invalid');
  });

  it.each([
    ['method', { method: 'PUT' }],
    ['path', { path: '/ping' }],
    ['path, by a letter case', { path: '/Run' }],
    ['path, percent-encoded', { path: '/%72un' }],
    ['query', { query: '?a=2' }],
    ['query, removed', { query: '' }],
    ['body', { body: utf8('{"script":"restore"}') }],
    ['body, removed', { body: new Uint8Array() }],
    ['body, with more', { body: utf8('{"script":"backup"} ') }],
  ])('altered in its %s is invalid', (_what, change) => {
    expect(errorOf({ ...sent(), ...change })).toBe('signature invalid');
  });

  it.each([
    ['host', (value: string) => value.replace('web1', 'web2')],
    ['host', (value: string) => value.replace(':7443', '')],
    ['content-type', () => 'text/plain'],
    ['content-digest', (value: string) => value.replace(/:(.)/, (_, c: string) => (c === 'A' ? ':B' : ':A'))],
    ['signature-input', (value: string) => value.replace(/created=(\d+)/, 'created=1800000001')],
    ['signature-input', (value: string) => value.replace(/expires=(\d+)/, 'expires=1800000061')],
    ['signature-input', (value: string) => value.replace('nonce="AQ', 'nonce="AR')],
    ['signature-input', (value: string) => value.replace(/(;nonce="[^"]*")(.*)/, '$2$1')],
    ['signature', (value: string) => value.replace(/:(.)/, (_, c: string) => (c === 'A' ? ':B' : ':A'))],
    ['signature', () => 'cx=::'],
    ['signature', () => 'cx=:AA==:'],
  ])('altered in %s is invalid (%s)', (name, change) => {
    const request = replaced(sent(), name, change);
    expect(request).not.toEqual(sent());
    expect(errorOf(request)).toBe('signature invalid');
  });

  it('without a header that must be there once is invalid, and so it is with two', () => {
    const request = sent();
    expect(errorOf(without(request, 'host'))).toBe('signature invalid');
    expect(errorOf({ ...request, headers: [['host', 'x'], ...request.headers] })).toBe('signature invalid');
  });

  it('unsigned it is refused as such', () => {
    expect(errorOf(plain)).toBe('signature required');
    expect(errorOf(without(sent(), 'signature', 'signature-input'))).toBe('signature required');
  });

  it('for another agent is refused; an agent may have two keys', () => {
    const own = (keys: readonly Uint8Array[]) => errorOf(sent(), { own: keys });
    expect(errorOf(sent(), { own: stranger.certificate.spki })).toBe('wrong target');
    expect(own([stranger.certificate.spki])).toBe('wrong target');
    expect(own([])).toBe('wrong target');
    expect(own([stranger.certificate.spki, agent.certificate.spki])).toBeUndefined();
  });

  it('re-addressed to another agent is invalid', () => {
    const elsewhere = signRequest(crypto, dispatcher, plain, {
      targetSpki: stranger.certificate.spki,
      now,
      nonce: new Uint8Array(16),
    }).find(([name]) => name === 'ctrl-exec-target')?.[1];
    const moved = replaced(sent(), 'ctrl-exec-target', () => String(elsewhere));
    expect(errorOf(moved, { own: stranger.certificate.spki })).toBe('signature invalid');
  });

  it('of somebody else than the TLS peer is invalid', () => {
    expect(failure(received(sent(), { from: stranger }))).toEqual({
      error: 'signature invalid',
      reason: 'keyid is of another certificate',
    });
    // Another key that claims the peer's certificate.
    const forged = sent(plain, { key: stranger.key, certificate: dispatcher.certificate });
    expect(failure(received(forged))).toEqual({
      error: 'signature invalid',
      reason: 'the signature does not hold',
    });
  });

  it.each(keyTypes.flatMap((type) => keyTypes.filter((as) => as !== type).map((as) => ({ type, as }))))(
    'of a key $type that says it is $as is invalid',
    ({ type, as }) => {
      const real = signer(type);
      const { algorithm } = signer(as).key;
      const liar: Signer = { ...real, key: { ...real.key, algorithm } };
      const refused = failure(received(sent(plain, liar), { from: real }));
      expect(refused.error).toBe('signature invalid');
      expect(refused.reason).toContain(`alg is ${algorithm}`);
    },
  );

  it.each([
    [90, undefined],
    [91, 'signature expired'],
  ])('checked %s s after it was made: %s', (seconds, error) => {
    expect(errorOf(sent(), { at: now + seconds * 1000 })).toBe(error);
  });

  it.each([
    [1, undefined],
    [300, undefined],
    [301, 'signature invalid'],
  ])('with a lifetime of %s s: %s', (lifetime, error) => {
    expect(errorOf(sent(plain, dispatcher, 1, { lifetime }))).toBe(error);
  });

  it.each([0, 32])('with a nonce of %s bytes is invalid', (length) => {
    const headers = signRequest(crypto, dispatcher, plain, {
      targetSpki: agent.certificate.spki,
      now,
      nonce: new Uint8Array(length),
    });
    const refused = failure(received({ ...plain, headers: [...plain.headers, ...headers] }));
    expect(refused).toEqual({ error: 'signature invalid', reason: 'nonce is not of 16 bytes' });
  });

  it('any character changed in a signed header, or any byte of the body, makes it invalid', () => {
    const ed25519 = signer('ed25519');
    const request = sent(plain, ed25519);
    const printable = Array.from({ length: 95 }, (_, index) => String.fromCharCode(0x20 + index));
    fc.assert(
      fc.property(
        fc.nat(request.headers.length),
        fc.nat(),
        fc.constantFrom(...printable, '\t', '\xa0'),
        fc.integer({ min: 1, max: 255 }),
        (which, position, character, flip) => {
          const header = request.headers[which];
          if (!header) {
            const body = Uint8Array.from(request.body);
            const at = position % body.length;
            body[at] = (body[at] ?? 0) ^ flip;
            expect(errorOf({ ...request, body }, { from: ed25519 })).toBe('signature invalid');
            return;
          }
          const [name, value] = header;
          const at = position % value.length;
          const changed = value.slice(0, at) + character + value.slice(at + 1);
          // RFC 9421 section 2.2.3: hosts are compared without case.
          if (changed === value || (name === 'host' && changed.toLowerCase() === value)) return;
          const altered = { ...request, headers: request.headers.with(which, [name, changed]) };
          expect(errorOf(altered, { from: ed25519 })).toBeDefined();
        },
      ),
      { numRuns: 1500 },
    );
  });
});

describe('a signed answer', () => {
  const result = jsonAnswer(200, { script: 'backup', exit: 0 });
  const signedAnswer = (answer: HttpAnswer = result, request = sent(), by: Signer = agent, at = now) =>
    signAnswer(crypto, by, answer, request, at);
  const check = (answer: HttpAnswer, request = sent(), by: { of?: Signer; at?: number } = {}) =>
    checkAnswer(crypto, answer, request, {
      certificate: (by.of ?? agent).certificate,
      now: by.at ?? now,
    });

  // ECDSA signs differently each time: one request for both ends.
  const request = sent();

  it.each(keyTypes)('of a key %s is accepted', (type) => {
    const of = signer(type);
    const answer = signedAnswer(result, request, of);
    expect(answer.headers.map(([name]) => name)).toEqual([
      'content-type',
      'content-digest',
      'signature-input',
      'signature',
    ]);
    expect(answer.body).toEqual(result.body);
    expect(check(answer, request, { of }).isOk()).toBe(true);
  });

  it('without a body or a content type is accepted', () => {
    const empty: HttpAnswer = { status: 204, headers: [], body: new Uint8Array() };
    const answer = signedAnswer(empty, request);
    expect(answer.headers.find(([name]) => name === 'signature-input')?.[1]).not.toContain('content-type');
    expect(check(answer, request).isOk()).toBe(true);
  });

  it('replaces a signature that the answer already had', () => {
    const twice = signedAnswer(signedAnswer(result, request), request);
    expect(twice.headers).toHaveLength(4);
    expect(check(twice, request).isOk()).toBe(true);
  });

  it('by another clock, or hours later, is accepted: it is bound to the nonce of the request', () => {
    const at = (made: number, checked: number) =>
      check(signedAnswer(result, request, agent, now + made * 1000), request, {
        at: now + checked * 1000,
      }).isOk();
    expect([at(0, 8 * 3600), at(8 * 3600, 8 * 3600)]).toEqual([true, true]);
    expect([at(90, 0), at(-90, 0)]).toEqual([true, true]);
  });

  it('unsigned is not accepted', () => {
    expect(failure(check(result, request))).toBe('the answer is not signed');
    expect(
      check(without(signedAnswer(result, request), 'signature', 'signature-input'), request).isErr(),
    ).toBe(true);
  });

  const broken = 'the signature does not hold';
  const otherBit = (value: string) =>
    value.replace(/:(.)/, (_, first: string) => (first === 'A' ? ':B' : ':A'));

  it.each<[string, string, (answer: HttpAnswer) => HttpAnswer]>([
    ['status', broken, (answer) => ({ ...answer, status: 202 })],
    ['body', 'digest differs', (answer) => ({ ...answer, body: utf8('{"exit":1}') })],
    ['content type', broken, (answer) => replaced(answer, 'content-type', () => 'text/plain')],
    ['content type, dropped', 'other components', (answer) => without(answer, 'content-type')],
    ['digest', 'digest differs', (answer) => replaced(answer, 'content-digest', otherBit)],
    ['digest, dropped', 'content-digest', (answer) => without(answer, 'content-digest')],
    ['signature', broken, (answer) => replaced(answer, 'signature', otherBit)],
    ['signature, dropped', 'signature is missing', (answer) => without(answer, 'signature')],
    ['parameters, dropped', 'signature-input is missing', (answer) => without(answer, 'signature-input')],
    [
      'content type, twice',
      'content-type is there more than once',
      (answer) => ({ ...answer, headers: [['content-type', 'a'] as const, ...answer.headers] }),
    ],
    [
      'digest, twice',
      'content-digest is there more than once',
      (answer) => ({
        ...answer,
        headers: [...answer.headers, ...answer.headers.filter(([name]) => name === 'content-digest')],
      }),
    ],
    [
      'time',
      broken,
      (answer) =>
        replaced(answer, 'signature-input', (value) =>
          value.replace('created=1800000000', 'created=1800000001'),
        ),
    ],
    [
      'label',
      'label cx',
      (answer) =>
        replaced(
          replaced(answer, 'signature', (value) => value.replace('cx=', 'cy=')),
          'signature-input',
          (value) => value.replace('cx=', 'cy='),
        ),
    ],
  ])('altered in its %s is not accepted: %s', (_what, reason, alter) => {
    const answer = signedAnswer(result, request);
    const altered = alter(answer);
    expect(altered).not.toEqual(answer);
    expect(failure(check(altered, request))).toContain(reason);
  });

  it('is of one request: neither another one nor the same one asked again', () => {
    const answer = signedAnswer(result, request);
    expect(check(answer, request).isOk()).toBe(true);
    expect(check(answer, sent(plain, dispatcher, 2)).isErr()).toBe(true);
    expect(check(answer, sent(get)).isErr()).toBe(true);
    expect(check(answer, sent({ ...plain, path: '/ping' })).isErr()).toBe(true);
    expect(check(answer, sent({ ...plain, body: utf8('{}') })).isErr()).toBe(true);
    expect(check(answer, sent({ ...plain, query: '' })).isErr()).toBe(true);
    expect(
      check(
        answer,
        replaced(request, 'host', () => 'web2.example.org:7443'),
      ).isErr(),
    ).toBe(true);
  });

  it('with ed25519, too, only the nonce tells two identical requests apart, and it does', () => {
    const from = signer('ed25519');
    const [first, second] = [sent(plain, from, 1), sent(plain, from, 2)];
    const answer = signedAnswer(result, first);
    expect(check(answer, sent(plain, from, 1)).isOk()).toBe(true);
    expect(check(answer, second).isErr()).toBe(true);
  });

  it('of another certificate, key or algorithm is not accepted', () => {
    expect(failure(check(signedAnswer(result, request), request, { of: stranger }))).toContain('keyid');
    const forged = signedAnswer(result, request, { key: stranger.key, certificate: agent.certificate });
    expect(failure(check(forged, request))).toBe('the signature does not hold');
    const liar = { ...agent, key: { ...agent.key, algorithm: 'ed25519' as const } };
    expect(failure(check(signedAnswer(result, request, liar), request))).toContain('alg is ed25519');
  });

  it('a request is no answer', () => {
    const posing = { ...result, headers: request.headers };
    expect(check(posing, request).isErr()).toBe(true);
  });

  it('to an unsigned request is bound as far as possible', () => {
    const answer = signedAnswer(jsonAnswer(401, { error: 'signature required' }), plain);
    expect(answer.headers.find(([name]) => name === 'signature-input')?.[1]).toContain(
      '"@authority";req "@path";req);',
    );
    expect(check(answer, plain).isOk()).toBe(true);
    expect(check(answer, get).isErr()).toBe(true);
    expect(failure(check(signedAnswer(result, plain), request))).toContain('other components are signed');
  });

  it('a refusal of a signature that was not understood is accepted for a signed request', () => {
    const garbled = without(request, 'signature', 'signature-input');
    const refusal = signedAnswer(jsonAnswer(401, { error: 'signature required' }), garbled);
    expect(check(refusal, request).isOk()).toBe(true);
    expect(check({ ...refusal, status: 200 }, request).isErr()).toBe(true);
    expect(check(refusal, sent(get)).isErr()).toBe(true);
  });

  it('any character changed in a signed header, or any byte of the body, is not accepted', () => {
    const of = signer('ed25519');
    const answer = signedAnswer(result, request, of);
    expect(check(answer, request, { of }).isOk()).toBe(true);
    fc.assert(
      fc.property(
        fc.nat(answer.headers.length),
        fc.nat(),
        fc.integer({ min: 1, max: 127 }),
        (which, position, flip) => {
          const header = answer.headers[which];
          if (!header) {
            const body = Uint8Array.from(answer.body);
            const at = position % body.length;
            body[at] = (body[at] ?? 0) ^ flip;
            expect(check({ ...answer, body }, request, { of }).isErr()).toBe(true);
            return;
          }
          const [name, value] = header;
          const at = position % value.length;
          const changed =
            value.slice(0, at) + String.fromCharCode(value.charCodeAt(at) ^ flip) + value.slice(at + 1);
          const altered = { ...answer, headers: answer.headers.with(which, [name, changed]) };
          expect(check(altered, request, { of }).isErr()).toBe(true);
        },
      ),
      { numRuns: 1500 },
    );
  });
});

describe('rubbish', () => {
  const names = [
    'host',
    'content-type',
    'content-digest',
    'ctrl-exec-target',
    'signature-input',
    'signature',
    'x',
  ];
  const fragments = sent().headers.flatMap(([, value]) => [
    value,
    value.slice(0, 40),
    ...value.split(/([;,= ()])/),
  ]);
  const value = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.array(fc.constantFrom(...fragments), { maxLength: 8 }).map((parts) => parts.join('')),
  );
  const headers = fc.array(fc.tuple(fc.constantFrom(...names), value), { maxLength: 10 });
  const head = fc.record({
    method: fc.oneof(fc.constant('POST'), fc.string({ unit: 'binary' })),
    path: fc.oneof(fc.constant('/run'), fc.string({ unit: 'binary' })),
    query: fc.oneof(fc.constant(''), fc.string({ unit: 'binary' })),
    headers,
  });

  it('in a request is refused, answered with a signature, and never thrown at', () => {
    fc.assert(
      fc.property(head, (request) => {
        expect(errorOf({ ...request, body: new Uint8Array() })).toMatch(/^signature (required|invalid)$/);
        const answer = signAnswer(
          crypto,
          agent,
          jsonAnswer(401, { error: 'signature required' }),
          request,
          now,
        );
        expect(answer.headers.filter(([name]) => name === 'signature')).toHaveLength(1);
      }),
      { numRuns: 500 },
    );
  });

  it('in an answer is refused and never thrown at', () => {
    const request = sent();
    fc.assert(
      fc.property(headers, fc.integer(), (rubbish, status) => {
        const by = { certificate: agent.certificate, now };
        expect(
          checkAnswer(crypto, { status, headers: rubbish, body: new Uint8Array() }, request, by).isErr(),
        ).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('as the Host of a legacy request leaves out what it would have said', () => {
    for (const hosts of [[], ['a', 'b'], ['a b']]) {
      const request = { ...plain, headers: hosts.map((host) => ['host', host] as const) };
      const { headers: added } = signAnswer(crypto, agent, jsonAnswer(200, {}), request, now);
      expect(added.find(([name]) => name === 'signature-input')?.[1]).toContain(
        '("@status" "content-type" "content-digest" "@method";req "@path";req)',
      );
    }
  });
});
