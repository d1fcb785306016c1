import { err, ok, okAsync, type ResultAsync } from 'neverthrow';
import { maxRunAnswer, readRecordAnswer, readSettleAnswer } from '../../../domain/protocol/agent-protocol.js';
import { hostError } from '../../../domain/runs/host-ends.js';
import type { News } from '../../../domain/runs/progress.js';
import type { DispatcherContext } from '../context.js';
import { abilitiesOf } from '../fleet/abilities.js';
import { exchange } from '../fleet/contact.js';
import type { ContactError } from '../trust/agent-request.js';
import type { Addressed } from '../trust/agent-target.js';
import type { DispatcherIdentity } from '../trust/identity.js';

export interface RecordQuestion {
  readonly reqid: string;
  /** Whether the run is never to begin where its agent does not know it: nobody waits for it any more. */
  readonly claim: boolean;
  /** Milliseconds. Default: `read_timeout`. */
  readonly answerTimeout?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Asks an agent what became of a run (wire-protocol 2.5). */
export function askRecord(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
  question: RecordQuestion,
): Promise<News> {
  const { host, record } = addressed;
  const { reqid, claim, signal, answerTimeout = context.settings.readTimeout * 1000 } = question;
  const limits = { answerTimeout, maxAnswer: maxRunAnswer, signal };
  const settle = () =>
    exchange(context, identity, addressed, { method: 'POST', path: '/v2/settle', body: { reqid }, ...limits })
      .andThen(({ answer, rtt }) =>
        readSettleAnswer(answer.status, answer.body, reqid).map((said) => ({ said, rtt })),
      )
      .map(
        ({ said, rtt }): News =>
          said.status === 'unknown'
            ? { host, fetchError: 'the agent takes no more such questions for now' }
            : { host, said, rtt },
      );
  const result = () =>
    exchange(context, identity, addressed, { method: 'GET', path: `/result/${reqid}`, ...limits })
      .andThen(({ answer, rtt }) =>
        readRecordAnswer(answer.status, answer.body, reqid).map((said) => ({ said, rtt })),
      )
      .map(({ said, rtt }): News => ({ host, said, rtt }));
  const canSettle: ResultAsync<boolean, ContactError> =
    claim && record?.standing.speaks !== 'unsigned'
      ? abilitiesOf(context, identity, addressed, signal)
          .map(({ features }) => features.includes('settle'))
          // What it says of itself is not understood: an older version, most likely.
          .orElse((error) => (error.code === 'protocol_violation' ? ok(false) : err(error)))
      : okAsync(false);
  return canSettle
    .andThen((can) => (can ? settle() : result()))
    .match(
      (heard): News => heard,
      (error): News => ({ host, fetchError: hostError(error) }),
    );
}
