import { err, ok, type Result } from 'neverthrow';
import { serializeByteSequence } from 'structured-headers';
import { base64url } from '../core/bytes.js';
import { readExactSignature, signatureLabel } from './exact-shape.js';
import type { Component } from './http-component.js';
import type { HeaderList } from './http-message.js';
import {
  type LabelledSignature,
  readSignatures,
  type SignatureInput,
  withLabel,
  withTag,
} from './http-signature.js';

/*
 * What this product signs, and what it demands of a signature (wire-protocol 2.3). The demands are exact: one signature with
 * the tag, labelled `cx`, over the named components in the named order and over no others, with the named parameters and no
 * others. So whoever reads a verified message knows what was signed without looking at the signature again. Here is what
 * requests and answers have in common.
 */

/** Seconds by which the clocks of two hosts may differ. */
export const clockTolerance = 30;

/** A reason that quotes what a peer sent stays a line. */
export const shortened = (reason: string) => (reason.length > 200 ? `${reason.slice(0, 200)}…` : reason);

/** Headers that may be there once, in requests and in answers. */
export const singleHeaders = ['content-type', 'content-digest', 'signature-input', 'signature'];

/** The `keyid` of a certificate, of the SHA-256 of its DER. */
export const keyIdOf = (certificateSha256: Uint8Array): string => `x5t-s256:${base64url(certificateSha256)}`;

/** The value of `ctrl-exec-target`, of the SHA-256 of the addressed agent's SubjectPublicKeyInfo. */
export const targetOf = (spkiSha256: Uint8Array): string => base64url(spkiSha256);

/** The value of `content-digest` (RFC 9530), of the SHA-256 of the body. */
export const contentDigestOf = (bodySha256: Uint8Array): string =>
  `sha-256=${serializeByteSequence(bodySha256)}`;

/**
 * What stands in the place of `content-digest` in the signature of a streamed run: the digest of all lines before the last,
 * and that of the canonical JSON of the result in the last one (wire-protocol 2.5).
 */
export const streamDigestOf = (lines: string, resultSha256: Uint8Array): string =>
  `${lines},${contentDigestOf(resultSha256)}`;

const digestForm = 'sha-256=:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=:';
/** With exactly the digest of sha-256. */
const contentDigestForm = new RegExp(`^${digestForm}$`);
const streamDigestForm = new RegExp(`^${digestForm},${digestForm}$`);

/** The value of content-digest, if it has the one form that is accepted. */
export function contentDigestIn(headers: HeaderList): string | undefined {
  const value = headerValue(headers, 'content-digest');
  return value !== undefined && contentDigestForm.test(value) ? value : undefined;
}

/** The same of a streamed run. */
export function streamDigestIn(headers: HeaderList): string | undefined {
  const value = headerValue(headers, 'content-digest');
  return value !== undefined && streamDigestForm.test(value) ? value : undefined;
}

/** Undefined for a signature that names the certificate of the peer and the algorithm of its key. */
export function whyNotKey(
  { keyid, algorithm }: { readonly keyid: string; readonly algorithm: string },
  by: { readonly keyid: string; readonly algorithm: string | undefined },
): string | undefined {
  if (keyid !== by.keyid) return 'keyid is of another certificate';
  if (by.algorithm === undefined) return 'the key of the certificate is of no known algorithm';
  // defence: algorithm-follows-key
  if (algorithm !== by.algorithm)
    return `alg is ${algorithm}, the key of the certificate is of ${by.algorithm}`;
  return undefined;
}

/** The signature with this tag; undefined where nothing claims to be one of this product. */
export function findSignature(
  headers: HeaderList,
  tag: string,
): Result<LabelledSignature | undefined, string> {
  const exact = readExactSignature(headers);
  return (exact ? ok([exact]) : readSignatures(headers)).andThen((all) =>
    withTag(all, tag).andThen((found) => {
      if (found ? found.label !== signatureLabel : withLabel(all, signatureLabel))
        return err(`tag ${tag} and label ${signatureLabel} are not of the same signature`);
      return ok(found);
    }),
  );
}

/** Whether exactly these components are signed, in this order. */
export const covers = ({ components }: SignatureInput, expected: readonly Component[]) =>
  components.length === expected.length &&
  components.every(({ identifier }, index) => identifier === expected[index]?.identifier);

interface ReadParameters {
  /** Epoch milliseconds. */
  readonly created: number;
  /** Epoch milliseconds; NaN where there is none. */
  readonly expires: number;
  readonly nonce: string;
  readonly keyid: string;
  readonly alg: string;
}

/** Exactly the named parameters, in any order. */
export function readParameters(
  { parameters }: SignatureInput,
  names: readonly string[],
): Result<ReadParameters, string> {
  for (const name of names) {
    const value = parameters.get(name);
    const isTime = name === 'created' || name === 'expires';
    if (isTime ? !Number.isInteger(value) : typeof value !== 'string')
      return err(`parameter ${name} is ${value === undefined ? 'missing' : 'malformed'}`);
  }
  const unknown = [...parameters.keys()].find((name) => !names.includes(name));
  if (unknown !== undefined) return err(`parameter ${unknown} is not known`);
  const text = (name: string) => String(parameters.get(name) ?? '');
  const time = (name: string) => Number(parameters.get(name)) * 1000;
  return ok({
    created: time('created'),
    expires: time('expires'),
    nonce: text('nonce'),
    keyid: text('keyid'),
    alg: text('alg'),
  });
}

export const hasHeader = (headers: HeaderList, name: string) => headers.some(([key]) => key === name);

/** As it stands in the message, of the first line. */
export const headerValue = (headers: HeaderList, name: string): string | undefined =>
  headers.find(([key]) => key === name)?.[1];

/** The first of `names` that is there more than once. */
export function repeatedHeader(headers: HeaderList, names: readonly string[]): string | undefined {
  const seen = new Set<string>();
  for (const [name] of headers) {
    if (names.includes(name) && seen.has(name)) return name;
    seen.add(name);
  }
  return undefined;
}
