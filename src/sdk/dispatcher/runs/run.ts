import type { ResultAsync } from 'neverthrow';
import {
  maxRunAnswer,
  readRunAnswer,
  readRunResult,
  readTimeout,
} from '../../../domain/protocol/agent-protocol.js';
import { idleInterval } from '../../../domain/protocol/output-stream.js';
import { endOf, skipped } from '../../../domain/runs/host-ends.js';
import { type HostResult, noOutput } from '../../../domain/runs/host-result.js';
import { exitOf } from '../../../domain/runs/host-words.js';
import { guarded } from '../../core/callback.js';
import { parallel } from '../../core/parallel.js';
import type { DispatcherContext } from '../context.js';
import { loggedError } from '../fleet/ask.js';
import { exchange, pendingMember } from '../fleet/contact.js';
import type { Addressed } from '../trust/agent-target.js';
import type { DispatcherIdentity } from '../trust/identity.js';
import { givenUp } from './given-up.js';
import { type RunFailure, recorded } from './record.js';
import { resultsOf } from './repeat.js';
import { runBody, type ScriptRequest } from './request.js';
import { settling } from './settling.js';
import { followed, type OutputPiece } from './streamed-answer.js';

/** What is run, where, and who follows it. */
export interface RunRequest extends ScriptRequest {
  /** Called as each host's result arrives, in that order. */
  readonly onResult?: (result: HostResult) => void;
  /**
   * Called with what the scripts write as it comes; of one host the next piece is asked for when what this returns has resolved,
   * and a slow one slows the script. Nothing of it is authenticated before the host's result is there: where that is `unknown`
   * nobody vouches for what was given. A host that does not stream (a legacy agent) gives its result alone.
   */
  readonly onOutput?: (piece: OutputPiece) => void | PromiseLike<void>;
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
  const { clock, events, settings } = context;
  const { script, signal } = request;
  const callback = guarded(request.onResult);
  const output = request.onOutput && guarded(request.onOutput);
  return recorded<Pick<Run, 'reqid' | 'results'>>(context, request, {
    mode: 'sync',
    retryOf,
    repeated: (first) =>
      resultsOf(context, first, request, patience(context, request.timeout)).map((results) => {
        for (const result of results) callback.tell(result);
        return { reqid: first.reqid, results };
      }),
    work: async ({ reqid, hosts, identity, begunAt }) => {
      const records = settling(context, reqid, hosts.length);
      const results = await parallel(hosts, settings.maxParallel, async (addressed) => {
        const { host } = addressed;
        const base: HostResult = { host, script, reqid, state: 'running', begunAt, ...noOutput, rtt: 0 };
        const result = signal?.aborted
          ? { ...base, ...skipped('stopped by the caller before its turn'), settledAt: clock.now() }
          : await runOn(context, identity, addressed, request, base, output?.tellAndWait);
        records.add(result);
        const { state, rtt, error } = result;
        events.emit({
          action: 'run-result',
          level: state === 'succeeded' ? 'info' : 'warning',
          fields: {
            reqid,
            script,
            host,
            state,
            exit: exitOf(result),
            rtt,
            error: loggedError(error, request),
          },
        });
        callback.tell(result);
        return result;
      });
      return { outcome: { reqid, results }, unrecorded: await records.left() };
    },
  }).map(({ outcome: { reqid, results }, warnings }) => {
    callback.rethrow();
    output?.rethrow();
    return { reqid, script, results, warnings };
  });
}

/** Milliseconds that an answer is waited for: what the script may take, and a little (wire-protocol 2.5). */
const patience = ({ settings }: DispatcherContext, timeout: number | undefined): number =>
  Math.max(settings.readTimeout, timeout === undefined ? 0 : timeout + 5) * 1000;

/** Milliseconds of silence that are borne from a run that is followed, at least: it says something every 15 s. */
const leastSilence = 3 * idleInterval;

async function runOn(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
  request: RunRequest,
  base: HostResult,
  give: ((piece: OutputPiece) => Promise<void>) | undefined,
): Promise<HostResult> {
  const { clock } = context;
  const { host, script, reqid } = base;
  const { timeout } = request;
  const started = clock.monotonic();
  const stream = give && followed(context, (piece) => give({ host, ...piece }));
  const longest = patience(context, timeout);
  const limit = stream && timeout !== undefined ? deadline(context, longest, request.signal) : undefined;
  const outcome = await exchange(context, identity, addressed, {
    method: 'POST',
    path: '/run',
    body: runBody(request, reqid, stream ? { stream: true } : {}),
    answerTimeout: stream ? Math.max(longest, leastSilence) : longest,
    maxAnswer: maxRunAnswer,
    signal: limit?.signal ?? request.signal,
    follow: stream?.follow,
  }).andThen((answered) => {
    const { answer, rtt, name } = answered;
    const end = stream?.result();
    const told = end ? readRunResult(end, reqid) : readRunAnswer(answer.status, answer.body, reqid);
    return told
      .map((read): HostResult => {
        const now = clock.now();
        const ended = endOf(read, script);
        return {
          .../* defence: result-is-of-asked-host */ base,
          ...ended,
          ...(name !== host && { reportedHostname: name }),
          ...pendingMember(answered),
          seenAt: now,
          settledAt: now,
          rtt,
        };
      })
      .mapErr((error) => ({ ...error, sent: true as const }));
  });
  limit?.stop();
  if (outcome.isOk()) return outcome.value;
  const { sent } = outcome.error as { readonly sent?: true };
  const error = limit?.passed() ? { ...readTimeout(longest), ...(sent && { sent }) } : outcome.error;
  const rtt = Math.round(clock.monotonic() - started);
  return givenUp(context, identity, addressed, { ...base, rtt }, error, 'sync');
}

/** A signal that is aborted after so many milliseconds, or by another one. */
function deadline({ clock }: DispatcherContext, after: number, signal: AbortSignal | undefined) {
  const ending = new AbortController();
  let passed = false;
  const cancel = clock.after(after, () => {
    passed = true;
    ending.abort();
  });
  const onAbort = () => ending.abort();
  signal?.addEventListener('abort', onAbort);
  if (signal?.aborted) ending.abort();
  return {
    signal: ending.signal,
    passed: () => passed,
    stop() {
      cancel();
      signal?.removeEventListener('abort', onAbort);
    },
  };
}
