import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { maxRunAnswer, readRunAnswer } from '../../domain/agent-protocol.js';
import { type CtrlExecError, failure } from '../../domain/errors.js';
import { scriptName } from '../../domain/names.js';
import type { HostResult } from '../../domain/run-record.js';
import { guarded } from '../callback.js';
import { parallel } from '../parallel.js';
import { freshReqid } from './agent-request.js';
import type { Addressed } from './agent-target.js';
import { type AskFailure, type Asking, hostError, loggedError, prepare } from './ask.js';
import { exchange, recordFailed } from './contact.js';
import type { DispatcherContext } from './context.js';
import type { DispatcherIdentity } from './identity.js';

export interface RunRequest extends Asking {
  /** Registered names, `host:port`, `[v6]:port` or unregistered host names; at least one. A repeated one counts once. */
  readonly hosts: readonly string[];
  /** Name in the agents' allowlists. */
  readonly script: string;
  /** The argument vector; strings without NUL, passed byte for byte as UTF-8. Default: none. */
  readonly args?: readonly string[];
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

export type RunFailure = AskFailure | CtrlExecError<'locked'>;

/**
 * Runs a script on hosts: asks the hook, takes the locks of all hosts or none, and reports every host inline. A host that
 * fails spoils nothing; only what concerns the run as a whole is an error.
 */
export function run(context: DispatcherContext, request: RunRequest): ResultAsync<Run, RunFailure> {
  const { script, hosts } = request;
  return checked(request)
    .asyncAndThen(() => prepare(context, { action: 'run', script, hosts, args: request.args ?? [] }, request))
    .mapErr((error): RunFailure => error)
    .andThen((prepared) => locked(context, request, prepared.hosts, prepared.identity));
}

function checked({ hosts, script, args = [] }: RunRequest): Result<void, CtrlExecError<'invalid_argument'>> {
  const invalid = (field: string, reason: string) =>
    err(failure('invalid_argument', `${field}: ${reason}`, { field, reason }));
  if (hosts.length === 0) return invalid('hosts', 'at least one host is needed');
  if (!Array.isArray(args) || args.some((arg) => typeof arg !== 'string' || arg.includes('\0')))
    return invalid('args', 'must be strings without NUL');
  return scriptName(script).map(() => undefined);
}

function locked(
  context: DispatcherContext,
  request: RunRequest,
  hosts: readonly Addressed[],
  identity: DispatcherIdentity,
): ResultAsync<Run, RunFailure> {
  const { locks, clock } = context;
  const reqid = freshReqid(context);
  const keys = hosts.map(({ host }) => ({ host, script: request.script }));
  return locks
    .acquire(keys, reqid, clock.now())
    .mapErr((error): RunFailure => error)
    .andThen(() => new ResultAsync(recorded(context, request, hosts, identity, reqid)));
}

/** Records for this long can be asked for (milliseconds). */
const keptFor = 86_400_000;

/**
 * Runs, keeps the record, and lets go of the locks. Once the scripts were sent, nothing takes their results away: what
 * the store cannot take is logged. A throw of the caller's own callback is passed on at the end.
 */
async function recorded(
  context: DispatcherContext,
  request: RunRequest,
  hosts: readonly Addressed[],
  identity: DispatcherIdentity,
  reqid: string,
): Promise<Result<Run, RunFailure>> {
  const { clock, events, locks, runStore, settings } = context;
  const { script } = request;
  const username = request.caller?.username ?? '';
  const names = hosts.map(({ host }) => host);
  const started = await runStore
    .purge(clock.now() - keptFor)
    .andThen(() => runStore.start({ reqid, script, hosts: names, username, startedAt: clock.now() }));
  if (started.isErr()) {
    await locks.release(reqid);
    return err(started.error);
  }
  events.emit({
    action: 'run',
    fields: { reqid, script, hosts: names.join(','), username: username || undefined },
  });
  const callback = guarded(request.onResult);
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
  const released = await locks.release(reqid);
  const warnings = [completed, released].flatMap((outcome) =>
    outcome.isErr() ? [outcome.error.message] : [],
  );
  for (const warning of warnings) recordFailed(context, warning, reqid);
  callback.rethrow();
  return ok({ reqid, script, results, warnings });
}

function runOn(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
  { script, args = [], caller = {}, signal }: RunRequest,
  reqid: string,
): Promise<HostResult> {
  const started = context.clock.monotonic();
  const base = { host: addressed.host, script, reqid };
  return exchange(context, identity, addressed, {
    method: 'POST',
    path: '/run',
    body: { script, args, reqid, username: caller.username ?? '', token: caller.token ?? '' },
    answerTimeout: context.settings.readTimeout * 1000,
    maxAnswer: maxRunAnswer,
    signal,
  })
    .andThen(({ answer, rtt, name }) =>
      readRunAnswer(answer.status, answer.body, reqid).map(
        (read): HostResult => ({
          ...base,
          ...read,
          rtt,
          ...(name !== addressed.host && { reportedHostname: name }),
        }),
      ),
    )
    .match(
      (result) => result,
      (error) => ({
        ...base,
        exit: -1,
        stdout: '',
        stderr: '',
        error: hostError(error),
        rtt: Math.round(context.clock.monotonic() - started),
      }),
    );
}
