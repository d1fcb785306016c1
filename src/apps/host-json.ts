import { base64 } from '../domain/core/bytes.js';
import type { CtrlExecError } from '../domain/core/errors.js';
import { type HostResult, mayHaveRun } from '../domain/runs/host-result.js';
import { exitOf, statusOf } from '../domain/runs/host-words.js';
import type { HostProgress } from '../domain/runs/progress.js';

/** Since when an agent that answered lacks a revocation, seconds since 1970; absent: it lacks none. */
export const pendingJson = ({
  revocationsPendingSince: since,
}: {
  readonly revocationsPendingSince?: number | undefined;
}) => (since === undefined ? {} : { revocations_pending_since: Math.floor(since / 1000) });

/** What JSON says of every host, in whatever form. */
function common(result: HostProgress) {
  const { state, stdoutBytes, stderrBytes, truncated, leftBehind, failure, fetchError } = result;
  return {
    state,
    ...(stdoutBytes && { stdout_base64: base64(stdoutBytes) }),
    ...(stderrBytes && { stderr_base64: base64(stderrBytes) }),
    ...(truncated && { truncated }),
    ...(leftBehind && { left_behind: { ...leftBehind, pids: [...leftBehind.pids] } }),
    ...(failure && { failure: failureJson(failure, result) }),
    ...(fetchError !== undefined && { fetch_error: fetchError }),
    ...pendingJson(result),
  };
}

const failureJson = ({ message: _, ...failure }: CtrlExecError, result: HostResult) => ({
  ...failure,
  may_have_run: mayHaveRun(result),
});

/** Why there is no exit code, where nothing else says so. */
const unended: Readonly<Partial<Record<HostResult['state'], string>>> = {
  waiting: 'not begun yet',
  queued: 'not delivered yet',
  running: 'still running',
};

/** A host of a run with the members of the HTTP API. */
export const resultJson = (result: HostProgress) => {
  const { host, script, stdout, stderr, reportedHostname, rtt, reqid } = result;
  const error = result.error ?? unended[result.state];
  return {
    ...{ host, script, exit: exitOf(result), stdout, stderr },
    ...(error !== undefined && { error }),
    ...common(result),
    ...(reportedHostname !== undefined && { reported_hostname: reportedHostname }),
    ...{ rtt: `${rtt}ms`, reqid },
  };
};

const ended: ReadonlySet<string> = new Set(['done', 'cancelled', 'lost']);

/** A host of an async run, without its name. */
export const stateJson = (result: HostProgress) => {
  const { stdout, stderr, error } = result;
  const status = statusOf(result);
  return {
    status,
    ...(ended.has(status) && { exit: exitOf(result), stdout, stderr }),
    ...(error !== undefined && { error }),
    ...common(result),
  };
};
