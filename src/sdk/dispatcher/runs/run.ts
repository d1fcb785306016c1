import { ok, type ResultAsync, safeTry } from 'neverthrow';
import { failure } from '../../../domain/core/errors.js';
import type { RunResult } from '../../../domain/protocol/run-messages.js';
import { endOf, goesOn, type HostEnd, skipped } from '../../../domain/runs/host-ends.js';
import { type HostResult, isEnd, noOutput } from '../../../domain/runs/host-result.js';
import { exitOf, type Submission, submissionOf } from '../../../domain/runs/host-words.js';
import { guarded } from '../../core/callback.js';
import { parallel } from '../../core/parallel.js';
import { run as endpoint } from '../../protocol/endpoints.js';
import type { DispatcherContext } from '../context.js';
import { loggedError, type Plan, plan } from '../fleet/ask.js';
import { contact, pendingMember } from '../fleet/contact.js';
import { givenUp } from './ask-record.js';
import { begin, type Order, type RunFailure } from './begin.js';
import { type Following, following } from './following.js';
import { checkRequest, runAsk, type ScriptRequest } from './request.js';

/** What is run, where, and who follows it. */
export interface RunRequest extends ScriptRequest, Following {
  /** Called as each host's result arrives, in that order. */
  readonly onResult?: (result: HostResult) => void;
}

/** How a run ended on each host. That a host failed is its result, not an error of the run. */
export interface Run {
  /** 16 hex digits, the same in the logs of both hosts. */
  readonly reqid: string;
  readonly script: string;
  /** One per host, in the order of the request. */
  readonly results: readonly HostResult[];
  /** What could not be recorded, one line each; the results stand all the same. */
  readonly warnings: readonly string[];
}

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
 * Runs a script on hosts: asks the hook, takes the locks of all hosts or none, and reports every host inline. A host that
 * fails spoils nothing; only what concerns the run as a whole is an error. Where the end does not come in time, or the signal is
 * aborted, the agent is asked once how it stands; a script that runs goes on, and `status` can still fetch its end. A throw of the caller's own callback is passed on at the end.
 * @param retryOf the run whose failed hosts it is for
 */
export function run(
  context: DispatcherContext,
  request: RunRequest,
  retryOf?: string,
): ResultAsync<Run, RunFailure> {
  const onResult = guarded(request.onResult);
  const onOutput = request.onOutput && guarded(request.onOutput);
  const followed = onOutput ? { ...request, onOutput: onOutput.tellAndWait } : request;
  return perform(context, followed, { mode: 'sync', retryOf }, onResult.tell).map((ran) => {
    onResult.rethrow();
    onOutput?.rethrow();
    return ran;
  });
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
  const { onResult: given, ...script } = request;
  const onResult = guarded(given);
  const tell = (result: HostResult) => onResult.tell(submissionOf(result));
  return perform(context, script, { mode: 'async', retryOf }, tell).map(({ results, ...ran }) => {
    onResult.rethrow();
    return { ...ran, results: results.map(submissionOf) };
  });
}

type Asked = ScriptRequest & Following;

/** The path of every run. @param tell is given each result as it comes */
function perform(
  context: DispatcherContext,
  request: Asked,
  order: Order,
  tell: (result: HostResult) => void,
): ResultAsync<Run, RunFailure> {
  const { script, hosts, args = [] } = request;
  const onBegin = guarded(request.onBegin);
  return safeTry<Run, RunFailure>(async function* () {
    yield* checkRequest(request);
    const planned = yield* plan(context, { action: 'run', script, hosts, args }, request);
    const begun = yield* begin(context, request, order, planned, onBegin.tell);
    const { reqid } = begun;
    if (begun.kind === 'repeated') {
      const { results } = begun;
      for (const result of results) tell(result);
      onBegin.rethrow();
      return ok({ reqid, script, results, warnings: [] });
    }
    const base = { script, reqid, state: 'running', begunAt: begun.begunAt, ...noOutput, rtt: 0 } as const;
    const { outcome: results, unrecorded: warnings } = await begun.records.whole(() =>
      parallel(begun.hosts, context.settings.maxParallel, async (addressed) => {
        const before = { host: addressed.host, ...base };
        const result = await callHost(context, begun, addressed, request, before, order);
        await begun.records.add(result);
        log(context, result, request, order);
        tell(result);
        return result;
      }),
    );
    onBegin.rethrow();
    return ok({ reqid, script, results, warnings });
  });
}

/** What one host comes to. */
async function callHost(
  context: DispatcherContext,
  { identity }: Pick<Plan, 'identity'>,
  addressed: Plan['hosts'][number],
  request: Asked,
  before: HostResult,
  { mode }: Order,
): Promise<HostResult> {
  const { clock } = context;
  const { host, script, reqid } = before;
  if (request.signal?.aborted)
    return { ...before, ...skipped('stopped by the caller before its turn'), settledAt: clock.now() };
  const started = clock.monotonic();
  const { options, late, over } = following(context, before, request, mode);
  const asked = runAsk(request, reqid, { async: mode === 'async', stream: options.onOutput !== undefined });
  const called = await contact(context, identity, addressed, endpoint, asked, options);
  over();
  if (called.isErr()) {
    const rtt = Math.round(clock.monotonic() - started);
    return givenUp(context, identity, addressed, { ...before, rtt }, late(called.error), mode);
  }
  const { answer, name, rtt } = called.value;
  const end = endIn(answer, script);
  const now = clock.now();
  return {
    .../* defence: result-is-of-asked-host */ before,
    ...end,
    ...(name !== host && { reportedHostname: name }),
    ...pendingMember(called.value),
    rtt,
    seenAt: now,
    ...(isEnd(end) && { settledAt: now }),
  };
}

type RunAnswer =
  | { readonly outcome: 'ended'; readonly result: RunResult }
  /** `running`: its request came twice. */
  | { readonly outcome: 'accepted' | 'running' }
  | { readonly outcome: 'busy'; readonly error?: string | undefined };

/** What an agent made of a request to run. One that knows no async runs has run the script, or refused to. */
function endIn(answer: RunAnswer, script: string): HostEnd {
  switch (answer.outcome) {
    case 'ended':
      return endOf(answer.result, script);
    case 'accepted':
    case 'running':
      return goesOn();
    case 'busy': {
      const { error = 'busy' } = answer;
      return { ...noOutput, state: 'refused', error, failure: failure('busy', error, { script }) };
    }
  }
}

function log({ events }: DispatcherContext, result: HostResult, request: Asked, { mode }: Order): void {
  const { reqid, script, host, state, rtt } = result;
  const fields = { reqid, script, host, state, rtt };
  if (mode === 'sync') {
    const error = loggedError(result.error, request);
    events.emit({
      action: 'run-result',
      level: state === 'succeeded' ? 'info' : 'warning',
      fields: { ...fields, exit: exitOf(result), error },
    });
  } else {
    const { status, error } = submissionOf(result);
    events.emit({
      action: 'submit-result',
      level: status === 'accepted' ? 'info' : 'warning',
      fields: { ...fields, status, error: loggedError(error, request) },
    });
  }
}
