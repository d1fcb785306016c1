import { err, ok, Result, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../../domain/core/errors.js';
import type { StandingChange } from '../../../../domain/trust/agent-standing.js';
import type { CallError } from '../../../protocol/client.js';
import type { Answers, Endpoint } from '../../../protocol/endpoint.js';
import { ping } from '../../../protocol/endpoints.js';
import { acknowledgement, isStranger } from '../../../protocol/reading.js';
import type { DispatcherContext } from '../../context.js';
import { ask, freshReqid } from '../ask.js';
import type { Known } from '../destination.js';
import type { DispatcherIdentity, Presence } from '../identity.js';

/** What one agent is to know, and as whom it is asked. */
export interface Update {
  readonly agent: Known;
  /** An identity that the agent trusts, as far as is known. */
  readonly by: Presence;
  readonly identity: DispatcherIdentity;
}

/** Something that an agent acknowledged, or refused in its own words. */
export type Acknowledged = ResultAsync<void, CallError>;

/** The same, asked by another identity. */
export const askedBy = (update: Update, by: Presence): Update => ({ ...update, by });

/** One request that an update takes. */
export const askFor = <R, A extends Answers>(
  context: DispatcherContext,
  { agent, by, identity: { cas } }: Update,
  endpoint: Endpoint<R, A>,
  request: R,
  options?: { readonly answerTimeout: number },
) => ask(context, { ...by, cas }, agent, endpoint, request, options);

/** One request whose answer is that it was taken; then it is known of the agent. */
export const acknowledged = <R, A extends Answers>(
  context: DispatcherContext,
  update: Update,
  endpoint: Endpoint<R, A>,
  request: R,
): Acknowledged =>
  askFor(context, update, endpoint, request).andThen(({ answer }) => acknowledgement(endpoint, answer));

/** Keeps what an agent has acknowledged. */
export const note = (
  { registry }: DispatcherContext,
  { agent: { record } }: Update,
  change: StandingChange,
): Acknowledged =>
  registry
    .note(record.name, change)
    .map(() => undefined)
    .orElse((error) => (error.code === 'agent_unknown' ? ok(undefined) : err(error)));

/** A round trip, for what its answer shows of the agent. */
export const meet = (context: DispatcherContext, by: DispatcherIdentity, agent: Known): Acknowledged =>
  ask(context, by, agent, ping, { reqid: freshReqid(context) }).map(() => undefined);

/** What failed on this side, before an agent could be asked for anything. */
export const ownFailure =
  ({ agent: { dial } }: Update) =>
  ({ message, code }: CtrlExecError): CallError =>
    failure('connection_failed', message, { host: dial.host, reason: code });

/** One after the other. What the agent has against one of them does not keep it from the others; the first refusal is the error. */
export function inOrder<E extends CtrlExecError>(
  steps: readonly (() => ResultAsync<void, E>)[],
): ResultAsync<void, E> {
  const taken = async (): Promise<Result<void, E>> => {
    const refused: Result<void, E>[] = [];
    for (const step of steps) {
      const outcome = await step();
      if (outcome.isOk()) continue;
      if (outcome.error.code !== 'refused' || isStranger(outcome.error)) return outcome;
      refused.push(outcome);
    }
    return Result.combine(refused).map(() => undefined);
  };
  return new ResultAsync(taken());
}
