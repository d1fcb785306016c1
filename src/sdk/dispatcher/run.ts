import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { readRunAnswer } from '../../domain/agent-protocol.js';
import { type CtrlExecError, failure } from '../../domain/errors.js';
import { scriptName } from '../../domain/names.js';
import type { HostResult } from '../../domain/run-record.js';
import { parallel } from '../parallel.js';
import { type AskFailure, type Asking, freshReqid, hostError, prepare } from './ask.js';
import { type Addressed, exchange } from './contact.js';
import type { DispatcherContext, DispatcherIdentity } from './context.js';

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
}

export type RunFailure = AskFailure | CtrlExecError<'locked'>;

/**
 * Runs a script on hosts: asks the hook, takes the locks of all hosts or none, and reports every host inline. A host that
 * fails spoils nothing; only what concerns the run as a whole is an error.
 */
export function run(context: DispatcherContext, request: RunRequest): ResultAsync<Run, RunFailure> {
  return checked(request)
    .asyncAndThen(() => prepare(context, { action: 'run', ...request }, request))
    .mapErr((error): RunFailure => error)
    .andThen(({ hosts, identity }) => locked(context, request, hosts, identity));
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
    .andThen(
      () => new ResultAsync(thenRelease(context, reqid, recorded(context, request, hosts, identity, reqid))),
    );
}

/** The outcome, once the locks are free again; also after a failure. */
async function thenRelease(
  context: DispatcherContext,
  reqid: string,
  work: ResultAsync<Run, CtrlExecError<'store_failed'>>,
): Promise<Result<Run, RunFailure>> {
  try {
    const outcome = await work;
    const released = await context.locks.release(reqid);
    return outcome.isErr() ? outcome : released.map(() => outcome.value);
  } catch (thrown) {
    // The caller's own callback threw: that is passed on, but holds no lock.
    await context.locks.release(reqid);
    throw thrown;
  }
}

function recorded(
  context: DispatcherContext,
  request: RunRequest,
  hosts: readonly Addressed[],
  identity: DispatcherIdentity,
  reqid: string,
): ResultAsync<Run, CtrlExecError<'store_failed'>> {
  const { clock, events, runStore, settings } = context;
  const { script } = request;
  const username = request.caller?.username ?? '';
  const names = hosts.map(({ host }) => host);
  return runStore
    .start({ reqid, script, hosts: names, username, startedAt: clock.now() })
    .andThen(() => {
      events.emit({
        action: 'run',
        fields: { reqid, script, hosts: names.join(','), username: username || undefined },
      });
      return ResultAsync.fromSafePromise<readonly HostResult[], CtrlExecError<'store_failed'>>(
        parallel(hosts, settings.maxParallel, async (host) => {
          const result = await runOn(context, identity, host, request, reqid);
          const { exit, rtt, error } = result;
          events.emit({
            action: 'run-result',
            level: exit === 0 ? 'info' : 'warning',
            fields: { reqid, script, host: host.host, exit, rtt, error },
          });
          request.onResult?.(result);
          return result;
        }),
      );
    })
    .andThen((results) =>
      runStore
        .complete(reqid, results, clock.now())
        .orElse((error) => (error.code === 'request_unknown' ? ok(undefined) : err(error)))
        .map(() => ({ reqid, script, results })),
    );
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
