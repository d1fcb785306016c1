import { err, ok, okAsync } from 'neverthrow';
import { failure } from '../../../domain/core/errors.js';
import { goesOn, hostError, mayHaveBegun, notBegun, notKnown } from '../../../domain/runs/host-ends.js';
import type { HostResult } from '../../../domain/runs/host-result.js';
import { afterNews, type News, type Said } from '../../../domain/runs/progress.js';
import type { RunMode } from '../../../domain/runs/record.js';
import { can } from '../../../domain/trust/abilities.js';
import type { CallError } from '../../protocol/client.js';
import type { ReadingOf } from '../../protocol/endpoint.js';
import { result, settle } from '../../protocol/endpoints.js';
import type { DispatcherContext } from '../context.js';
import { featuresOf } from '../fleet/abilities.js';
import { contact } from '../fleet/contact.js';
import type { Addressed } from '../trust/destination.js';
import type { DispatcherIdentity } from '../trust/identity.js';

const mayKeepRecords = ({ record }: Addressed) => !record || can(record.standing, 'records');

interface RecordQuestion {
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
  { reqid, claim, signal, answerTimeout = context.settings.readTimeout * 1000 }: RecordQuestion,
): Promise<News> {
  const options = { answerTimeout, signal };
  const canSettle =
    claim && mayKeepRecords(addressed)
      ? featuresOf(context, identity, addressed, { answerTimeout: 10_000, signal })
          .map((features) => features.includes('settle'))
          // What it says of itself is not understood: an older version, most likely.
          .orElse((error) => (error.code === 'protocol_violation' ? ok(false) : err(error)))
      : okAsync(false);
  return canSettle
    .andThen((settles) =>
      settles
        ? contact(context, identity, addressed, settle, { reqid }, options).andThen(({ answer, rtt }) =>
            answer.outcome === 'unknown' ? err(full) : ok({ said: saidIn(answer), rtt }),
          )
        : contact(context, identity, addressed, result, { reqid }, options).map(({ answer, rtt }) => ({
            said: saidIn(answer),
            rtt,
          })),
    )
    .match(
      (heard): News => heard,
      (error): News => ({ error }),
    );
}

const full = failure('overloaded', 'the agent takes no more such questions for now', {
  retryAfterMs: undefined,
});

function saidIn(answer: ReadingOf<typeof settle> | ReadingOf<typeof result>): Said {
  if (answer.outcome === 'known') return answer;
  return answer.outcome === 'void'
    ? { status: 'void', completeSince: answer.completeSince }
    : { status: 'unknown' };
}

/** Milliseconds that an agent has to say what became of a run whose answer was given up. */
const lastQuestion = 5000;

/**
 * What a host comes to whose answer did not come, or is none. Where the request may have reached it, its agent is asked once, and its
 * answer decides: it may run, have ended, or never begin.
 */
export async function givenUp(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
  before: HostResult,
  { sent, ...error }: CallError,
  mode: RunMode,
): Promise<HostResult> {
  const { clock } = context;
  const why = error as CallError;
  if (!mayHaveBegun(why, sent)) return { ...before, ...notBegun(why), settledAt: clock.now() };
  const unknown: HostResult = { ...before, ...notKnown(why) };
  // It counts connections, and keeps no records of runs that were waited for.
  if (!mayKeepRecords(addressed)) {
    const text = `${hostError(why)}; a legacy agent keeps no record of a run that is waited for, so nobody can say whether it has run`;
    return mode === 'async' ? unknown : { ...unknown, failure: failure('forgotten', text, {}) };
  }
  const question = { reqid: before.reqid, claim: true, answerTimeout: lastQuestion };
  const news = await askRecord(context, identity, addressed, question);
  const { fetchError, ...after } = afterNews(unknown, news, { underWay: false }, clock.now());
  if (fetchError !== undefined) return unknown;
  // It runs, and nobody waits for it.
  if (after.state === 'running') return { ...after, ...goesOn(why) };
  if (why.code === 'aborted' && after.state === 'unreachable') {
    const reason = 'stopped by the caller before it began';
    return { ...after, state: 'skipped', error: reason, failure: failure('skipped', reason, { reason }) };
  }
  return after.state === 'unknown' ? { ...after, error: hostError(why) } : after;
}
