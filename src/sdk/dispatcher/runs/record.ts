import { err, ok, type Result, ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure, type Lock } from '../../../domain/core/errors.js';
import type { RunMode, RunRecord } from '../../../domain/runs/record.js';
import type { RunBegin, RunStart } from '../../../ports/run-store.js';
import { guarded } from '../../core/callback.js';
import type { DispatcherContext } from '../context.js';
import { concurrencyOf } from '../fleet/abilities.js';
import { type AskFailure, type Prepared, prepare } from '../fleet/ask.js';
import { recordFailed } from '../fleet/contact.js';
import { freshReqid } from '../trust/agent-request.js';
import { clearTheWay } from './clear-the-way.js';
import { idempotencyOf, type RepeatFailure, sameRequest } from './repeat.js';
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
   * Settles what it learns, and says when nobody waits any more. Gives what it has, and what could not be recorded of it.
   */
  readonly work: (begun: Begun) => Promise<{ readonly outcome: T; readonly unrecorded: readonly string[] }>;
}

/** A run that is recorded, and whose locks are taken. */
interface Begun extends Prepared {
  readonly reqid: string;
  /** Epoch milliseconds. */
  readonly begunAt: number;
}

interface Outcome<T> {
  readonly outcome: T;
  readonly warnings: readonly string[];
}

/**
 * Asks the hook, and begins the run: its record and the locks of all hosts, or nothing. `work` settles its hosts. Once the scripts
 * were sent, nothing takes their results away: what the store cannot take is logged. What was begun by the same idempotency
 * key is not begun again.
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
    .andThen((prepared) => begun(context, request, kind, prepared));
}

function begun<T>(
  context: DispatcherContext,
  request: ScriptRequest,
  kind: RunKind<T>,
  prepared: Prepared,
): ResultAsync<Outcome<T>, RunFailure> {
  const { clock, runStore } = context;
  return safeTry<Outcome<T>, RunFailure>(async function* () {
    const reqid = freshReqid(context);
    yield* purgeRuns(context);
    let begunAt = 0;
    const begin = (hosts: Prepared['hosts']) => {
      begunAt = clock.now();
      return runStore.begin(startOf(context, request, kind, { ...prepared, hosts }, reqid), begunAt);
    };
    let outcome: RunBegin = yield* begin(prepared.hosts);
    if (outcome.kind === 'locked') {
      const hosts = yield* clearTheWay(context, prepared, outcome.conflicts, request);
      outcome = yield* begin(hosts);
    }
    switch (outcome.kind) {
      case 'locked':
        return err(locked(outcome.conflicts));
      case 'repeated':
        return repetition(context, request, kind, prepared, outcome.run);
      case 'begun':
        return new ResultAsync(carryOut(context, request, kind, { ...prepared, reqid, begunAt }));
    }
  });
}

function locked(conflicts: readonly Lock[]): CtrlExecError<'locked'> {
  const named = [...new Set(conflicts.map(({ host, script }) => `${host}:${script}`))].join(', ');
  return failure('locked', `already running: ${named}`, { conflicts });
}

function startOf(
  context: DispatcherContext,
  request: ScriptRequest,
  { mode, retryOf }: RunKind,
  prepared: Prepared,
  reqid: string,
): RunStart {
  const { script, args, caller = {} } = request;
  const idempotency = idempotencyOf(context, reqid, request, prepared);
  return {
    reqid,
    script,
    hosts: prepared.hosts.map((addressed) => {
      const concurrency = concurrencyOf(addressed, script);
      return { host: addressed.host, ...(concurrency !== undefined && { concurrency }) };
    }),
    args: args ?? [],
    mode,
    principal: context.principal,
    username: caller.username ?? '',
    sourceIp: caller.sourceIp ?? '127.0.0.1',
    startedAt: context.clock.now(),
    ...(retryOf !== undefined && { retryOf }),
    ...(idempotency && { idempotency }),
  };
}

function repetition<T>(
  context: DispatcherContext,
  request: ScriptRequest,
  kind: RunKind<T>,
  prepared: Prepared,
  first: RunRecord,
): ResultAsync<Outcome<T>, RunFailure> | Result<Outcome<T>, RunFailure> {
  const mismatch = sameRequest(context, first, request, kind, prepared);
  if (mismatch) return err(mismatch);
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

/** A port that throws is a bug, and is thrown on; nobody waits for the run then, and whoever asks next settles it. */
async function carryOut<T>(
  context: DispatcherContext,
  request: ScriptRequest,
  { mode, work }: RunKind<T>,
  begun: Begun,
): Promise<Result<Outcome<T>, RunFailure>> {
  const { clock, events, runStore } = context;
  const { reqid, hosts } = begun;
  const { script, caller } = request;
  const named = hosts.map(({ host }) => host).join(',');
  const fields = { reqid, script, hosts: named, username: caller?.username || undefined };
  if (mode === 'sync') events.emit({ action: 'run', fields });
  else events.emit({ action: 'submit', fields });
  const callback = guarded(request.onBegin);
  callback.tell(reqid);
  try {
    const { outcome, unrecorded } = await work(begun);
    for (const warning of unrecorded) recordFailed(context, warning, reqid);
    callback.rethrow();
    return ok({ outcome, warnings: unrecorded });
  } catch (bug) {
    await runStore.settle(reqid, [], clock.now(), 'left');
    throw bug;
  }
}
