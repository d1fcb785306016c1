import type { Codec, JsonObject } from '../../domain/core/decode.js';
import type { Certificate } from '../../domain/trust/certificate.js';

/** One way to answer: the status, and how the rest of the answer travels. */
export interface Answer<Read, Written = Read> {
  readonly status: number;
  readonly codec: Codec<Read, Written>;
}

// biome-ignore lint/suspicious/noExplicitAny: whatever an answer holds; the endpoint that names it knows.
export type Answers = Readonly<Record<string, Answer<any, any>>>;

/** Why a body is not what the endpoint asks for. */
export interface Issue {
  /** `json`: it is no JSON object. `form`: it is one of another form. */
  readonly kind: 'json' | 'form';
  /** What the codec has against it, or against an empty object where it is none. */
  readonly reason: string;
  /** What was read; empty where it is no JSON object. */
  readonly body: JsonObject;
}

/** What any request can be refused for, whatever it asks, and by which status. */
export const refusals = {
  malformed: 400,
  unverified: 401,
  forbidden: 403,
  unknown: 404,
  too_large: 413,
  failed: 500,
  busy: 503,
} as const;

/** A refusal that is no outcome of the endpoint. */
export interface Refusal {
  readonly refused: keyof typeof refusals;
  /** One line; travels. */
  readonly error: string;
  /** A second word that deployed dispatchers look for: `{"error":…,"status":"forbidden"}`. */
  readonly status?: string;
  readonly detail?: string;
  /** Seconds. */
  readonly retryAfter?: number;
}

/** What one of two peers can ask of the other. Statuses, headers and paths stand here alone. */
export interface Endpoint<Request, A extends Answers> {
  readonly method: 'GET' | 'POST';
  /** Its last part may stand for a member of the request: `/result/:reqid`. */
  readonly path: `/${string}`;
  readonly request: Codec<Request>;
  readonly answers: A;
  /** A header by which who asks says what it understands of the answer, and the word in it. */
  readonly says?: readonly [header: string, word: string];
  /** What is answered to a body that is not of the form. */
  readonly malformed: (issue: Issue) => Outcome<A> | Refusal;
  /** It alters something: it is never repeated by itself, and a repetition is refused. Default false. */
  readonly changes?: boolean;
  /** Its good answers have the output of a run: they are read as they come, and of each stream a limited part is kept. Default false. */
  readonly output?: boolean;
  /** The answer of this outcome may come as a stream, whose end says the same. */
  readonly streams?: keyof A & string;
  /** What a peer must be able to do. Default: every peer knows it. */
  readonly feature?: 'settle' | 'cancel' | 'crl' | 'several-cas';
  /** Bytes of a request's body that are accepted. */
  readonly maxRequest: number;
  /** Bytes of an answer's body that are accepted. */
  readonly maxAnswer: number;
}

/** An answer as it is given: which one, and what it says. */
export type Outcome<A extends Answers> = {
  [K in keyof A & string]: { readonly outcome: K } & (A[K] extends Answer<infer _R, infer W> ? W : never);
}[keyof A & string];

/** An answer as it is read. */
export type Reading<A extends Answers> = {
  [K in keyof A & string]: { readonly outcome: K } & (A[K] extends Answer<infer R, infer _W> ? R : never);
}[keyof A & string];

/** What is asked by an endpoint. */
export type RequestOf<E> = E extends Endpoint<infer R, infer _A> ? R : never;
export type OutcomeOf<E> = E extends Endpoint<infer _R, infer A> ? Outcome<A> : never;
export type ReadingOf<E> = E extends Endpoint<infer _R, infer A> ? Reading<A> : never;

export const endpoint = <R, A extends Answers>(each: Endpoint<R, A>): Endpoint<R, A> => each;

/** Who is at the other end, verified, whatever carried the message. */
export interface Peer {
  /** Registry name of an agent; undefined: it is not registered, or this is no agent. */
  readonly name?: string | undefined;
  /** `dispatcher_id` of a dispatcher. */
  readonly id?: string | undefined;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  readonly certificate: Certificate;
  readonly serial: string;
  /** In its shortest form; empty where nothing has an address. */
  readonly address: string;
  /** What carried the message. */
  readonly via: 'direct';
}
