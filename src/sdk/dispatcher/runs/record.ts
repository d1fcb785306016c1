import { err, errAsync, ok, type Result, ResultAsync, safeTry } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { RunMode, RunRecord } from '../../../domain/runs/record.js';
import { guarded } from '../../core/callback.js';
import { wait } from '../../core/wait.js';
import type { DispatcherContext } from '../context.js';
import { type AskFailure, type Prepared, prepare } from '../fleet/ask.js';
import { recordFailed } from '../fleet/contact.js';
import { freshReqid } from '../trust/agent-request.js';
import { callerDigest, ownKey, type RepeatFailure, sameRequest, waitSignal } from './repeat.js';
import { checkRequest, type ScriptRequest } from './request.js';
import { purgeRuns } from './retention.js';

export type RunFailure = AskFailure | RepeatFailure | CtrlExecError<'locked'>;

export interface RunKind<T = unknown> {
  readonly mode: RunMode;
  /** The run whose failed hosts it is for. */
  readonly retryOf: string | undefined;
  /** What another call has begun by the same key is to be answered with. */
  readonly repeated: (first: RunRecord) => ResultAsync<T, RepeatFailure>;
  /**
   * Never rejects; gives what it has, and what could not be recorded of it.
   */
  readonly work: (begun: Begun) => Promise<{ readonly outcome: T; readonly unrecorded: readonly string[] }>;
}

/** A run whose locks are held and whose record is begun. */
interface Begun extends Prepared {
  readonly reqid: string;
}

interface Outcome<T> {
  readonly outcome: T;
  readonly warnings: readonly string[];
}

/**
 * Asks the hook, takes the locks of all hosts or none, records the run, and lets go of the locks when `work` is done. Once
 * the scripts were sent, nothing takes their results away: what the store cannot take is logged. What was begun by the same
 * idempotency key is not begun again.
 */
export function recorded<T>(
  context: DispatcherContext,
  request: ScriptRequest,
  kind: RunKind<T>,
): ResultAsync<Outcome<T>, RunFailure> {
  const { script, hosts } = request;
  return checkRequest(request)
    .asyncAndThen(() => prepare(context, { action: 'run', script, hosts, args: request.args ?? [] }, request))
    .mapErr((error): RunFailure => error)
    .andThen((prepared) => begunOnce(context, request, kind, prepared));
}

/** Milliseconds after which it is seen again what became of a run that is about to be recorded. */
const momentLater = 20;

function begunOnce<T>(
  context: DispatcherContext,
  request: ScriptRequest,
  kind: RunKind<T>,
  prepared: Prepared,
): ResultAsync<Outcome<T>, RunFailure> {
  const { clock, runStore } = context;
  const { idempotencyKey, caller } = request;
  const key = idempotencyKey === undefined ? undefined : ownKey(context, idempotencyKey, caller);
  const signal = waitSignal(request);
  return safeTry<Outcome<T>, RunFailure>(async function* () {
    for (;;) {
      const first = key === undefined ? undefined : yield* runStore.findByIdempotencyKey(key);
      if (first) return repetition(context, request, kind, prepared, first);
      const begun = await locked(context, request, kind, prepared);
      if (begun.isOk() && begun.value !== 'taken') return ok(begun.value);
      if (begun.isErr()) {
        const { error } = begun;
        if (key === undefined || error.code !== 'locked') return err(error);
        const certain = yield* areRecorded(context, error.conflicts);
        if (certain && !(yield* runStore.findByIdempotencyKey(key))) return err(error);
      }
      yield* wait(clock, momentLater, signal);
    }
  });
}

/** Whether it is known by which key each run was begun that is in the way: the locks come before the record. */
function areRecorded(
  { locks, runStore }: DispatcherContext,
  conflicts: readonly string[],
): ResultAsync<boolean, CtrlExecError<'store_failed'>> {
  return safeTry(async function* () {
    const inTheWay = (yield* locks.list()).filter(({ host, script }) =>
      conflicts.includes(`${host}:${script}`),
    );
    for (const { reqid } of inTheWay) if (!(yield* runStore.find(reqid))) return ok(false);
    return ok(inTheWay.length > 0);
  });
}

function repetition<T>(
  context: DispatcherContext,
  request: ScriptRequest,
  kind: RunKind<T>,
  prepared: Prepared,
  first: RunRecord,
): ResultAsync<Outcome<T>, RunFailure> {
  const mismatch = sameRequest(context, first, request, kind, prepared);
  if (mismatch) return errAsync(mismatch);
  const { reqid, script } = first;
  const callback = guarded(request.onBegin);
  context.events.emit({
    action: 'repeat',
    fields: { reqid, script, username: request.caller?.username || undefined },
  });
  callback.tell(reqid);
  return kind
    .repeated(first)
    .mapErr((error): RunFailure => error)
    .map((outcome) => {
      callback.rethrow();
      return { outcome, warnings: [] };
    });
}

/** `taken`: another run has the idempotency key, and nothing was begun. */
type Attempt<T> = Outcome<T> | 'taken';

function locked<T>(
  context: DispatcherContext,
  request: ScriptRequest,
  kind: RunKind<T>,
  prepared: Prepared,
): ResultAsync<Attempt<T>, RunFailure> {
  const { locks, clock } = context;
  const reqid = freshReqid(context);
  const keys = prepared.hosts.map(({ host }) => ({ host, script: request.script }));
  return locks
    .acquire(keys, reqid, clock.now())
    .mapErr((error): RunFailure => error)
    .andThen(
      () => new ResultAsync(unlocking(context, reqid, begin(context, request, kind, { ...prepared, reqid }))),
    );
}

/** A port that throws is a bug, and is thrown on; it keeps no lock. */
async function unlocking<T>({ locks }: DispatcherContext, reqid: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (bug) {
    await locks.release(reqid);
    throw bug;
  }
}

async function begin<T>(
  context: DispatcherContext,
  request: ScriptRequest,
  { mode, retryOf, work }: RunKind<T>,
  begun: Begun,
): Promise<Result<Attempt<T>, RunFailure>> {
  const { clock, events, locks, runStore } = context;
  const { reqid } = begun;
  const { script, caller = {}, idempotencyKey: key } = request;
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
      ...(retryOf !== undefined && { retryOf }),
      ...(key !== undefined && {
        idempotency: {
          key: ownKey(context, key, caller),
          callerDigest: callerDigest(context, reqid, caller),
        },
      }),
    }),
  );
  if (started.isErr() || !started.value) {
    const released = await locks.release(reqid);
    if (started.isErr()) return err(started.error);
    return released.map(() => 'taken' as const);
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
