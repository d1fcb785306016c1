import type { ResultAsync } from 'neverthrow';
import { failure } from '../../../domain/core/errors.js';
import {
  maxRunAnswer,
  readSubmitAnswer,
  type SubmitAnswer,
} from '../../../domain/protocol/agent-protocol.js';
import { endOf, goesOn, type HostEnd } from '../../../domain/runs/host-ends.js';
import { type HostResult, isEnd, noOutput } from '../../../domain/runs/host-result.js';
import { type Submission, submissionOf } from '../../../domain/runs/host-words.js';
import { guarded } from '../../core/callback.js';
import { parallel } from '../../core/parallel.js';
import type { DispatcherContext } from '../context.js';
import { loggedError } from '../fleet/ask.js';
import { exchange, pendingMember } from '../fleet/contact.js';
import type { Addressed } from '../trust/agent-target.js';
import type { DispatcherIdentity } from '../trust/identity.js';
import { givenUp } from './given-up.js';
import { type RunFailure, recorded } from './record.js';
import { submissionsOf } from './repeat.js';
import { runBody, type ScriptRequest } from './request.js';
import { settling } from './settling.js';

/** What agents are to run by themselves, and who follows the submission. */
export interface SubmitRequest extends ScriptRequest {
  /** Called as each host's answer arrives, in that order. */
  readonly onResult?: (submission: Submission) => void;
}

/** Which hosts have accepted a run. */
export interface Submitted {
  /** 16 hex digits: what `status`, `wait` and `cancel` take. */
  readonly reqid: string;
  readonly script: string;
  /** One per host, in the order of the request. */
  readonly results: readonly Submission[];
  /** What could not be recorded, one line each; what was accepted runs all the same. */
  readonly warnings: readonly string[];
}

/**
 * Has hosts run a script by themselves: as in a run, but each agent only says that it has begun. The locks are held until the ends
 * are known: `status` and `wait` ask for them, and so does whoever finds such a lock in the way.
 * @param retryOf the run whose failed hosts it is for
 */
export function submit(
  context: DispatcherContext,
  request: SubmitRequest,
  retryOf?: string,
): ResultAsync<Submitted, RunFailure> {
  const { events, settings } = context;
  const { script } = request;
  const callback = guarded(request.onResult);
  return recorded<Pick<Submitted, 'reqid' | 'results'>>(context, request, {
    mode: 'async',
    retryOf,
    repeated: (first) =>
      submissionsOf(context, first, request).map((results) => {
        for (const result of results) callback.tell(result);
        return { reqid: first.reqid, results };
      }),
    work: async ({ reqid, hosts, identity, begunAt }) => {
      const records = settling(context, reqid, hosts.length);
      const results = await parallel(hosts, settings.maxParallel, async (addressed) => {
        const { host } = addressed;
        const base = { host, script, reqid, state: 'running', begunAt, ...noOutput, rtt: 0 } as const;
        const result = await submitTo(context, identity, addressed, request, base);
        records.add(result);
        const submission = submissionOf(result);
        const { state, status, rtt, error } = submission;
        events.emit({
          action: 'submit-result',
          level: status === 'accepted' ? 'info' : 'warning',
          fields: { reqid, script, host, state, status, rtt, error: loggedError(error, request) },
        });
        callback.tell(submission);
        return submission;
      });
      return { outcome: { reqid, results }, unrecorded: await records.left() };
    },
  }).map(({ outcome: { reqid, results }, warnings }) => {
    callback.rethrow();
    return { reqid, script, results, warnings };
  });
}

/** What an agent made of a submission. One that knows no async runs has run the script, or refused to. */
function endOfSubmission(said: SubmitAnswer, script: string): HostEnd {
  switch (said.status) {
    case 'accepted':
      return goesOn();
    case 'busy':
      return {
        ...noOutput,
        state: 'refused',
        error: said.error,
        failure: failure('busy', said.error, { script }),
      };
    case 'ran':
      return endOf(said.answer, script);
  }
}

async function submitTo(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
  request: SubmitRequest,
  base: HostResult,
): Promise<HostResult> {
  const { clock } = context;
  const { reqid, script } = base;
  const started = clock.monotonic();
  const rtt = () => Math.round(clock.monotonic() - started);
  const outcome = await exchange(context, identity, addressed, {
    method: 'POST',
    path: '/run',
    body: runBody(request, reqid, { async: true }),
    answerTimeout: context.settings.readTimeout * 1000,
    maxAnswer: maxRunAnswer,
    signal: request.signal,
  }).andThen((answered) =>
    readSubmitAnswer(answered.answer.status, answered.answer.body, reqid)
      .map((said) => ({ end: endOfSubmission(said, script), pending: pendingMember(answered) }))
      .mapErr((error) => ({ ...error, sent: true as const })),
  );
  if (outcome.isErr())
    return givenUp(context, identity, addressed, { ...base, rtt: rtt() }, outcome.error, 'async');
  const { end, pending } = outcome.value;
  const now = clock.now();
  return { ...base, ...end, ...pending, rtt: rtt(), seenAt: now, ...(isEnd(end) && { settledAt: now }) };
}
