import type { ResultAsync } from 'neverthrow';
import { maxRunAnswer, type RunAnswer, readRunAnswer } from '../../domain/agent-protocol.js';
import type { CtrlExecError } from '../../domain/errors.js';
import type { HostResult } from '../../domain/run-record.js';
import { guarded } from '../callback.js';
import { parallel } from '../parallel.js';
import type { Addressed } from './agent-target.js';
import { hostError, loggedError } from './ask.js';
import { exchange } from './contact.js';
import type { DispatcherContext } from './context.js';
import type { DispatcherIdentity } from './identity.js';
import { type RunFailure, recorded, runBody, type ScriptRequest } from './run-record.js';

export interface RunRequest extends ScriptRequest {
  /** Called as each host's result arrives, in that order. */
  readonly onResult?: (result: HostResult) => void;
}

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
 * fails spoils nothing; only what concerns the run as a whole is an error. Where the end is not heard in time the script goes
 * on, and `status` can still fetch it. A throw of the caller's own callback is passed on at the end.
 */
export function run(context: DispatcherContext, request: RunRequest): ResultAsync<Run, RunFailure> {
  const { clock, events, runStore, settings } = context;
  const { script } = request;
  const callback = guarded(request.onResult);
  return recorded(context, request, 'sync', async ({ reqid, hosts, identity }) => {
    const results = await parallel(hosts, settings.maxParallel, async (host) => {
      const result = await runOn(context, identity, host, request, reqid);
      const { exit, rtt, error } = result;
      events.emit({
        action: 'run-result',
        level: exit === 0 ? 'info' : 'warning',
        fields: { reqid, script, host: host.host, exit, rtt, error: loggedError(error, request) },
      });
      callback.tell(result);
      return result;
    });
    const completed = await runStore.complete(reqid, results, clock.now());
    return {
      outcome: { reqid, results },
      unrecorded: completed.isErr() ? [completed.error.message] : [],
    };
  }).map(({ outcome: { reqid, results }, warnings }) => {
    callback.rethrow();
    return { reqid, script, results, warnings };
  });
}

/** Milliseconds that an answer is waited for: what the script may take, and a little (wire-protocol 2.5). */
export const patience = ({ settings }: DispatcherContext, timeout: number | undefined): number =>
  Math.max(settings.readTimeout, timeout === undefined ? 0 : timeout + 5) * 1000;

const unheardCodes: ReadonlySet<CtrlExecError['code']> = new Set([
  'connection_failed',
  'aborted',
  'unverified',
  'protocol_violation',
  'too_large',
]);

/** Whether the script may have been begun although this was the outcome: its agent knows. */
export const mayHaveBegun = (error: CtrlExecError): boolean =>
  unheardCodes.has(error.code) ||
  (error.code === 'timed_out' && error.phase === 'answer') ||
  (error.code === 'refused' && error.status === 409);

/** A host's result as its agent told it. */
export const resultOf = (
  base: Pick<HostResult, 'host' | 'script' | 'reqid' | 'rtt'>,
  answer: RunAnswer,
  name = base.host,
): HostResult => ({ ...base, ...answer, ...(name !== base.host && { reportedHostname: name }) });

function runOn(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
  request: RunRequest,
  reqid: string,
): Promise<HostResult> {
  const { script, signal, timeout } = request;
  const started = context.clock.monotonic();
  const base = { host: addressed.host, script, reqid };
  return exchange(context, identity, addressed, {
    method: 'POST',
    path: '/run',
    body: runBody(request, reqid),
    answerTimeout: patience(context, timeout),
    maxAnswer: maxRunAnswer,
    signal,
  })
    .andThen(({ answer, rtt, name }) =>
      readRunAnswer(answer.status, answer.body, reqid).map((read) => resultOf({ ...base, rtt }, read, name)),
    )
    .match(
      (result) => result,
      (error): HostResult => ({
        ...base,
        exit: -1,
        stdout: '',
        stderr: '',
        error: hostError(error),
        rtt: Math.round(context.clock.monotonic() - started),
        ...(mayHaveBegun(error) && { unheard: true }),
      }),
    );
}
