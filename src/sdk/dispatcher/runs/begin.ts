import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure, type Lock } from '../../../domain/core/errors.js';
import type { HostResult } from '../../../domain/runs/host-result.js';
import type { RunMode } from '../../../domain/runs/record.js';
import { can } from '../../../domain/trust/abilities.js';
import type { RunStart } from '../../../ports/run-store.js';
import { parallel } from '../../core/parallel.js';
import type { DispatcherContext } from '../context.js';
import { abilitiesIn, askAbilities, concurrencyOf } from '../fleet/abilities.js';
import type { AskFailure, Plan } from '../fleet/ask.js';
import { freshReqid } from '../trust/ask.js';
import type { Addressed } from '../trust/destination.js';
import { questionAbout } from './lookup.js';
import { idempotencyOf, type RepeatFailure, repeated, sameRequest } from './repeat.js';
import type { ScriptRequest } from './request.js';
import { purgeRuns } from './retention.js';
import { type Records, settling } from './settling.js';
import { look } from './status.js';

export type RunFailure = AskFailure | RepeatFailure | CtrlExecError<'locked'>;

export interface Order {
  readonly mode: RunMode;
  /** The run whose failed hosts it is for. */
  readonly retryOf: string | undefined;
}

/** A run that is recorded, and whose locks are taken; or what another call has begun by the same idempotency key has come to. */
type Begun =
  | (Plan & {
      readonly kind: 'begun';
      readonly reqid: string;
      /** Epoch milliseconds. */
      readonly begunAt: number;
      readonly records: Records;
    })
  | { readonly kind: 'repeated'; readonly reqid: string; readonly results: readonly HostResult[] };

/**
 * Begins a run: its record and the locks of all hosts, or nothing. What was begun by the same idempotency key is not begun again.
 * @param tell is given its id, before any host is contacted
 */
export function begin(
  context: DispatcherContext,
  request: ScriptRequest,
  order: Order,
  plan: Plan,
  tell: (reqid: string) => void,
): ResultAsync<Begun, RunFailure> {
  const { clock, events, runStore } = context;
  const { script, caller } = request;
  const username = caller?.username || undefined;
  return safeTry<Begun, RunFailure>(async function* () {
    const reqid = freshReqid(context);
    yield* purgeRuns(context);
    let { hosts } = plan;
    let begunAt = clock.now();
    const attempt = () =>
      runStore.begin(startOf(context, request, order, { ...plan, hosts }, reqid), begunAt);
    let outcome = yield* attempt();
    if (outcome.kind === 'locked') {
      hosts = yield* clearTheWay(context, plan, outcome.conflicts, request);
      begunAt = clock.now();
      outcome = yield* attempt();
    }
    if (outcome.kind === 'locked') return err(locked(outcome.conflicts));
    if (outcome.kind === 'repeated') {
      const first = outcome.run;
      const mismatch = sameRequest(context, first, request, order, plan);
      if (mismatch) return err(mismatch);
      events.emit({ action: 'repeat', fields: { reqid: first.reqid, script: first.script, username } });
      tell(first.reqid);
      const results = yield* repeated(context, first, request, order.mode);
      return ok<Begun>({ kind: 'repeated', reqid: first.reqid, results });
    }
    const fields = { reqid, script, hosts: hosts.map(({ host }) => host).join(','), username };
    if (order.mode === 'sync') events.emit({ action: 'run', fields });
    else events.emit({ action: 'submit', fields });
    tell(reqid);
    const records = settling(context, reqid, hosts.length);
    return ok<Begun>({ kind: 'begun', ...plan, hosts, reqid, begunAt, records });
  });
}

function locked(conflicts: readonly Lock[]): CtrlExecError<'locked'> {
  const named = [...new Set(conflicts.map(({ host, script }) => `${host}:${script}`))].join(', ');
  return failure('locked', `already running: ${named}`, { conflicts });
}

function startOf(
  context: DispatcherContext,
  request: ScriptRequest,
  { mode, retryOf }: Order,
  plan: Plan,
  reqid: string,
): RunStart {
  const { script, args, caller = {} } = request;
  const idempotency = idempotencyOf(context, reqid, request, plan);
  return {
    reqid,
    script,
    hosts: plan.hosts.map((addressed) => {
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

/** Hosts that are asked before a run is refused for their locks; of more, somebody has to ask. */
const mostAsked = 64;

/**
 * Looks whether locks that are in the way still have a reason: runs for whose agents nobody waits are asked about, and agents
 * that allow several runs of a script at a time say how many. Gives the hosts as they are known then.
 */
function clearTheWay(
  context: DispatcherContext,
  { hosts, identity }: Plan,
  conflicts: readonly Lock[],
  { port, signal }: Pick<ScriptRequest, 'port' | 'signal'>,
): ResultAsync<readonly Addressed[], CtrlExecError<'store_failed'>> {
  const { runStore, settings } = context;
  const how = { ...(port !== undefined && { port }), ...(signal && { signal }) };
  return safeTry<readonly Addressed[], CtrlExecError<'store_failed'>>(async function* () {
    const inTheWay = new Set(conflicts.map(({ host }) => host));
    if (inTheWay.size > mostAsked) return ok(hosts);
    for (const runId of new Set(conflicts.map((lock) => lock.runId))) {
      const record = yield* runStore.find(runId);
      if (!record || record.underWay) continue;
      const found = { record, question: questionAbout(record, 'status') };
      // An agent that cannot be asked leaves its lock as it is.
      await look(context, found, how, (host) => inTheWay.has(host));
    }
    const latest = async (each: Addressed): Promise<Addressed> => {
      const { host, record } = each;
      if (!record || !inTheWay.has(host) || !can(record.standing, 'frequent-requests')) return each;
      const told = await askAbilities(context, identity, each, { answerTimeout: 10_000, signal });
      if (told.isErr()) return each;
      return {
        ...each,
        record: { ...record, standing: { ...record.standing, ...abilitiesIn(told.value.answer) } },
      };
    };
    return ok(await parallel(hosts, settings.maxParallel, latest));
  });
}
