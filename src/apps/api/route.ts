import type { ResultAsync } from 'neverthrow';
import type { z } from 'zod';
import type { CtrlExecError, ErrorCode } from '../../domain/core/errors.js';
import type { Dispatcher } from '../../sdk/dispatcher/dispatcher.js';
import type { Asking } from '../../sdk/dispatcher/fleet/ask.js';
import type { EventStream } from './answers/event-stream.js';
import type { Refusal } from './answers/refusals.js';

/** What a route takes, as zod has it. Members that are not named are ignored. */
export interface InputSchemas {
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  /** Names in lower case. */
  readonly headers?: z.ZodObject;
  readonly body?: z.ZodObject;
}

type Parsed<Schema> = Schema extends z.ZodType ? z.output<Schema> : Readonly<Record<string, never>>;

export interface Input<I extends InputSchemas = InputSchemas> {
  readonly params: Parsed<I['params']>;
  readonly query: Parsed<I['query']>;
  readonly headers: Parsed<I['headers']>;
  readonly body: Parsed<I['body']>;
}

/** A request that may be answered: its form is right, and the hook has allowed what is to be asked beforehand. */
export interface Call<I extends InputSchemas = InputSchemas> extends Input<I> {
  readonly dispatcher: Dispatcher;
  /** To be handed to every use case that asks the hook. */
  readonly asking: Required<Pick<Asking, 'caller' | 'withoutHook'>>;
  /** The path that the API is mounted under, without a slash at its end. */
  readonly base: string;
  /** The client has asked for events rather than JSON. */
  readonly wantsEvents: boolean;
  /** Aborted when the client is gone. */
  readonly gone: AbortSignal;
  /** Aborted when the server is about to end: what only watches should end, too. */
  readonly ending: AbortSignal;
  /** An error as this caller is told it. */
  readonly refusalOf: (error: CtrlExecError) => Refusal;
  /** Answers with server-sent events instead of a reply; called once at most. */
  events(): EventStream;
}

/** One answer of a route: `examples` by name, `type` its media type, where that is not JSON. */
export interface AnswerDefinition<Schema extends z.ZodType = z.ZodType> {
  readonly description: string;
  readonly type?: string;
  readonly schema: Schema;
  readonly examples: Readonly<Record<string, z.input<Schema>>>;
}

type Answers = Readonly<Record<number, AnswerDefinition>>;

/**
 * What a handler answers: a status of the route with the body that belongs to it, or nothing where it has sent events. A body
 * that is no JSON is text, and comes with its content type.
 */
export type Reply<A extends Answers = Answers> =
  | {
      [S in keyof A & number]: {
        readonly status: S;
        readonly body: z.input<A[S]['schema']>;
        readonly type?: string;
      };
    }[keyof A & number]
  | 'sent';

/** One kind of server-sent event. */
export interface EventDefinition {
  readonly description: string;
  readonly schema: z.ZodType;
  readonly example: unknown;
}

/** A request that the documentation shows, and a test makes. */
export interface RequestExample {
  readonly summary: string;
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Readonly<Record<string, unknown>>;
}

/** What the hook is told of a request. */
interface Subject {
  readonly script?: string;
  readonly hosts?: readonly string[];
  readonly args?: readonly string[];
}

/**
 * What the hook is asked about, after `api`. `use case`: the SDK asks by itself, and tells hosts by their registered names.
 * `route`: it is asked before the handler is called, about the `subject`.
 */
interface Permission<I extends InputSchemas = InputSchemas> {
  readonly action: string;
  readonly askedBy: 'use case' | 'route';
  /** What the hook is asked before that, of the same subject. */
  readonly before?: string;
  readonly subject?: (input: Input<I>, dispatcher: Dispatcher) => Subject | PromiseLike<Subject>;
}

interface RouteOf<I extends InputSchemas, A extends Answers> {
  readonly method: 'get' | 'post' | 'patch' | 'delete';
  /** As OpenAPI writes it: `/status/{reqid}`. */
  readonly path: string;
  /** Unique, for generated clients. */
  readonly id: string;
  readonly tag: Tag;
  readonly summary: string;
  readonly description?: string;
  /** `nobody`: it is open to all. `api`: whoever may use the API at all. */
  readonly permission: 'nobody' | 'api' | Permission<I>;
  readonly input: I;
  readonly examples: Readonly<Record<string, RequestExample>>;
  readonly answers: A;
  /** Kinds of events in the answer to `Accept: text/event-stream`. */
  readonly events?: Readonly<Record<string, EventDefinition>>;
  /** It only watches what another request has begun, for as long as that takes. */
  readonly watches?: true;
  /** Expected failures besides those that every route may have. */
  readonly errors: readonly ErrorCode[];
  handle(call: Call<I>): ResultAsync<NoInfer<Reply<A>>, CtrlExecError>;
}

export const tags = {
  service: 'The API itself: health, index, description.',
  running: 'Running scripts, and what became of it.',
  agents: 'The registry of agents.',
  pairing: 'Requests of agents that want to be paired.',
  trust: 'Certificates and serials.',
} as const;

type Tag = keyof typeof tags;

/** A route of which express and the OpenAPI document know the same. */
export type Route = RouteOf<InputSchemas, Answers>;

/** A route of which it is known what it takes and answers: for clients, as types. */
export type KnownRoute<I, A> = Omit<Route, 'input' | 'answers'> & { readonly input: I; readonly answers: A };

/** Keeps the types of a route together while it is written; the list of routes has it without them. */
export const route = <const I extends InputSchemas, const A extends Answers>(
  definition: RouteOf<I, A>,
): KnownRoute<I, A> => definition as unknown as KnownRoute<I, A>;

/** A success: the body says so. */
export const success = <const S extends number, B extends object>(
  status: S,
  body: B,
): { readonly status: S; readonly body: B & { readonly ok: true } } => ({
  status,
  body: { ok: true, ...body },
});
