import { ok, type ResultAsync, safeTry } from 'neverthrow';
import { type HostResult, isEnd } from '../../../domain/runs/host-result.js';
import { exitOf } from '../../../domain/runs/host-words.js';
import {
  type HostProgress,
  type News,
  progressOf,
  type RunProgress,
  withNews,
} from '../../../domain/runs/progress.js';
import { hostsOf, type RunMode } from '../../../domain/runs/record.js';
import { parallel } from '../../core/parallel.js';
import type { DispatcherContext } from '../context.js';
import { type AskFailure, type Asking, prepareAgain } from '../fleet/ask.js';
import { recordFailed } from '../fleet/contact.js';
import { askRecord } from './ask-record.js';
import { type Found, type LookupFailure, lookUp } from './lookup.js';

export type StatusFailure = AskFailure | LookupFailure;

/** How a run stands. */
export interface RunStatus {
  readonly reqid: string;
  readonly script: string;
  readonly mode: RunMode;
  /** One each, in the order of the request. */
  readonly hosts: readonly string[];
  /** Nothing more is to be learnt of any host. */
  readonly complete: boolean;
  /** Epoch milliseconds of that, as far as it is recorded. */
  readonly completedAt: number | undefined;
  /** Hosts of which something may still be learnt: it runs there, or its agent could not be asked. */
  readonly pending: readonly string[];
  /** One per host, in the order of the request; `fetchError`: why its agent could not be asked now. */
  readonly results: readonly HostProgress[];
}

/**
 * How a run stands: what is recorded, and what agents say of hosts whose end is not known; that is recorded, so that
 * nobody is asked twice. A host that cannot be asked is reported inline. `run_unknown`: there is no record.
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

export const statusOf = ({ record, results, pending }: RunProgress): RunStatus => {
  const { reqid, script, mode, completedAt } = record;
  const complete = pending.length === 0;
  return { reqid, script, mode, hosts: hostsOf(record), complete, completedAt, pending, results };
};

/**
 * Asks the agents of hosts whose end is not known, and keeps what they say; what the store cannot take is logged. Where nobody waits
 * for the run any more, to be asked is to be told that it does not begin now.
 * @param due whose agents are asked now. Default: all that are pending
 */
export function look(
  context: DispatcherContext,
  { record, question }: Found,
  asking: Asking,
  due: (host: string) => boolean = () => true,
): ResultAsync<RunProgress, StatusFailure> {
  const { clock, settings } = context;
  return safeTry<RunProgress, StatusFailure>(async function* () {
    const before = progressOf(record, clock.now());
    const asked = before.pending.filter(due);
    if (asked.length === 0) return ok(before);
    const { hosts, identity } = yield* prepareAgain(context, question, asked, asking);
    const { reqid, underWay } = record;
    const questioned = {
      reqid,
      claim: /* defence: only-the-left-is-claimed */ !underWay,
      signal: asking.signal,
    };
    const news = await parallel(hosts, settings.maxParallel, (addressed) =>
      askRecord(context, identity, addressed, questioned),
    );
    const after = withNews(before, named(asked, news), clock.now());
    return ok(await kept(context, before, after));
  });
}

/** By the names that the run has for its hosts: one may have been registered meanwhile. */
const named = (hosts: readonly string[], news: readonly News[]): readonly News[] =>
  hosts.flatMap((host) => {
    const found = news.find((each) => each.host === host || each.host === host.toLowerCase());
    return found ? [{ ...found, host }] : [];
  });

/** Records what is new. */
async function kept(
  context: DispatcherContext,
  before: RunProgress,
  after: RunProgress,
): Promise<RunProgress> {
  const { clock, events, runStore } = context;
  const { reqid, script, completedAt } = after.record;
  const news = after.results.flatMap(({ fetchError: _, ...result }, index): HostResult[] => {
    const known = before.results[index];
    const same =
      known?.state === result.state && known.settledAt === result.settledAt && known.seenAt === result.seenAt;
    return same ? [] : [result];
  });
  for (const result of news.filter(isEnd)) {
    const { host, state } = result;
    events.emit({
      action: 'run-ended',
      level: state === 'succeeded' ? 'info' : 'warning',
      fields: { reqid, script, host, state, exit: exitOf(result) },
    });
  }
  if (news.length === 0) return after;
  const now = clock.now();
  const noted = await runStore.settle(reqid, news, now);
  if (noted.isErr()) {
    recordFailed(context, noted.error.message, reqid);
    return after;
  }
  const ended = after.pending.length === 0 ? now : undefined;
  return { ...after, record: { ...after.record, completedAt: completedAt ?? ended } };
}
