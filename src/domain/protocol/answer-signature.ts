import { err, ok, type Result } from 'neverthrow';
import type { BareItem } from 'structured-headers';
import { exactSignatureBase, signatureLabel } from './exact-shape.js';
import { type Component, componentReader, covered, type ResponseMessage } from './http-component.js';
import { type LabelledSignature, type SignatureInput, signatureInput } from './http-signature.js';
import {
  clockTolerance,
  contentDigestIn,
  covers,
  findSignature,
  hasHeader,
  readParameters,
  repeatedHeader,
  shortened,
  singleHeaders,
  streamDigestIn,
  whyNotKey,
} from './message-signature.js';
import { readRequestSignature } from './request-signature.js';

const tag = 'ctrl-exec-res-v2';
const parameterNames = ['created', 'keyid', 'alg', 'tag'];

const req: [string, BareItem] = ['req', true];
const status = covered('@status');
const contentType = covered('content-type');
const contentDigest = covered('content-digest');
const requestParts = ['@method', '@authority', '@path'].map((name) => covered(name, req));
const requestDigest = covered('content-digest', req);
const requestSignature = ['signature-input', 'signature'].map((name) =>
  covered(name, req, ['key', signatureLabel]),
);

/** What goes into the signature of an answer. */
export interface AnswerSigning {
  /** Epoch seconds. */
  readonly created: number;
  readonly keyid: string;
  readonly algorithm: string;
}

/**
 * What is to be signed of an answer that has its content-digest: as much as `request` allows, which may be unsigned or
 * rubbish.
 */
export function answerInput(answer: ResponseMessage, signing: AnswerSigning): Result<SignatureInput, string> {
  const { request } = answer;
  const signed = request !== undefined && readRequestSignature(request).isOk();
  const readValue = componentReader(answer);
  const all = answerComponents(answer, signed);
  return signatureInput(
    signatureLabel,
    signed ? all : all.filter((one) => readValue(one).isOk()),
    new Map<string, BareItem>([
      ['created', signing.created],
      ['keyid', signing.keyid],
      ['alg', signing.algorithm],
      ['tag', tag],
    ]),
  );
}

const answerComponents = ({ headers, request }: ResponseMessage, signed: boolean): readonly Component[] => [
  status,
  ...(hasHeader(headers, 'content-type') ? [contentType] : []),
  contentDigest,
  ...requestParts,
  ...(request && hasHeader(request.headers, 'content-digest') ? [requestDigest] : []),
  ...(signed ? /* defence: answer-signs-request-signature */ requestSignature : []),
];

/** The signature of an answer, well-formed but not yet judged. */
export interface AnswerSignature {
  readonly base: string;
  readonly signature: Uint8Array;
  /** Epoch milliseconds. */
  readonly created: number;
  readonly keyid: string;
  readonly algorithm: string;
  /** The header's value: `sha-256=:…:`; of a streamed run two of them. */
  readonly contentDigest: string;
  /** Whether it covers the signature of the request, and with it the nonce: it can then be the answer to nothing else. */
  readonly bound: boolean;
}

/**
 * An agent that refuses a request need not have found a valid signature in it, so such an answer may leave it out. It is
 * then bound to what was asked, not to the very request; it carries no result.
 */
const refusals: ReadonlySet<number> = new Set([401, 403]);

/** Finds the signature of an answer; `answer.request` is the request as it was sent. */
export function readAnswerSignature(answer: ResponseMessage): Result<AnswerSignature, string> {
  return findSignature(answer.headers, tag)
    .andThen((found) => (found ? readAnswer(answer, found) : err('the answer is not signed')))
    .mapErr(shortened);
}

function readAnswer(answer: ResponseMessage, found: LabelledSignature): Result<AnswerSignature, string> {
  const repeated = repeatedHeader(answer.headers, singleHeaders);
  if (repeated !== undefined) return err(`${repeated} is there more than once`);
  const request = answer.request && readRequestSignature(answer.request).unwrapOr(undefined);
  const bound = covers(found, answerComponents(answer, request !== undefined));
  if (!bound && !(refusals.has(answer.status) && covers(found, answerComponents(answer, false))))
    return err('other components are signed than must be');
  const parameters = readParameters(found, parameterNames);
  if (parameters.isErr()) return err(parameters.error);
  const { created, keyid, alg } = parameters.value;
  const digest = contentDigestIn(answer.headers) ?? streamDigestIn(answer.headers);
  if (digest === undefined) return err('content-digest is not the one of sha-256');
  return exactSignatureBase(answer, found).map((base) => ({
    base,
    signature: found.signature,
    created,
    keyid,
    algorithm: alg,
    contentDigest: digest,
    bound: bound && request !== undefined,
  }));
}

/** Judges everything about a signature but whether it holds. Scripts may run for hours: an answer has no longest age. */
export function judgeAnswer(
  signature: AnswerSignature,
  by: {
    readonly keyid: string;
    readonly algorithm: string | undefined;
    /** What `contentDigest` must be. */
    readonly contentDigest: string;
    readonly now: number;
  },
): Result<void, string> {
  const why = whyNotKey(signature, by);
  if (why !== undefined) return err(shortened(why));
  // What is bound to the request needs no clock: a result is not thrown away because two of them differ.
  const apart = Math.abs(signature.created - by.now) / 1000;
  // defence: unbound-refusal-is-recent
  if (!signature.bound && apart > clockTolerance) return err(`created ${apart} s from now`);
  return /* defence: answer-body-has-digest */ by.contentDigest === signature.contentDigest
    ? ok(undefined)
    : err('digest differs');
}
