import type { z } from 'zod';
import type { runEvents } from '../../api/answers/run-events.js';
import type { hostResult, hostState } from '../../api/document/schemas.js';
import type { editAgent, getAgent, listAgents } from '../../api/routes/agents.js';
import type { cancelRun } from '../../api/routes/cancel.js';
import type { approvePairing, denyPairing, listPairingRequests } from '../../api/routes/pairing.js';
import type { discoveryByPost, ping } from '../../api/routes/ping.js';
import type { createRun } from '../../api/routes/run.js';
import type { listRuns } from '../../api/routes/run-list.js';
import type { getRun } from '../../api/routes/status.js';
import type { getCertificates, getSerialStatus, listLocks } from '../../api/routes/trust.js';
import type { stateEvents } from '../../api/routes/watch.js';
import type { ClientError } from './error.js';

/** The body that a route answers with a status. */
type AnswerOf<
  R extends { readonly answers: object },
  Status extends keyof R['answers'],
> = R['answers'][Status] extends { readonly schema: infer S extends z.ZodType }
  ? Omit<z.input<S>, 'ok'>
  : never;

/** What is given is not changed: lists may be readonly. */
type Given<T> = {
  readonly [K in keyof T]: T[K] extends (infer U)[] | undefined
    ? readonly U[] | Extract<T[K], undefined>
    : T[K];
};

/** What a route takes in its body: who asks is said by the client. */
type BodyOf<R> = R extends { readonly input: { readonly body: infer S extends z.ZodType } }
  ? Given<Omit<z.input<S>, 'username' | 'token'>>
  : never;

type QueryOf<R> = R extends { readonly input: { readonly query: infer S extends z.ZodType } }
  ? { readonly [K in keyof z.output<S>]?: z.output<S>[K] | undefined }
  : never;

/** What is to be pinged. */
export type PingBody = BodyOf<typeof ping>;
/** What every host answered to a ping. */
export type PingAnswer = AnswerOf<typeof ping, 200>;
/** Which hosts are asked for their scripts; without `hosts` the whole registry. */
export type DiscoveryBody = BodyOf<typeof discoveryByPost>;
/** Scripts, tags and versions, by host. */
export type DiscoveryAnswer = AnswerOf<typeof discoveryByPost, 200>;
/** What is run: `script` on `hosts`, or on all agents with `tags`; `timeout` in seconds. */
export type RunBody = Omit<BodyOf<typeof createRun>, 'async'>;
/** How a run ended on every host. */
export type RunAnswer = AnswerOf<typeof createRun, 200>;
/** How every host took an async run. */
export type SubmitAnswer = AnswerOf<typeof createRun, 202>;
/** One host of a run. */
export type RunHost = z.input<typeof hostResult>;
/** How one host stands in an async run. */
export type RunHostState = z.input<typeof hostState>;
/** How a run stands: `mode` tells which of the two forms it has. */
export type RunStatusAnswer = z.input<(typeof getRun)['answers'][200]['schema']>;
/** Which runs are listed; moments in seconds since 1970. */
export type RunsQuery = QueryOf<typeof listRuns>;
/** A page of runs, the latest first. */
export type RunsAnswer = AnswerOf<typeof listRuns, 200>;
/** What every agent made of being told to stop a run. */
export type CancelAnswer = AnswerOf<typeof cancelRun, 200>;
/** Which agents are listed. */
export type AgentsQuery = QueryOf<typeof listAgents>;
/** A page of agents, by name. */
export type AgentsAnswer = AnswerOf<typeof listAgents, 200>;
/** One agent of the registry. */
export type AgentAnswer = AnswerOf<typeof getAgent, 200>;
/** What is changed of an agent; what is left out stays. */
export type AgentBody = BodyOf<typeof editAgent>;
/** Pairing requests that wait. */
export type PairingRequestsAnswer = AnswerOf<typeof listPairingRequests, 200>;
/** How a pairing request is approved. */
export type ApprovalBody = BodyOf<typeof approvePairing>;
/** A pairing request as it is now. */
export type PairingAnswer = AnswerOf<typeof denyPairing, 200>;
/** The certificates in force. */
export type CertificatesAnswer = AnswerOf<typeof getCertificates, 200>;
/** The dispatcher's serials, and how each agent stands to them. */
export type SerialStatusAnswer = AnswerOf<typeof getSerialStatus, 200>;
/** Locks that are held. */
export type LocksAnswer = AnswerOf<typeof listLocks, 200>;

/** Last of all: the stream ended before its end. The run goes on, and its status tells how it stands. */
export interface ErrorEvent {
  readonly event: 'error';
  /** Why. */
  readonly error: ClientError;
}

/** The events of these definitions; `error` has a form of its own. */
type EventsOf<Definitions> = {
  [Kind in Exclude<keyof Definitions, 'error'>]: Definitions[Kind] extends {
    readonly schema: infer S extends z.ZodType;
  }
    ? { readonly event: Kind; readonly data: z.input<S> }
    : never;
}[Exclude<keyof Definitions, 'error'>];

/**
 * What is told of a run that is followed: `begin`, then `output` and `result`. Output is not vouched for before the `result`
 * of its host; it has `text`, or `base64` where it is no UTF-8. The last one is `end` or `error`.
 */
export type RunStreamEvent = EventsOf<typeof runEvents> | ErrorEvent;

/** What is told of a run that is watched: its `status`, then each `host` that ends. The last one is `end` or `error`. */
export type RunWatchEvent = EventsOf<typeof stateEvents> | ErrorEvent;
