import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/errors.js';
import { scriptName } from '../../domain/names.js';
import type { RunMode } from '../../domain/run-record.js';
import { guarded } from '../callback.js';
import { freshReqid } from './agent-request.js';
import { type AskFailure, type Asking, type Prepared, prepare } from './ask.js';
import { recordFailed } from './contact.js';
import type { DispatcherContext } from './context.js';

/** What is to be run, and where. */
export interface ScriptRequest extends Asking {
  /** Registered names, `host:port`, `[v6]:port` or unregistered host names; at least one. A repeated one counts once. */
  readonly hosts: readonly string[];
  /** Name in the agents' allowlists. */
  readonly script: string;
  /** The argument vector; strings without NUL, passed byte for byte as UTF-8. Default: none. */
  readonly args?: readonly string[];
  /**
   * Whole seconds after which an agent ends the script, 1 to 604,800. Default: `run_timeout` of the agent. Legacy agents do not
   * know it.
   */
  readonly timeout?: number;
  /** Called once the run is recorded, before any host is contacted. */
  readonly onBegin?: (reqid: string) => void;
}

export type RunFailure = AskFailure | CtrlExecError<'locked'>;

/** Seconds. */
const longestTimeout = 604_800;

/** Milliseconds for which an agent is expected to know a run. */
export const knownFor = 86_400_000;

/** Forgets runs that ended longer than `run_ttl` ago, and after a week or that time those whose end nobody ever heard. */
export function purgeRuns({ clock, runStore, settings }: DispatcherContext) {
  const now = clock.now();
  const keptFor = settings.runTtl * 1000;
  return runStore.purge({
    endedBefore: now - keptFor,
    startedBefore: now - Math.max(keptFor, 7 * knownFor),
  });
}

/** What an agent is told to run. */
export const runBody = (
  { script, args = [], caller = {}, timeout }: ScriptRequest,
  reqid: string,
  mode: { readonly async?: true; readonly stream?: true } = {},
) => ({
  script,
  args,
  reqid,
  username: caller.username ?? '',
  token: caller.token ?? '',
  ...(timeout !== undefined && { timeout }),
  ...mode,
});

function checked({ hosts, script, args = [], timeout = 1 }: ScriptRequest) {
  const invalid = (field: string, reason: string) =>
    err(failure('invalid_argument', `${field}: ${reason}`, { field, reason }));
  if (hosts.length === 0) return invalid('hosts', 'at least one host is needed');
  if (!Array.isArray(args) || args.some((arg) => typeof arg !== 'string' || arg.includes('\0')))
    return invalid('args', 'must be strings without NUL');
  if (!Number.isInteger(timeout) || timeout < 1 || timeout > longestTimeout)
    return invalid('timeout', `must be whole seconds from 1 to ${longestTimeout}`);
  return scriptName(script).map(() => undefined);
}

/** A run whose locks are held and whose record is begun. */
export interface Begun extends Prepared {
  readonly reqid: string;
}

/**
 * Asks the hook, takes the locks of all hosts or none, records the run, and lets go of the locks when `work` is done. Once
 * the scripts were sent, nothing takes their results away: what the store cannot take is logged.
 * @param work never rejects; gives what it has, and what could not be recorded of it
 */
export function recorded<T>(
  context: DispatcherContext,
  request: ScriptRequest,
  mode: RunMode,
  work: (begun: Begun) => Promise<{ readonly outcome: T; readonly unrecorded: readonly string[] }>,
): ResultAsync<{ readonly outcome: T; readonly warnings: readonly string[] }, RunFailure> {
  const { locks, clock } = context;
  const { script, hosts } = request;
  return checked(request)
    .asyncAndThen(() => prepare(context, { action: 'run', script, hosts, args: request.args ?? [] }, request))
    .mapErr((error): RunFailure => error)
    .andThen((prepared) => {
      const reqid = freshReqid(context);
      const keys = prepared.hosts.map(({ host }) => ({ host, script }));
      return locks
        .acquire(keys, reqid, clock.now())
        .mapErr((error): RunFailure => error)
        .andThen(() => new ResultAsync(begin(context, request, mode, { ...prepared, reqid }, work)));
    });
}

async function begin<T>(
  context: DispatcherContext,
  request: ScriptRequest,
  mode: RunMode,
  begun: Begun,
  work: (begun: Begun) => Promise<{ readonly outcome: T; readonly unrecorded: readonly string[] }>,
): Promise<Result<{ outcome: T; warnings: readonly string[] }, RunFailure>> {
  const { clock, events, locks, runStore } = context;
  const { reqid } = begun;
  const { script, caller = {} } = request;
  const username = caller.username ?? '';
  const hosts = begun.hosts.map(({ host }) => host);
  const started = await purgeRuns(context).andThen(() =>
    runStore.start({
      reqid,
      script,
      hosts,
      args: request.args ?? [],
      mode,
      username,
      sourceIp: caller.sourceIp ?? '127.0.0.1',
      startedAt: clock.now(),
    }),
  );
  if (started.isErr()) {
    await locks.release(reqid);
    return err(started.error);
  }
  const fields = { reqid, script, hosts: hosts.join(','), username: username || undefined };
  if (mode === 'sync') events.emit({ action: 'run', fields });
  else events.emit({ action: 'submit', fields });
  const callback = guarded(request.onBegin);
  callback.tell(reqid);
  const { outcome, unrecorded } = await work(begun);
  const released = await locks.release(reqid);
  const warnings = [...unrecorded, ...(released.isErr() ? [released.error.message] : [])];
  for (const warning of warnings) recordFailed(context, warning, reqid);
  callback.rethrow();
  return ok({ outcome, warnings });
}
