import { err, ok, type Result } from 'neverthrow';
import { utf8 } from '../../domain/core/bytes.js';
import { canonicalJson } from '../../domain/core/json.js';
import { answerInput, judgeAnswer, readAnswerSignature } from '../../domain/protocol/answer-signature.js';
import { exactSignatureBase } from '../../domain/protocol/exact-shape.js';
import type { Message } from '../../domain/protocol/http-component.js';
import type { HeaderList, HttpAnswer, HttpRequestHead } from '../../domain/protocol/http-message.js';
import { type SignatureInput, signatureHeaders } from '../../domain/protocol/http-signature.js';
import {
  contentDigestOf,
  keyIdOf,
  streamDigestOf,
  targetOf,
} from '../../domain/protocol/message-signature.js';
import { type StreamEnd, streamType } from '../../domain/protocol/output-stream.js';
import {
  judgeRequest,
  judgeRequestBody,
  type RequestRefusal,
  readRequestSignature,
  requestInput,
} from '../../domain/protocol/request-signature.js';
import type { Certificate } from '../../domain/trust/certificate.js';
import type { Crypto, SigningKey } from '../../ports/crypto.js';

export type { RequestRefusal } from '../../domain/protocol/request-signature.js';

/** Who signs: the key and the certificate that its connections present. */
export interface Signer {
  readonly key: SigningKey;
  readonly certificate: Certificate;
}

/** A request as it travels; `headers` hold host and, with a body, content-type. */
export interface RequestOnWire extends HttpRequestHead {
  readonly body: Uint8Array;
}

/** What is known of a request whose signature holds; its body is still to be checked. */
export interface VerifiedHead {
  readonly keyid: string;
  readonly nonce: string;
  /** Epoch milliseconds. */
  readonly created: number;
  /** Epoch milliseconds; the request is accepted until 30 s later. */
  readonly expires: number;
  /** The header's value: `sha-256=:…:`. */
  readonly contentDigest: string;
  /** Whether a body was announced by signing its content type. */
  readonly hasBody: boolean;
}

const defaultLifetime = 60;

const signatureFields = new Set(['content-digest', 'signature-input', 'signature']);

const keyIds = new WeakMap<Certificate, string>();

/** Every signature names a certificate, and few certificates are named. */
function keyId(crypto: Crypto, certificate: Certificate): string {
  const known = keyIds.get(certificate) ?? keyIdOf(crypto.sha256(certificate.der));
  keyIds.set(certificate, known);
  return known;
}

function signed(signer: Signer, message: Message, input: Result<SignatureInput, string>): HeaderList {
  return input
    .andThen((made) =>
      exactSignatureBase(message, made).map((base) => signatureHeaders(made, signer.key.sign(utf8(base)))),
    )
    .match(
      (headers) => headers,
      (reason) => {
        throw new Error(`cannot be signed: ${reason}`);
      },
    );
}

/**
 * The headers to add to a request: content-digest, ctrl-exec-target, signature-input, signature.
 * @param options.targetSpki the addressed agent's SubjectPublicKeyInfo, DER
 * @param options.now epoch milliseconds
 * @param options.nonce 16 fresh random bytes
 * @param options.lifetime seconds, default 60, at most 300
 */
export function signRequest(
  crypto: Crypto,
  signer: Signer,
  request: RequestOnWire,
  options: { targetSpki: Uint8Array; now: number; nonce: Uint8Array; lifetime?: number },
): HeaderList {
  const { targetSpki, now, nonce, lifetime = defaultLifetime } = options;
  const created = Math.floor(now / 1000);
  const added: HeaderList = [
    ['content-digest', contentDigestOf(crypto.sha256(request.body))],
    ['ctrl-exec-target', targetOf(crypto.sha256(targetSpki))],
  ];
  const input = requestInput({
    hasBody: request.body.length > 0,
    created,
    expires: created + lifetime,
    nonce,
    keyid: keyId(crypto, signer.certificate),
    algorithm: signer.key.algorithm,
  });
  const { method, path, query } = request;
  const message = { method, path, query, headers: [...request.headers, ...added], scheme: 'https' } as const;
  return [...added, ...signed(signer, message, input)];
}

/**
 * Checks everything about a request but its body: whether it is signed in the form that is demanded, by the TLS peer, for
 * this agent, in time, and whether the signature holds.
 * @param by.certificate of the TLS peer
 * @param by.ownSpki this agent's SubjectPublicKeyInfo, DER; several during renewal
 * @param by.now epoch milliseconds
 */
export function checkRequestHead(
  crypto: Crypto,
  head: HttpRequestHead,
  by: { certificate: Certificate; ownSpki: Uint8Array | readonly Uint8Array[]; now: number },
): Result<VerifiedHead, RequestRefusal> {
  return readRequestSignature(head).andThen((found) => {
    const { certificate, ownSpki, now } = by;
    const own = ownSpki instanceof Uint8Array ? [ownSpki] : ownSpki;
    return judgeRequest(found, {
      keyid: keyId(crypto, certificate),
      algorithm: crypto.algorithmOf(certificate.spki),
      targets: own.map((spki) => targetOf(crypto.sha256(spki))),
      now,
    }).andThen(() => {
      // defence: request-signature-is-verified
      if (!crypto.verify(certificate.spki, utf8(found.base), found.signature))
        return err<VerifiedHead, RequestRefusal>({
          error: 'signature invalid',
          reason: 'the signature does not hold',
        });
      const { keyid, nonce, created, expires, contentDigest, hasBody } = found;
      return ok({ keyid, nonce, created, expires, contentDigest, hasBody });
    });
  });
}

/** Checks the raw body of a request whose head was verified. */
export const checkRequestBody = (
  crypto: Crypto,
  verified: VerifiedHead,
  body: Uint8Array,
): Result<void, RequestRefusal> =>
  judgeRequestBody(verified, { sha256: crypto.sha256(body), length: body.length });

/** An answer as far as its headers tell of it. */
type AnswerHead = Pick<HttpAnswer, 'status' | 'headers'>;

/** Content-digest, signature-input and signature, after the headers that the answer has of its own. */
function signedHeaders(
  crypto: Crypto,
  signer: Signer,
  answer: AnswerHead & { readonly contentDigest: string },
  request: HttpRequestHead,
  now: number,
): { readonly own: HeaderList; readonly signature: HeaderList } {
  const own: HeaderList = [
    ...answer.headers.filter(([name]) => !signatureFields.has(name)),
    ['content-digest', answer.contentDigest],
  ];
  const { method, path, query } = request;
  const message = {
    status: answer.status,
    headers: own,
    request: { method, path, query, headers: request.headers, scheme: 'https' },
  } as const;
  const input = answerInput(message, {
    created: Math.floor(now / 1000),
    keyid: keyId(crypto, signer.certificate),
    algorithm: signer.key.algorithm,
  });
  return { own, signature: signed(signer, message, input) };
}

function checkSigned(
  crypto: Crypto,
  answer: AnswerHead & { readonly contentDigest: string },
  request: HttpRequestHead,
  by: { certificate: Certificate; now: number },
): Result<void, string> {
  const { method, path, query, headers } = request;
  return readAnswerSignature({
    status: answer.status,
    headers: answer.headers,
    request: { method, path, query, headers, scheme: 'https' },
  }).andThen((found) =>
    judgeAnswer(found, {
      keyid: keyId(crypto, by.certificate),
      algorithm: crypto.algorithmOf(by.certificate.spki),
      contentDigest: answer.contentDigest,
      now: by.now,
    }).andThen(() =>
      /* defence: answer-signature-is-verified */ crypto.verify(
        by.certificate.spki,
        utf8(found.base),
        found.signature,
      )
        ? ok(undefined)
        : err('the signature does not hold'),
    ),
  );
}

/**
 * The answer with content-digest, signature-input and signature. It is bound to the request as far as that is possible:
 * to its signature where it has a well-formed one.
 * @param now epoch milliseconds
 */
export function signAnswer(
  crypto: Crypto,
  signer: Signer,
  answer: HttpAnswer,
  request: HttpRequestHead,
  now: number,
): HttpAnswer {
  const contentDigest = contentDigestOf(crypto.sha256(answer.body));
  const { status, headers } = answer;
  const { own, signature } = signedHeaders(crypto, signer, { status, headers, contentDigest }, request, now);
  return { ...answer, headers: [...own, ...signature] };
}

/**
 * Checks an answer against the request as it was sent, with the headers that signing added. Err says why it does not
 * verify.
 * @param answer with its body, or the digest of one that was not kept
 * @param by.certificate of the TLS peer
 * @param by.now epoch milliseconds
 */
export function checkAnswer(
  crypto: Crypto,
  answer: AnswerHead & ({ readonly body: Uint8Array } | { readonly sha256: Uint8Array }),
  request: RequestOnWire,
  by: { certificate: Certificate; now: number },
): Result<void, string> {
  const { headers, status } = answer;
  const digest = 'sha256' in answer ? answer.sha256 : crypto.sha256(answer.body);
  return checkSigned(crypto, { headers, status, contentDigest: contentDigestOf(digest) }, request, by);
}

const streamHead: AnswerHead = { status: 200, headers: [['content-type', streamType]] };

const endDigest = (crypto: Crypto, { result, digest }: Pick<StreamEnd, 'result' | 'digest'>): string =>
  streamDigestOf(digest, /* defence: stream-digest-has-result */ crypto.sha256(utf8(canonicalJson(result))));

/**
 * The last line of a streamed answer, signed as an answer is whose content-digest is the digest of all lines before, a comma,
 * and the digest of the canonical JSON of the result (wire-protocol 2.5).
 * @param request the request, with its signature: what has none is not streamed
 * @param linesSha256 SHA-256 over all bytes before this line
 * @param now epoch milliseconds
 */
export function signStreamEnd(
  crypto: Crypto,
  signer: Signer,
  end: { readonly result: Readonly<Record<string, unknown>>; readonly linesSha256: Uint8Array },
  request: HttpRequestHead,
  now: number,
): StreamEnd {
  const { result } = end;
  const digest = contentDigestOf(end.linesSha256);
  const contentDigest = endDigest(crypto, { result, digest });
  const { signature } = signedHeaders(crypto, signer, { ...streamHead, contentDigest }, request, now);
  const value = (name: string) => signature.find(([key]) => key === name)?.[1] ?? '';
  return { result, digest, signature: { input: value('signature-input'), signature: value('signature') } };
}

/**
 * Checks the last line of a streamed answer, whose digest a `streamReader` has compared with the bytes before it. Err says why
 * it does not verify: then nothing of the stream was authenticated.
 * @param answer status and headers as they came: 200 and a content type of `streamType` are what is signed
 * @param request as it was sent, with the headers that signing added
 * @param by.certificate of the TLS peer
 * @param by.now epoch milliseconds
 */
export function checkStreamEnd(
  crypto: Crypto,
  answer: AnswerHead,
  end: StreamEnd,
  request: RequestOnWire,
  by: { certificate: Certificate; now: number },
): Result<void, string> {
  const contentDigest = endDigest(crypto, end);
  const headers: HeaderList = [
    ...answer.headers.filter(([name]) => !signatureFields.has(name)),
    ['content-digest', contentDigest],
    ['signature-input', end.signature.input],
    ['signature', end.signature.signature],
  ];
  return checkSigned(crypto, { status: answer.status, headers, contentDigest }, request, by);
}

/** Whether a message has no signature at all, as those of legacy peers. */
export const isUnsigned = ({ headers }: { readonly headers: HeaderList }): boolean =>
  !headers.some(([name]) => name === 'signature' || name === 'signature-input');
