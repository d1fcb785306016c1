import { ok, type ResultAsync, safeTry } from 'neverthrow';
import { isEnd } from '../../../domain/runs/host-result.js';
import { exitOf } from '../../../domain/runs/host-words.js';
import {
  afterNews,
  type HostProgress,
  progressOf,
  type RunProgress,
  sameProgress,
  withNews,
} from '../../../domain/runs/progress.js';
import { hostsOf, type RunMode } from '../../../domain/runs/record.js';
import { parallel } from '../../core/parallel.js';
import type { DispatcherContext } from '../context.js';
import { type AskFailure, type Asking, plan } from '../fleet/ask.js';
import { askRecord } from './ask-record.js';
import { type Found, type LookupFailure, lookUp } from './lookup.js';
import { settling } from './settling.js';

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
  found: Found,
  asking: Asking,
  due: (host: string) => boolean = () => true,
): ResultAsync<RunProgress, StatusFailure> {
  const { clock } = context;
  const { record } = found;
  const before = progressOf(record, clock.now());
  const learnt = new Map<string, HostProgress>();
  return ask(context, found, before, before.pending.filter(due), asking, (host) => {
    learnt.set(host.host, host);
  }).map((recorded) => {
    const after = withNews(before, learnt);
    const ended = recorded && learnt.size > 0 && after.pending.length === 0 ? clock.now() : undefined;
    return { ...after, record: { ...record, completedAt: record.completedAt ?? ended } };
  });
}

/**
 * Asks about some pending hosts, and records what is new host by host; nothing of an answer is held after that.
 * @param tell is given each host as it stands then
 * @returns whether everything was recorded
 */
export function ask(
  context: DispatcherContext,
  { record, question }: Found,
  before: RunProgress,
  asked: readonly string[],
  asking: Asking,
  tell: (host: HostProgress) => void,
): ResultAsync<boolean, StatusFailure> {
  const { clock, events, settings } = context;
  const { reqid, script, underWay } = record;
  return safeTry<boolean, StatusFailure>(async function* () {
    if (asked.length === 0) return ok(true);
    const { hosts, identity } = yield* plan(context, question, asking, asked);
    const records = settling(context, reqid, asked.length);
    const claim = /* defence: only-the-left-is-claimed */ !underWay;
    const known = new Map(before.results.map((each) => [each.host, each]));
    await parallel(hosts, settings.maxParallel, async (addressed) => {
      const news = await askRecord(context, identity, addressed, { reqid, claim, signal: asking.signal });
      // By the names that the run has for its hosts: one may have been registered meanwhile.
      for (const host of asked.filter((each) => [each, each.toLowerCase()].includes(addressed.host))) {
        const last = known.get(host);
        if (!last) continue;
        const now = afterNews(last, news, record, clock.now());
        tell(now);
        const { fetchError: _, ...result } = now;
        if (sameProgress(last, result)) continue;
        const { state } = result;
        if (isEnd(result))
          events.emit({
            action: 'run-ended',
            level: state === 'succeeded' ? 'info' : 'warning',
            fields: { reqid, script, host, state, exit: exitOf(result) },
          });
        await records.add(result);
      }
    });
    return ok((await records.settled()).length === 0);
  });
}
