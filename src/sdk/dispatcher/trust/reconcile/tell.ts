import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { base64url } from '../../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../../domain/core/errors.js';
import { readAcknowledgement } from '../../../../domain/protocol/agent-protocol.js';
import type { AgentRecord } from '../../../../domain/trust/agent-record.js';
import type { StandingChange } from '../../../../domain/trust/agent-standing.js';
import type { TransportAnswer } from '../../../../ports/transport.js';
import type { DispatcherContext } from '../../context.js';
import { type AgentRequest, type ContactError, sendSigned, shortRequest } from '../agent-request.js';
import { type Destination, target } from '../agent-target.js';
import { confirmed } from '../first-contact.js';
import type { DispatcherIdentity, Presence } from '../identity.js';

export type Known = Destination & {
  readonly record: AgentRecord;
  /** Gives up. */
  readonly signal?: AbortSignal | undefined;
};

/** Something that an agent was told and acknowledged, or refused in its own words. */
export type Told = ResultAsync<void, ContactError>;

/** The agent does not know who asks. */
export const isStranger = (error: CtrlExecError): boolean =>
  error.code === 'refused' && error.reason === 'serial mismatch';

/** Whoever has acknowledged something has answered. */
export const note = (
  { clock, registry }: DispatcherContext,
  { record }: Known,
  change: StandingChange,
): ResultAsync<void, ContactError> =>
  registry
    .note(record.name, { ...change, lastContact: clock.now() })
    .map(() => undefined)
    .orElse((error) => (error.code === 'agent_unknown' ? ok(undefined) : err(error)));

/** One short request, and the answer to it. */
export function ask(
  context: DispatcherContext,
  presence: Presence,
  { cas }: Pick<DispatcherIdentity, 'cas'>,
  agent: Known,
  message: Pick<AgentRequest, 'path' | 'body'> & Partial<Pick<AgentRequest, 'answerTimeout' | 'maxAnswer'>>,
): ResultAsync<TransportAnswer, ContactError> {
  const { signal } = agent;
  const request = { method: 'POST', ...shortRequest, ...message, ...(signal && { signal }) } as const;
  return sendSigned(context, presence, target(context, presence, cas, agent), request).andThen((answer) =>
    confirmed(context, agent.record, answer.peer)
      .orElse((error) => (error.code === 'agent_unknown' ? ok(undefined) : err(error)))
      .map(() => answer),
  );
}

/** One short request whose answer says `ok`. */
export const tell = (
  context: DispatcherContext,
  presence: Presence,
  identity: Pick<DispatcherIdentity, 'cas'>,
  agent: Known,
  path: string,
  body: unknown,
): Told =>
  ask(context, presence, identity, agent, { path, body }).andThen((answer) =>
    readAcknowledgement(answer.status, answer.body),
  );

/** What failed on this side, before an agent could be told anything. */
export const ownFailure =
  ({ dial: { host } }: Known) =>
  ({ message, code }: CtrlExecError): ContactError =>
    failure('connection_failed', message, { host, reason: code });

export function tellCas(
  context: DispatcherContext,
  presence: Presence,
  identity: DispatcherIdentity,
  agent: Known,
): Told {
  return context.authority
    .endorsement()
    .mapErr(ownFailure(agent))
    .andThen((endorsement) =>
      tell(context, presence, identity, agent, '/v2/cas', {
        ca_pem: identity.cas,
        ...(endorsement && { endorsements: [base64url(endorsement)] }),
      }),
    )
    .andThen(() =>
      // A list of a CA that is not accepted any more goes with it.
      note(context, agent, { caSet: identity.caSet, crlNumber: 0 }),
    );
}

/** One after the other. What the agent has against one of them does not keep it from the others; the first refusal is the error. */
export function inOrder<E extends CtrlExecError>(
  steps: readonly (() => ResultAsync<void, E>)[],
): ResultAsync<void, E> {
  const taken = async (): Promise<Result<void, E>> => {
    let refused: E | undefined;
    for (const step of steps) {
      const told = await step();
      if (told.isOk()) continue;
      if (told.error.code !== 'refused' || isStranger(told.error)) return err(told.error);
      refused ??= told.error;
    }
    return refused ? err(refused) : ok(undefined);
  };
  return new ResultAsync(taken());
}
