import { createHash, createPublicKey, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { nodeCrypto } from '../../../../src/adapters/node-crypto/crypto.js';
import { utf8 } from '../../../../src/domain/core/bytes.js';
import type { HeaderList } from '../../../../src/domain/protocol/http-message.js';
import { endLine, type StreamEnd, streamReader } from '../../../../src/domain/protocol/output-stream.js';
import type { Certificate } from '../../../../src/domain/trust/certificate.js';
import {
  checkAnswer,
  checkStreamEnd,
  type RequestOnWire,
  signAnswer,
  signRequest,
  signStreamEnd,
} from '../../../../src/sdk/protocol/message-signing.js';
import { failure, value } from '../../../contract/result.js';

interface Vector {
  readonly private_key_pkcs8_base64: string;
  readonly public_key_spki_base64: string;
  readonly dispatcher_certificate_der: string;
  readonly agent_certificate_der: string;
  readonly agent_spki_der: string;
  readonly now: number;
  readonly request: {
    readonly method: string;
    readonly path: string;
    readonly body: string;
    readonly headers: Record<string, string>;
  };
  readonly lines: readonly string[];
  readonly result: Readonly<Record<string, unknown>>;
  readonly canonical_result: string;
  readonly content_digest: string;
  readonly signature_base: string;
  readonly end_line: string;
}
const vector: Vector = JSON.parse(
  readFileSync(new URL('../../../vectors/stream-signature.json', import.meta.url), 'utf8'),
);

const crypto = nodeCrypto();
const key = value(
  crypto.signingKey(
    `-----BEGIN PRIVATE KEY-----\n${vector.private_key_pkcs8_base64}\n-----END PRIVATE KEY-----\n`,
  ),
);
const certificate = (der: string): Certificate => ({
  pem: '',
  der: utf8(der),
  spki: key.spki,
  serial: 'ab',
  commonName: undefined,
  dnsNames: [],
  uris: [],
  notBefore: 0,
  notAfter: vector.now * 2000,
  isCa: false,
  usages: undefined,
});
const agent = { key, certificate: certificate(vector.agent_certificate_der) };
const dispatcher = { key, certificate: certificate(vector.dispatcher_certificate_der) };
const now = vector.now * 1000;
const request: RequestOnWire = {
  method: vector.request.method,
  path: vector.request.path,
  query: '',
  headers: Object.entries(vector.request.headers),
  body: utf8(vector.request.body),
};
const head: { status: number; headers: HeaderList } = {
  status: 200,
  headers: [['content-type', 'application/x-ndjson']],
};
const by = { certificate: agent.certificate, now };

const linesSha256 = crypto.sha256(utf8(vector.lines.join('')));
const made = signStreamEnd(crypto, agent, { result: vector.result, linesSha256 }, request, now);

describe('the end line of a streamed run', () => {
  it('is the one of the vector', () => {
    expect(Buffer.from(endLine(made)).toString()).toBe(vector.end_line);
    const bare = { ...request, headers: request.headers.slice(0, 2) };
    const signed = signRequest(crypto, dispatcher, bare, {
      targetSpki: utf8(vector.agent_spki_der),
      now: now - 2000,
      nonce: Uint8Array.from({ length: 16 }, (_, index) => index),
    });
    expect([...bare.headers, ...signed]).toEqual(request.headers);
  });

  it('of the vector holds by a computation that knows nothing of this code', () => {
    const sha256 = (text: string) => `sha-256=:${createHash('sha256').update(text).digest('base64')}:`;
    const end = JSON.parse(vector.end_line) as {
      result: Record<string, unknown>;
      digest: string;
      sig: { input: string; signature: string };
    };
    expect(end.digest).toBe(sha256(vector.lines.join('')));
    // Its members are flat but for one, which is written here in order.
    const canonical = JSON.stringify({
      exit: end.result['exit'],
      reqid: end.result['reqid'],
      script: end.result['script'],
      stderr: end.result['stderr'],
      stdout: end.result['stdout'],
      truncated: end.result['truncated'],
    });
    expect(canonical).toBe(vector.canonical_result);
    expect(vector.content_digest).toBe(`${end.digest},${sha256(canonical)}`);
    const { headers } = vector.request;
    const parameters = end.sig.input.replace(/^cx=/, '');
    const base = [
      '"@status": 200',
      '"content-type": application/x-ndjson',
      `"content-digest": ${vector.content_digest}`,
      '"@method";req: POST',
      '"@authority";req: web1.example.org:7443',
      '"@path";req: /run',
      `"content-digest";req: ${headers['content-digest']}`,
      `"signature-input";req;key="cx": ${headers['signature-input']?.replace(/^cx=/, '')}`,
      `"signature";req;key="cx": ${headers['signature']?.replace(/^cx=/, '')}`,
      `"@signature-params": ${parameters}`,
    ].join('\n');
    expect(base).toBe(vector.signature_base);
    const spki = Buffer.from(vector.public_key_spki_base64, 'base64');
    const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' });
    const signature = Buffer.from(/^cx=:(.*):$/.exec(end.sig.signature)?.[1] ?? '', 'base64');
    expect(verify(null, Buffer.from(base), publicKey, signature)).toBe(true);
  });

  it('verifies as it is read', () => {
    const reader = streamReader(crypto.runningSha256(), 65_536);
    const lines = value(reader.push(utf8(vector.lines.join('') + vector.end_line)));
    const end = lines.at(-1);
    if (end?.kind !== 'end') throw new Error('no end');
    expect(checkStreamEnd(crypto, head, end, request, by).isOk()).toBe(true);
  });

  const changes: [string, (end: StreamEnd) => StreamEnd][] = [
    ['another exit', (end) => ({ ...end, result: { ...end.result, exit: 0 } })],
    ['another digest', (end) => ({ ...end, digest: made.digest.replace(/:.{6}/, ':AAAAAA') })],
    ['digest and result in one', (end) => ({ ...end, digest: vector.content_digest })],
    ['no signature', (end) => ({ ...end, signature: { input: '', signature: '' } })],
    [
      'the signature of an ordinary answer',
      (end) => {
        const ordinary = signAnswer(crypto, agent, { ...head, body: new Uint8Array() }, request, now);
        const value = (name: string) => ordinary.headers.find(([each]) => each === name)?.[1] ?? '';
        return { ...end, signature: { input: value('signature-input'), signature: value('signature') } };
      },
    ],
  ];
  it.each(changes)('does not verify with %s', (_what, change) => {
    expect(checkStreamEnd(crypto, head, change(made), request, by).isErr()).toBe(true);
  });

  it('does not verify for another request, of another agent, or under another status or content type', () => {
    const resigned = {
      ...request,
      headers: request.headers.map(([name, value]): [string, string] => [
        name,
        value.replace('AAECAwQFBgcICQoLDA0ODw', 'AQECAwQFBgcICQoLDA0ODw'),
      ]),
    };
    expect(checkStreamEnd(crypto, head, made, resigned, by).isErr()).toBe(true);
    expect(
      checkStreamEnd(crypto, head, made, request, { certificate: dispatcher.certificate, now }).isErr(),
    ).toBe(true);
    expect(checkStreamEnd(crypto, { ...head, status: 403 }, made, request, by).isErr()).toBe(true);
    const other: HeaderList = [['content-type', 'application/json']];
    expect(checkStreamEnd(crypto, { ...head, headers: other }, made, request, by).isErr()).toBe(true);
  });

  it('cannot pose as an ordinary answer', () => {
    const posing = {
      ...head,
      headers: [
        ...head.headers,
        ['content-digest', vector.content_digest],
        ['signature-input', made.signature.input],
        ['signature', made.signature.signature],
      ] as HeaderList,
      body: utf8(vector.lines.join('')),
    };
    expect(failure(checkAnswer(crypto, posing, request, by))).toBe('digest differs');
  });
});
