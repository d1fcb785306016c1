import { base64 } from '../../domain/core/bytes.js';
import type { CtrlExecError } from '../../domain/core/errors.js';
import { type HostResult, mayHaveRun } from '../../domain/runs/host-result.js';
import { exitOf, type Submission, statusOf } from '../../domain/runs/host-words.js';
import type { HostProgress } from '../../domain/runs/progress.js';
import type { DiscoveredHost } from '../../sdk/dispatcher/fleet/discovery.js';
import type { PingResult } from '../../sdk/dispatcher/fleet/ping.js';
import type { RunStatus } from '../../sdk/dispatcher/runs/status.js';

/** A round trip as JSON has it. */
export const withRtt = <T extends { readonly rtt: number }>({ rtt, ...result }: T) => ({
  ...result,
  rtt: `${rtt}ms`,
});

/** Since when an agent that answered lacks a revocation, seconds since 1970; absent: it lacks none. */
const pendingJson = ({
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

/** A host of a run. */
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

/** The same, and where there is no result at all, only why. */
export function briefResultJson(result: HostProgress) {
  const whole = resultJson(result);
  const { stdout, stderr, ...rest } = whole;
  const nothing = rest.exit === -1 && stdout === '' && stderr === '' && rest.error !== undefined;
  return nothing ? rest : whole;
}

/** A host of a run, as one of these. */
export type ResultJson = (result: HostProgress) => ReturnType<typeof briefResultJson>;

/** How a host took a submission. */
export const submissionJson = ({ rtt, revocationsPendingSince, ...told }: Submission) => ({
  ...told,
  ...pendingJson({ revocationsPendingSince }),
  rtt: `${rtt}ms`,
});

/**
 * How a run stands, in the form of its mode.
 * @param form `api`: what says nothing is left out. `command`: of an async run it is not told when that was known
 */
export function statusJson(status: RunStatus, form: 'api' | 'command') {
  const { reqid, script, complete, completedAt, results } = status;
  const pending = [...status.pending];
  const isBrief = form === 'api';
  const completed = completedAt !== undefined && { completed: Math.floor(completedAt / 1000) };
  if (status.mode === 'async') {
    const hosts = Object.fromEntries(results.map((result) => [result.host, stateJson(result)]));
    return { reqid, script, mode: 'async' as const, complete, pending, ...(isBrief && completed), hosts };
  }
  return {
    ...{ reqid, script, mode: 'sync' as const, complete },
    ...((!isBrief || pending.length > 0) && { pending }),
    hosts: [...status.hosts],
    ...completed,
    results: results.map(isBrief ? briefResultJson : resultJson),
  };
}

/** What a host answered to a ping. */
export function pingJson(result: PingResult) {
  if (result.status === 'error') return withRtt(result);
  const { reportedHostname, revocationsPendingSince, problems, ...told } = result;
  return {
    ...withRtt(told),
    ...(reportedHostname !== undefined && { reported_hostname: reportedHostname }),
    ...(problems !== undefined && { problems: [...problems] }),
    ...pendingJson({ revocationsPendingSince }),
  };
}

/** What a host offers. */
export function discoveredJson(found: DiscoveredHost) {
  if (found.status === 'error') return withRtt(found);
  const { reportedHostname, revocationsPendingSince, tags, scripts, ...told } = found;
  return {
    ...withRtt(told),
    tags: { ...tags },
    scripts: scripts.map((each) => ({ ...each })),
    ...(reportedHostname !== undefined && { reported_hostname: reportedHostname }),
    ...pendingJson({ revocationsPendingSince }),
  };
}
