import { ok, type ResultAsync, safeTry } from 'neverthrow';
import { maxRunAnswer, readRecordAnswer } from '../../../domain/protocol/agent-protocol.js';
import { type News, progressOf, type RunProgress, withNews } from '../../../domain/runs/progress.js';
import type { HostResult, HostState, RunMode } from '../../../domain/runs/record.js';
import { parallel } from '../../core/parallel.js';
import type { DispatcherContext } from '../context.js';
import { type AskFailure, type Asking, hostError, type Prepared, prepareAgain } from '../fleet/ask.js';
import { exchange, recordFailed } from '../fleet/contact.js';
import { type Found, type LookupFailure, lookUp } from './lookup.js';
import { knownFor } from './retention.js';

export type StatusFailure = AskFailure | LookupFailure;

/** How a run stands. */
export interface RunStatus {
  readonly reqid: string;
  readonly script: string;
  readonly mode: RunMode;
  /** One each, in the order of the request. */
  readonly hosts: readonly string[];
  /** Sync: the dispatcher has waited for its answers to the end. Async: nothing more is to be learnt of any host. */
  readonly complete: boolean;
  /** Epoch milliseconds of that, as far as it is recorded. */
  readonly completedAt: number | undefined;
  /** Hosts of which something may still be learnt: it runs there, or its agent could not be asked. */
  readonly pending: readonly string[];
  /** Of a sync run, as far as there are any; `fetchError`: why its agent could not be asked about an end that was not heard. */
  readonly results: readonly (HostResult & { readonly fetchError?: string })[];
  /** Of an async run; `fetchError`: why its agent could not be asked now. */
  readonly states: readonly (HostState & { readonly fetchError?: string })[];
}

/**
 * How a run stands: what is recorded, and what agents say of hosts whose end is not known; that is recorded, so that
 * nobody is asked twice. A host that cannot be asked is reported inline. `request_unknown`: there is no record.
 */
export function status(
  context: DispatcherContext,
  reqid: string,
  asking: Asking = {},
): ResultAsync<RunStatus, StatusFailure> {
  return lookUp(context, 'status', reqid, asking)
    .mapErr((error): StatusFailure => error)
    .andThen((found) => look(context, found, asking))
    .map(statusOf);
}

export const statusOf = ({ record, states, results, pending }: RunProgress): RunStatus => {
  const { reqid, script, mode, hosts, completedAt } = record;
  const complete = mode === 'sync' && completedAt !== undefined ? true : pending.length === 0;
  return { reqid, script, mode, hosts, complete, completedAt, pending, results, states };
};

/**
 * Asks the agents of hosts whose end is not known, and keeps what they say; what the store cannot take is logged.
 * @param due whose agents are asked now. Default: all that are pending
 */
export function look(
  context: DispatcherContext,
  { record, question }: Found,
  asking: Asking,
  due: (host: string) => boolean = () => true,
): ResultAsync<RunProgress, StatusFailure> {
  const { clock, locks, settings } = context;
  return safeTry<RunProgress, StatusFailure>(async function* () {
    // Before the agents are asked: a run that ends meanwhile is not taken for one that nobody waits for.
    const underWay = (yield* locks.list()).some(({ reqid }) => reqid === record.reqid);
    const before = progressOf(record, { underWay });
    const asked = before.pending.filter(due);
    if (asked.length === 0) return ok(before);
    const prepared = yield* prepareAgain(context, question, asked, asking);
    const news = await parallel(prepared.hosts, settings.maxParallel, (addressed) =>
      askRecord(context, prepared, addressed, record.reqid, asking),
    );
    const expired = clock.now() - record.startedAt > knownFor && !underWay;
    const after = withNews(before, named(asked, news), { underWay, expired });
    return ok(await kept(context, before, after));
  });
}

/** By the names that the run has for its hosts: one may have been registered meanwhile. */
const named = (hosts: readonly string[], news: readonly News[]): readonly News[] =>
  hosts.flatMap((host) => {
    const found = news.find((each) => each.host === host || each.host === host.toLowerCase());
    return found ? [{ ...found, host }] : [];
  });

function askRecord(
  context: DispatcherContext,
  { identity }: Prepared,
  addressed: Prepared['hosts'][number],
  reqid: string,
  { signal }: Asking,
): Promise<News> {
  const { host } = addressed;
  return exchange(context, identity, addressed, {
    method: 'GET',
    path: `/result/${reqid}`,
    answerTimeout: context.settings.readTimeout * 1000,
    maxAnswer: maxRunAnswer,
    signal,
  })
    .andThen(({ answer, rtt }) =>
      readRecordAnswer(answer.status, answer.body, reqid).map((said) => ({ host, said, rtt })),
    )
    .match(
      (heard): News => heard,
      (error): News => ({ host, fetchError: hostError(error) }),
    );
}

/** Records what is new; what was not heard of an agent itself is not recorded. */
async function kept(
  context: DispatcherContext,
  before: RunProgress,
  after: RunProgress,
): Promise<RunProgress> {
  const { clock, events, runStore } = context;
  const { reqid, script, completedAt } = after.record;
  const states = after.states.filter((state) => !state.fetchError && !before.states.includes(state));
  const results = after.results.filter((result) => !result.fetchError && !before.results.includes(result));
  const certain = [...after.states, ...after.results].every(({ fetchError }) => fetchError === undefined);
  const ended = after.pending.length === 0 && certain && completedAt === undefined ? clock.now() : undefined;
  for (const { host, exit, status } of [
    ...states.filter(({ host }) => !after.pending.includes(host)),
    ...results.map((result) => ({ ...result, status: 'done' })),
  ])
    events.emit({
      action: 'run-ended',
      level: exit === 0 ? 'info' : 'warning',
      fields: { reqid, script, host, status, exit },
    });
  if (states.length === 0 && results.length === 0 && ended === undefined) return after;
  const news = { states, results, ...(ended !== undefined && { completedAt: ended }) };
  const noted = await runStore.note(reqid, news);
  if (noted.isErr()) {
    recordFailed(context, noted.error.message, reqid);
    return after;
  }
  return { ...after, record: { ...after.record, completedAt: completedAt ?? ended } };
}
