import type { ResultAsync } from 'neverthrow';
import {
  maxRunAnswer,
  readSubmitAnswer,
  type SubmitAnswer,
} from '../../../domain/protocol/agent-protocol.js';
import { type HostState, isSettled, type Submission } from '../../../domain/runs/record.js';
import { guarded } from '../../core/callback.js';
import { parallel } from '../../core/parallel.js';
import type { DispatcherContext } from '../context.js';
import { hostError, loggedError } from '../fleet/ask.js';
import { exchange } from '../fleet/contact.js';
import type { Addressed } from '../trust/agent-target.js';
import type { DispatcherIdentity } from '../trust/identity.js';
import { type RunFailure, recorded } from './record.js';
import { submissionsOf } from './repeat.js';
import { runBody, type ScriptRequest } from './request.js';
import { mayHaveBegun } from './run.js';

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
 * Has hosts run a script by themselves: as in a run, but each agent only says that it has begun. The locks are held until
 * the last agent has answered; from then on each agent sees to it that the script does not run twice.
 * @param retryOf the run whose failed hosts it is for
 */
export function submit(
  context: DispatcherContext,
  request: SubmitRequest,
  retryOf?: string,
): ResultAsync<Submitted, RunFailure> {
  const { clock, events, runStore, settings } = context;
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
    work: async ({ reqid, hosts, identity }) => {
      const unrecorded: string[] = [];
      const submitted = await parallel(hosts, settings.maxParallel, async (host) => {
        const { state, submission } = await submitTo(context, identity, host, request, reqid);
        const { status, rtt, error } = submission;
        // At once: whoever looks on from elsewhere, or after this process was killed, knows as much as possible.
        const noted = await runStore.note(reqid, { states: [state] });
        if (noted.isErr()) unrecorded.push(noted.error.message);
        events.emit({
          action: 'submit-result',
          level: status === 'accepted' ? 'info' : 'warning',
          fields: { reqid, script, host: host.host, status, rtt, error: loggedError(error, request) },
        });
        callback.tell(submission);
        return { state, submission };
      });
      const results = submitted.map(({ submission }) => submission);
      const settled = submitted.every(({ state }) => isSettled(state));
      const noted = await runStore.note(reqid, {
        submissions: results,
        ...(settled && { completedAt: clock.now() }),
      });
      if (noted.isErr()) unrecorded.push(noted.error.message);
      return { outcome: { reqid, results }, unrecorded };
    },
  }).map(({ outcome: { reqid, results }, warnings }) => {
    callback.rethrow();
    return { reqid, script, results, warnings };
  });
}

/** What is kept of an answer. An agent that knows no async runs has run the script, or refused to. */
function stateOf(host: string, said: SubmitAnswer): HostState {
  if (said.status !== 'ran') return { host, ...said };
  const { exit, error } = said.answer;
  const refused = exit === -1 && error !== undefined;
  return refused ? { host, status: 'error', error } : { host, status: 'done', ...said.answer };
}

function submitTo(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
  request: SubmitRequest,
  reqid: string,
): Promise<{ state: HostState; submission: Submission }> {
  const { host } = addressed;
  const started = context.clock.monotonic();
  return exchange(context, identity, addressed, {
    method: 'POST',
    path: '/run',
    body: runBody(request, reqid, { async: true }),
    answerTimeout: context.settings.readTimeout * 1000,
    maxAnswer: maxRunAnswer,
    signal: request.signal,
  })
    .andThen(({ answer }) => readSubmitAnswer(answer.status, answer.body, reqid))
    .match(
      (said) => stateOf(host, said),
      (error): HostState => ({
        host,
        status: 'error',
        error: hostError(error),
        ...(mayHaveBegun(error) && { unheard: true }),
      }),
    )
    .then((state) => {
      const rtt = Math.round(context.clock.monotonic() - started);
      const { error } = state;
      const status = state.status === 'busy' || state.status === 'error' ? state.status : 'accepted';
      const why = status !== 'accepted' && error !== undefined && { error };
      return { state, submission: { host, status, ...why, rtt, reqid } };
    });
}
