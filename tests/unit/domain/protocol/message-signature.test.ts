import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../../../src/domain/core/bytes.js';
import {
  answerInput,
  judgeAnswer,
  readAnswerSignature,
} from '../../../../src/domain/protocol/answer-signature.js';
import type { RequestMessage, ResponseMessage } from '../../../../src/domain/protocol/http-component.js';
import type { HeaderList } from '../../../../src/domain/protocol/http-message.js';
import { signatureBase, signatureHeaders } from '../../../../src/domain/protocol/http-signature.js';
import { contentDigestOf, keyIdOf, targetOf } from '../../../../src/domain/protocol/message-signature.js';
import {
  judgeRequest,
  judgeRequestBody,
  readRequestSignature,
  requestInput,
} from '../../../../src/domain/protocol/request-signature.js';
import { failure, value } from '../../../contract/result.js';

interface Vectors {
  private_key_pkcs8_base64: string;
  public_key_spki_base64: string;
  dispatcher_certificate_der: string;
  agent_certificate_der: string;
  agent_spki_der: string;
  now: number;
  cases: {
    name: string;
    request: {
      method: string;
      authority: string;
      path: string;
      body: string;
      headers?: Record<string, string>;
      signature_base?: string;
    };
    response: { status: number; body: string; headers: Record<string, string>; signature_base: string };
  }[];
}
const vectors: Vectors = JSON.parse(
  readFileSync(new URL('../../../vectors/message-signature.json', import.meta.url), 'utf8'),
);

const sha256 = (data: string) => new Uint8Array(createHash('sha256').update(data).digest());
const key = createPrivateKey({
  key: Buffer.from(vectors.private_key_pkcs8_base64, 'base64'),
  format: 'der',
  type: 'pkcs8',
});
const publicKey = createPublicKey({
  key: Buffer.from(vectors.public_key_spki_base64, 'base64'),
  format: 'der',
  type: 'spki',
});
const dispatcher = keyIdOf(sha256(vectors.dispatcher_certificate_der));
const agent = keyIdOf(sha256(vectors.agent_certificate_der));
const target = targetOf(sha256(vectors.agent_spki_der));
const nonce = Uint8Array.from({ length: 16 }, (_, index) => index);
const now = vectors.now * 1000;
const [run, get, unsigned] = vectors.cases;
if (!run || !get || !unsigned) throw new Error('vectors are missing');

type Case = (typeof vectors.cases)[number];
const added = ['content-digest', 'ctrl-exec-target', 'signature-input', 'signature'];
const headersOf = (headers: Record<string, string> = {}, without: readonly string[] = []): HeaderList =>
  Object.entries(headers).filter(([name]) => !without.includes(name));

/** The request as it was sent. The unsigned one of the vectors had a content-digest: its answer covers it. */
const requestOf = ({ request }: Case): RequestMessage => ({
  method: request.method,
  scheme: 'https',
  path: request.path,
  query: '',
  headers: [
    ['host', request.authority],
    ...(request.headers
      ? headersOf(request.headers)
      : ([
          ['content-type', 'application/json'],
          ['content-digest', contentDigestOf(sha256(request.body))],
        ] as const)),
  ],
});
const answerOf = (one: Case): ResponseMessage => ({
  status: one.response.status,
  headers: headersOf(one.response.headers),
  request: requestOf(one),
});
const signedCases = [run, get].map((one) => ({ name: one.name, one }));
const by = { keyid: dispatcher, algorithm: 'ed25519', targets: [target], now };

describe('the vectors of wire-protocol 2.3', () => {
  it.each(signedCases)('$name: the request is signed as there', ({ one: { request } }) => {
    const message: RequestMessage = {
      method: request.method,
      scheme: 'https',
      path: request.path,
      query: '',
      headers: [
        ['host', request.authority],
        ...headersOf(request.headers, added),
        ['content-digest', contentDigestOf(sha256(request.body))],
        ['ctrl-exec-target', target],
      ],
    };
    const input = value(
      requestInput({
        hasBody: request.body !== '',
        created: 1800000000,
        expires: 1800000060,
        nonce,
        keyid: dispatcher,
        algorithm: 'ed25519',
      }),
    );
    const base = value(signatureBase(message, input));
    expect(base).toBe(request.signature_base);
    const headers = [
      ...message.headers,
      ...signatureHeaders(input, new Uint8Array(sign(null, utf8(base), key))),
    ];
    expect(Object.fromEntries(headers)).toEqual({ host: request.authority, ...request.headers });
  });

  it.each(signedCases)('$name: the request is accepted', ({ one }) => {
    const found = value(readRequestSignature(requestOf(one)));
    expect(found.base).toBe(one.request.signature_base);
    expect(found).toMatchObject({
      created: 1800000000_000,
      expires: 1800000060_000,
      nonce: 'AAECAwQFBgcICQoLDA0ODw',
      hasBody: one.request.body !== '',
    });
    expect(verify(null, utf8(found.base), publicKey, found.signature)).toBe(true);
    expect(judgeRequest(found, by).isOk()).toBe(true);
    const body = { sha256: sha256(one.request.body), length: one.request.body.length };
    expect(judgeRequestBody(found, body).isOk()).toBe(true);
  });

  it.each(vectors.cases)('$name: the answer is signed as there, and accepted', (one) => {
    const { response } = one;
    const bare: ResponseMessage = {
      ...answerOf(one),
      headers: headersOf(response.headers, ['signature-input', 'signature']),
    };
    const input = value(
      answerInput(bare, {
        created: 1800000001,
        keyid: agent,
        algorithm: 'ed25519',
      }),
    );
    const base = value(signatureBase(bare, input));
    expect(base).toBe(response.signature_base);
    expect(Object.fromEntries(signatureHeaders(input, new Uint8Array(sign(null, utf8(base), key))))).toEqual({
      'signature-input': response.headers['signature-input'],
      signature: response.headers['signature'],
    });

    const found = value(readAnswerSignature(answerOf(one)));
    expect(found.base).toBe(response.signature_base);
    expect(verify(null, utf8(found.base), publicKey, found.signature)).toBe(true);
    const judged = {
      keyid: agent,
      algorithm: 'ed25519',
      contentDigest: contentDigestOf(sha256(response.body)),
      now,
    };
    expect(judgeAnswer(found, judged).isOk()).toBe(true);
  });

  it('an unsigned request is refused as such', () => {
    expect(failure(readRequestSignature(requestOf(unsigned))).error).toBe('signature required');
  });
});

/** A signed request of the vectors with some headers replaced (undefined removes). */
const altered = (one: Case, changes: Record<string, string | undefined>): RequestMessage => {
  const message = requestOf(one);
  return {
    ...message,
    headers: message.headers.flatMap(([name, value]) => {
      const changed = Object.hasOwn(changes, name) ? changes[name] : value;
      return changed === undefined ? [] : [[name, changed] as const];
    }),
  };
};
const input = run.request.headers?.['signature-input'] ?? '';
const signature = run.request.headers?.['signature'] ?? '';
const refusal = (message: RequestMessage) => failure(readRequestSignature(message));
const withInput = (changed: string) => {
  expect(changed).not.toBe(input);
  return refusal(altered(run, { 'signature-input': changed }));
};

describe('the form of a request signature', () => {
  it('no signature, or one of somebody else under another label, is no signature', () => {
    expect(refusal(altered(run, { 'signature-input': undefined, signature: undefined })).error).toBe(
      'signature required',
    );
    expect(
      refusal(altered(run, { 'signature-input': 'sig=("@method");tag="other"', signature: 'sig=:AA==:' }))
        .error,
    ).toBe('signature required');
  });

  it.each([
    ['only one of the two headers', { signature: undefined }],
    ['the other one alone', { 'signature-input': undefined }],
    ['headers that cannot be read', { signature: 'cx' }],
    [
      'a label other than cx',
      { 'signature-input': input.replace('cx=', 'cy='), signature: signature.replace('cx=', 'cy=') },
    ],
    [
      'two signatures with the tag',
      { 'signature-input': `${input}, cy=${input.slice(3)}`, signature: `${signature}, cy=:AA==:` },
    ],
    [
      'the tag under another label, cx without it',
      {
        'signature-input': `${input.replace('cx=', 'cy=')}, cx=("@method")`,
        signature: `${signature.replace('cx=', 'cy=')}, cx=:AA==:`,
      },
    ],
    ['no content-digest', { 'content-digest': undefined }],
    ['no ctrl-exec-target', { 'ctrl-exec-target': undefined }],
    ['no Host', { host: undefined }],
    ['no content-type', { 'content-type': undefined }],
    [
      'a digest of another algorithm',
      { 'content-digest': run.request.headers?.['content-digest']?.replace('256', '512') },
    ],
    ['two digests', { 'content-digest': `${run.request.headers?.['content-digest']}, md5=:AA==:` }],
    ['a digest of another length', { 'content-digest': 'sha-256=:AA==:' }],
    [
      'a digest spelled differently',
      { 'content-digest': run.request.headers?.['content-digest']?.replace('I4=', 'I5=') },
    ],
  ])('%s: invalid', (_what, changes) => {
    expect(refusal(altered(run, changes)).error).toBe('signature invalid');
  });

  it.each(['host', 'content-type', 'content-digest', 'ctrl-exec-target', 'signature-input', 'signature'])(
    'the header %s twice: invalid',
    (name) => {
      const message = requestOf(run);
      const twice = message.headers.filter(([key]) => key === name);
      expect(twice).toHaveLength(1);
      for (const headers of [
        [...message.headers, ...twice],
        [[name, 'x'] as const, ...message.headers],
      ])
        expect(refusal({ ...message, headers })).toMatchObject({ error: 'signature invalid' });
    },
  );

  it.each([
    ...['@method', '@authority', '@path', '@query', 'content-digest', 'ctrl-exec-target'].map((name) => [
      `${name} left out`,
      input.replace(new RegExp(`"${name}" ?`), '').replace(' )', ')'),
    ]),
    ['one more', input.replace('"ctrl-exec-target")', '"ctrl-exec-target" "host")')],
    ['another order', input.replace('"@method" "@authority"', '"@authority" "@method"')],
    ['a parameter', input.replace('"content-digest"', '"content-digest";sf')],
  ])('components, %s: invalid', (_what, changed) => {
    expect(withInput(String(changed)).error).toBe('signature invalid');
  });

  it.each([
    ...['created', 'expires', 'nonce', 'keyid', 'alg'].map((name) => [
      `no ${name}`,
      input.replace(new RegExp(`;${name}=("[^"]*"|\\d+)`), ''),
      'missing',
    ]),
    ['no tag', input.replace(/;tag=.*/, ''), 'not of the same signature'],
    ['another tag', input.replace('-req-', '-res-'), 'not of the same signature'],
    ['one more', `${input};context="x"`, 'context is not known'],
    ['created as text', input.replace('created=1800000000', 'created="1800000000"'), 'malformed'],
    ['created as a date', input.replace('created=', 'created=@'), 'malformed'],
    ['created with a fraction', input.replace('created=1800000000', 'created=1799999999.5'), 'malformed'],
    ['keyid as a token', input.replace(/keyid="[^"]*"/, 'keyid=abc'), 'malformed'],
    ['a nonce of 15 bytes', input.replace('DA0ODw"', 'DA0O"'), 'nonce'],
    ['a nonce of 17 bytes', input.replace('DA0ODw"', 'DA0ODxA"'), 'nonce'],
    ['a nonce spelled differently', input.replace('DA0ODw"', 'DA0ODx"'), 'nonce'],
    ['a nonce with padding', input.replace('DA0ODw"', 'DA0ODw=="'), 'nonce'],
    ['expires after 301 s', input.replace('expires=1800000060', 'expires=1800000301'), '301 s after'],
    ['expires at created', input.replace('expires=1800000060', 'expires=1800000000'), '0 s after'],
    ['expires before created', input.replace('expires=1800000060', 'expires=1799999999'), '-1 s after'],
  ])('parameters, %s: invalid', (_what, changed, reason) => {
    const refused = withInput(String(changed));
    expect(refused.error).toBe('signature invalid');
    expect(refused.reason).toContain(reason);
  });

  it('300 s are accepted, as are parameters in another order and a second signature with another tag', () => {
    const longest = input.replace('expires=1800000060', 'expires=1800000300');
    const reordered = input.replace(/(;created=\d+)(.*)/, '$2$1');
    const second = `${input}, other=("@method");tag="other"`;
    for (const changed of [longest, reordered, second])
      expect(
        readRequestSignature(
          altered(run, {
            'signature-input': changed,
            signature: changed === second ? `${signature}, other=:AA==:` : signature,
          }),
        ).isOk(),
      ).toBe(true);
  });

  it('content-type left out is the form without a body', () => {
    const changed = altered(run, { 'signature-input': input.replace('"content-type" ', '') });
    expect(value(readRequestSignature(changed)).hasBody).toBe(false);
  });

  it('a reason stays short, whatever was sent', () => {
    const { reason } = withInput(input.replace('"@method"', `"${'x'.repeat(4000)}"`));
    expect(reason.length).toBeLessThan(250);
    const key = `"${'x'.repeat(4000)}";key="${'y'.repeat(3000)}"`;
    expect(withInput(input.replace('"@method"', key)).reason.length).toBeLessThan(250);
  });
});

describe('judging a request', () => {
  const found = value(readRequestSignature(requestOf(run)));
  const judge = (changes: Partial<Omit<typeof by, 'algorithm'>> & { algorithm?: string | undefined }) =>
    judgeRequest(found, { ...by, ...changes });

  it.each([
    [-31, 'signature expired'],
    [-30.001, 'signature expired'],
    [-30, undefined],
    [-29, undefined],
    [0, undefined],
    [60, undefined],
    [89, undefined],
    [90, undefined],
    [90.001, 'signature expired'],
    [91, 'signature expired'],
  ])('%d s after created: %s', (seconds, error) => {
    const judged = judge({ now: found.created + seconds * 1000 });
    expect(judged.isErr() ? judged.error.error : undefined).toBe(error);
  });

  it('says what was wrong', () => {
    const reason = (changes: Parameters<typeof judge>[0]) => failure(judge(changes));
    expect(reason({ now: found.created - 75_000 }).reason).toBe('created 75 s in the future');
    expect(reason({ now: found.expires + 45_000 }).reason).toBe('expired 45 s ago');
    expect(reason({ keyid: agent })).toEqual({
      error: 'signature invalid',
      reason: 'keyid is of another certificate',
    });
    expect(reason({ algorithm: 'ecdsa-p256-sha256' })).toMatchObject({ error: 'signature invalid' });
    expect(reason({ algorithm: undefined })).toMatchObject({ error: 'signature invalid' });
    expect(reason({ targets: [] })).toMatchObject({ error: 'wrong target' });
    expect(reason({ targets: [targetOf(sha256('other'))] })).toMatchObject({ error: 'wrong target' });
    expect(judge({ targets: [targetOf(sha256('other')), target] }).isOk()).toBe(true);
  });

  it('content-type is signed exactly where there is a body', () => {
    const empty = { sha256: sha256(''), length: 0 };
    const emptyDigest = contentDigestOf(empty.sha256);
    expect(judgeRequestBody({ contentDigest: emptyDigest, hasBody: false }, empty).isOk()).toBe(true);
    expect(judgeRequestBody({ contentDigest: emptyDigest, hasBody: true }, empty).isOk()).toBe(false);
    const full = { sha256: sha256('x'), length: 1 };
    const fullDigest = contentDigestOf(full.sha256);
    expect(judgeRequestBody({ contentDigest: fullDigest, hasBody: true }, full).isOk()).toBe(true);
    expect(judgeRequestBody({ contentDigest: fullDigest, hasBody: false }, full).isOk()).toBe(false);
    expect(failure(judgeRequestBody({ contentDigest: emptyDigest, hasBody: true }, full))).toEqual({
      error: 'signature invalid',
      reason: 'digest differs',
    });
  });
});

describe('the form of an answer signature', () => {
  const answerInputText = run.response.headers['signature-input'] ?? '';
  const changedAnswer = (changed: string, status = 200): ResponseMessage => {
    expect(changed).not.toBe(answerInputText);
    const answer = answerOf(run);
    return {
      ...answer,
      status,
      headers: answer.headers.map(([name, value]) => [name, name === 'signature-input' ? changed : value]),
    };
  };
  const reduced = answerInputText.replace(' "signature-input";req;key="cx" "signature";req;key="cx"', '');

  it('a result must be bound to the signature of its request, a refusal need not be', () => {
    for (const status of [200, 202, 404, 409, 500])
      expect(readAnswerSignature(changedAnswer(reduced, status)).isErr()).toBe(true);
    for (const status of [401, 403])
      expect(readAnswerSignature(changedAnswer(reduced, status)).isOk()).toBe(true);
  });

  it.each(
    [
      '"@status" ',
      '"content-type" ',
      '"content-digest" ',
      '"@method";req ',
      '"@authority";req ',
      '"@path";req ',
      '"content-digest";req ',
      ' "signature";req;key="cx"',
    ].map((part) => [part]),
  )('%s left out: refused, also in a refusal', (part) => {
    for (const status of [200, 401])
      expect(readAnswerSignature(changedAnswer(answerInputText.replace(part, ''), status)).isErr()).toBe(
        true,
      );
    if (!part.includes('signature'))
      expect(
        readAnswerSignature(
          changedAnswer(reduced.replace(part.trim(), '').replace(' )', ')').replace('  ', ' '), 401),
        ).isErr(),
      ).toBe(true);
  });

  it.each([
    ['no created', answerInputText.replace(/;created=\d+/, '')],
    ['no keyid', answerInputText.replace(/;keyid="[^"]*"/, '')],
    ['no alg', answerInputText.replace(/;alg="[^"]*"/, '')],
    ['no tag', answerInputText.replace(/;tag=.*/, '')],
    ['the tag of requests', answerInputText.replace('-res-', '-req-')],
    ['a nonce', `${answerInputText};nonce="x"`],
  ])('%s: refused', (_what, changed) => {
    expect(readAnswerSignature(changedAnswer(changed)).isErr()).toBe(true);
  });

  it('without content type it is not signed, and must not be', () => {
    const { request } = answerOf(run);
    const bare: ResponseMessage = {
      status: 204,
      headers: [['content-digest', contentDigestOf(sha256(''))]],
      ...(request ? { request } : {}),
    };
    const made = value(answerInput(bare, { created: 1, keyid: agent, algorithm: 'ed25519' }));
    expect(made.text).not.toContain('content-type');
    const headers = [...bare.headers, ...signatureHeaders(made, new Uint8Array(64))];
    expect(readAnswerSignature({ ...bare, headers }).isOk()).toBe(true);
    expect(
      readAnswerSignature({ ...bare, headers: [...headers, ['content-type', 'text/html']] }).isErr(),
    ).toBe(true);
  });

  it('bound to its request it is accepted at any time, else within 30 s', () => {
    const found = value(readAnswerSignature(answerOf(run)));
    expect(found.bound).toBe(true);
    const judged = (changes: Partial<typeof found>, at = now) =>
      judgeAnswer(
        { ...found, ...changes },
        {
          keyid: agent,
          algorithm: 'ed25519',
          contentDigest: contentDigestOf(sha256(run.response.body)),
          now: at,
        },
      );
    const at = (seconds: number, bound: boolean) => judged({ created: now + seconds * 1000, bound }).isOk();
    expect([29, 30, 31, -29, -30, -31].map((seconds) => at(seconds, false))).toEqual([
      true,
      true,
      false,
      true,
      true,
      false,
    ]);
    expect([-8 * 3600, -31, 31, 8 * 3600].every((seconds) => at(seconds, true))).toBe(true);
    expect(failure(judged({ created: now - 31_000, bound: false }))).toBe('created 31 s from now');
    expect(judged({ keyid: dispatcher }).isErr()).toBe(true);
    expect(judged({ algorithm: 'rsa-pss-sha512' }).isErr()).toBe(true);
  });
});
