import { type CtrlExecError, failure } from '../core/errors.js';
import type { RunResult } from '../protocol/run-messages.js';
import { bytesFrom, type HostOutput, type HostState, noOutput } from './host-result.js';

/** How a host ended, as far as its agent or an error tells. */
export interface HostEnd extends Partial<HostOutput> {
  readonly state: HostState;
  readonly error?: string;
  readonly failure?: CtrlExecError;
}

function outputOf({ exit, stdout, stderr, ...more }: RunResult): HostOutput {
  const { stdoutBase64, stderrBase64, truncated, leftBehind } = more;
  const stdoutBytes = stdoutBase64 === undefined ? undefined : bytesFrom(stdoutBase64);
  const stderrBytes = stderrBase64 === undefined ? undefined : bytesFrom(stderrBase64);
  return {
    ...{ exit, stdout, stderr },
    ...(stdoutBytes && { stdoutBytes }),
    ...(stderrBytes && { stderrBytes }),
    ...(truncated && { truncated }),
    ...(leftBehind && { leftBehind }),
  };
}

/** What an agent says in its own words when it does not begin a script (wire-protocol 1.2). */
function refusalIn(words: string, script: string): CtrlExecError {
  if (words === 'script not permitted') return failure('not_allowlisted', words, { script });
  if (words === 'script already running') return failure('busy', words, { script });
  const denied = /^not authorised: (.*)$/s.exec(words)?.[1];
  if (denied !== undefined) return failure('agent_denied', words, { reason: denied });
  return failure('refused', words, { status: 200, reason: words });
}

/** How a script ended that an agent has run, or why the agent has not run it. */
export function endOf(answer: RunResult, script: string): HostEnd {
  const output = outputOf(answer);
  const { exit, error } = answer;
  if (exit === 0) return { state: 'succeeded', ...output, ...(error !== undefined && { error }) };
  if (error !== undefined && exit === -1) {
    if (/^lost\b/.test(error)) return { ...lostEnd(answer), error };
    return { state: 'refused', ...noOutput, error, failure: refusalIn(error, script) };
  }
  const why = error !== undefined && { error };
  if (exit === 126 && error !== undefined && /^cancelled\b/.test(error)) return cancelledEnd(answer);
  const message = error ?? `exit ${exit}`;
  const timeout =
    error === undefined ? undefined : /: ran longer than (?:(\d+(?:\.\d+)?) s|it was given)/.exec(error);
  if (timeout)
    return {
      state: 'failed',
      ...output,
      ...why,
      failure: failure('script_timed_out', message, { timeoutMs: Number(timeout[1] ?? 0) * 1000 }),
    };
  const signal = error === undefined ? undefined : /^killed by (SIG[A-Z0-9]+)/.exec(error)?.[1];
  const fields = { exit: signal === undefined ? exit : undefined, signal };
  return { state: 'failed', ...output, ...why, failure: failure('script_failed', message, fields) };
}

export const cancelledEnd = (answer: RunResult): HostEnd => ({
  state: 'cancelled',
  ...outputOf(answer),
  error: answer.error ?? 'cancelled',
  failure: failure('cancelled', 'cancelled', {}),
});

export const lostEnd = (answer: RunResult): HostEnd => ({
  state: 'lost',
  ...outputOf(answer),
  error: answer.error ?? 'lost',
  failure: failure('lost', answer.error ?? 'lost', {}),
});

/** The answer of an agent did not come in time: in the words of deployed dispatchers, which scripts look for. */
export const readTimeout = (timeoutMs: number): CtrlExecError<'timed_out'> =>
  failure('timed_out', `read timeout after ${timeoutMs / 1000}s`, { phase: 'answer', timeoutMs });

/** The inline text of an error about one host, as deployed. */
export function hostError(error: CtrlExecError): string {
  if (error.code === 'aborted') return 'stopped by the caller';
  return error.code === 'timed_out' && error.phase === 'answer'
    ? readTimeout(error.timeoutMs).message
    : error.message;
}

/** What the status of a refusal means. */
function refusedBy({ status, reason, message }: CtrlExecError<'refused'>): CtrlExecError {
  if (status === 503) return failure('overloaded', message, { retryAfterMs: undefined });
  if (status !== 401) return failure('refused', message, { status, reason });
  return reason === 'replayed'
    ? failure('replayed', message, {})
    : failure('signature_refused', message, { reason });
}

/** Whether an agent may have begun a script although this was the outcome. @param sent the request may have reached it */
export const mayHaveBegun = (error: CtrlExecError, sent: boolean | undefined): boolean =>
  error.code === 'refused' ? error.status === 409 : error.code !== 'denied' && sent === true;

/** Why a host was not begun, where that is certain: nothing was sent, or its agent said no. */
export function notBegun(error: CtrlExecError): HostEnd {
  const inline = { ...noOutput, error: hostError(error) };
  switch (error.code) {
    case 'denied':
      return { state: 'denied', ...inline, failure: error };
    case 'refused':
      return { state: 'refused', ...inline, failure: refusedBy(error) };
    case 'host_unresolved':
    case 'connection_refused':
    case 'connection_failed':
    case 'timed_out':
    case 'tls_failed':
    case 'wrong_identity':
    case 'unpinned':
    case 'revoked':
      return { state: 'unreachable', ...inline, failure: error };
    case 'aborted':
      return skipped('stopped by the caller before it was sent');
    case 'unverified':
    case 'protocol_violation':
    case 'too_large': {
      const { message } = error;
      return {
        state: 'unreachable',
        ...inline,
        failure: failure('connection_failed', message, { host: '', reason: message }),
      };
    }
    default:
      return skipped(error.message);
  }
}

export const skipped = (reason: string): HostEnd => ({
  state: 'skipped',
  ...noOutput,
  error: reason,
  failure: failure('skipped', reason, { reason }),
});

/** It was sent, and nobody can say now how it ended. */
export const notKnown = (error: CtrlExecError, text = hostError(error)): HostEnd => ({
  state: 'unknown',
  ...noOutput,
  error: text,
  failure: error,
});

/** Its agent runs it. @param error why nobody waits for it any more */
export const goesOn = (error?: CtrlExecError, text?: string): HostEnd => ({
  state: 'running',
  ...noOutput,
  ...(error && { error: text ?? hostError(error), failure: error }),
});
