import { err, ok, type Result } from 'neverthrow';
import type { BareItem } from 'structured-headers';
import { base64url, fromBase64url } from '../core/bytes.js';
import { exactSignatureBase, signatureLabel } from './exact-shape.js';
import { covered } from './http-component.js';
import type { HttpRequestHead } from './http-message.js';
import { type LabelledSignature, type SignatureInput, signatureInput } from './http-signature.js';
import {
  clockTolerance,
  contentDigestIn,
  contentDigestOf,
  covers,
  findSignature,
  headerValue,
  readParameters,
  repeatedHeader,
  shortened,
  singleHeaders,
  whyNotKey,
} from './message-signature.js';

/** Why a request is refused, in the words that travel. */
type RefusalText =
  | 'signature required'
  | 'signature invalid'
  | 'signature expired'
  | 'replayed'
  | 'wrong target';

export interface RequestRefusal {
  /** Travels in the answer, with status 401. */
  readonly error: RefusalText;
  /** Says exactly what was wrong; for the log. */
  readonly reason: string;
}

/** Seconds from `created` to `expires` at most. */
const longestLifetime = 300;
const nonceLength = 16;
const tag = 'ctrl-exec-req-v2';
const parameterNames = ['created', 'expires', 'nonce', 'keyid', 'alg', 'tag'];
const single = [...singleHeaders, 'ctrl-exec-target', 'host'];

const withoutBody = ['@method', '@authority', '@path', '@query', 'content-digest', 'ctrl-exec-target'].map(
  (name) => covered(name),
);
const withBody = withoutBody.toSpliced(4, 0, covered('content-type'));

/** What goes into the signature of a request. Times in epoch seconds. */
export interface RequestSigning {
  readonly hasBody: boolean;
  readonly created: number;
  readonly expires: number;
  readonly nonce: Uint8Array;
  readonly keyid: string;
  readonly algorithm: string;
}

export const requestInput = (signing: RequestSigning): Result<SignatureInput, string> =>
  signatureInput(
    signatureLabel,
    signing.hasBody ? withBody : withoutBody,
    new Map<string, BareItem>([
      ['created', signing.created],
      ['expires', signing.expires],
      ['nonce', base64url(signing.nonce)],
      ['keyid', signing.keyid],
      ['alg', signing.algorithm],
      ['tag', tag],
    ]),
  );

/** The signature of a request, well-formed but not yet judged. Times in epoch milliseconds. */
export interface RequestSignature {
  /** What must have been signed. */
  readonly base: string;
  readonly signature: Uint8Array;
  readonly created: number;
  readonly expires: number;
  readonly nonce: string;
  readonly keyid: string;
  readonly algorithm: string;
  readonly target: string;
  /** The header's value: `sha-256=:…:`. */
  readonly contentDigest: string;
  /** Whether the content type is signed: exactly where there is a body. */
  readonly hasBody: boolean;
}

const required = (reason: string): RequestRefusal => ({ error: 'signature required', reason });
const invalid = (reason: string): RequestRefusal => ({
  error: 'signature invalid',
  reason: shortened(reason),
});
const expired = (reason: string): RequestRefusal => ({ error: 'signature expired', reason });

/** Finds the signature of a request. */
export function readRequestSignature(head: HttpRequestHead): Result<RequestSignature, RequestRefusal> {
  return findSignature(head.headers, tag)
    .mapErr(invalid)
    .andThen((found) => (found ? ok(found) : err(required('no signature has the tag of requests'))))
    .andThen((found) => readRequest(head, found).mapErr(invalid));
}

function readRequest(head: HttpRequestHead, found: LabelledSignature): Result<RequestSignature, string> {
  const repeated = repeatedHeader(head.headers, single);
  if (repeated !== undefined) return err(`${repeated} is there more than once`);
  const hasBody = covers(found, withBody);
  // defence: request-signs-all-components
  if (!hasBody && !covers(found, withoutBody)) return err('other components are signed than must be');
  const parameters = readParameters(found, parameterNames);
  if (parameters.isErr()) return err(parameters.error);
  const { created, expires, nonce, keyid, alg } = parameters.value;
  if (fromBase64url(nonce)?.length !== nonceLength) return err(`nonce is not of ${nonceLength} bytes`);
  const lifetime = (expires - created) / 1000;
  if (lifetime <= 0 || /* defence: signature-lives-shortly */ lifetime > longestLifetime)
    return err(`expires is ${lifetime} s after created, expected 1 to ${longestLifetime}`);
  const contentDigest = contentDigestIn(head.headers);
  if (contentDigest === undefined) return err('content-digest is not the one of sha-256');
  return exactSignatureBase({ ...head, scheme: 'https' }, found).map((base) => ({
    base,
    signature: found.signature,
    created,
    expires,
    nonce,
    keyid,
    algorithm: alg,
    target: headerValue(head.headers, 'ctrl-exec-target') ?? '',
    contentDigest,
    hasBody,
  }));
}

/**
 * Judges everything about a signature but whether it holds.
 * @param by.targets every value of `ctrl-exec-target` that means this agent
 * @param by.now epoch milliseconds
 */
export function judgeRequest(
  signature: RequestSignature,
  by: {
    readonly keyid: string;
    readonly algorithm: string | undefined;
    readonly targets: readonly string[];
    readonly now: number;
  },
): Result<void, RequestRefusal> {
  const why = whyNotKey(signature, by);
  if (why !== undefined) return err(invalid(why));
  const ahead = (signature.created - by.now) / 1000;
  // defence: request-of-future-is-refused
  if (ahead > clockTolerance) return err(expired(`created ${ahead} s in the future`));
  const late = (by.now - signature.expires) / 1000;
  // defence: expired-request-is-refused
  if (late > clockTolerance) return err(expired(`expired ${late} s ago`));
  // defence: request-is-for-this-agent
  if (!by.targets.includes(signature.target))
    return err({ error: 'wrong target', reason: 'ctrl-exec-target is of another key' });
  return ok(undefined);
}

/** Judges the body by its SHA-256. */
export function judgeRequestBody(
  signed: { readonly contentDigest: string; readonly hasBody: boolean },
  body: { readonly sha256: Uint8Array; readonly length: number },
): Result<void, RequestRefusal> {
  // defence: request-body-has-digest
  if (contentDigestOf(body.sha256) !== signed.contentDigest) return err(invalid('digest differs'));
  if (signed.hasBody !== body.length > 0)
    return err(
      invalid(`content-type is ${signed.hasBody ? '' : 'not '}signed, the body has ${body.length} bytes`),
    );
  return ok(undefined);
}
