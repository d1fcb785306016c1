import type { RecordAnswer } from '../protocol/agent-protocol.js';
import { type HostResult, type HostState, isSettled, type RunRecord } from './record.js';

/** Why the agent of a host could not be asked now; what is known stands as it was. */
interface Fetched {
  readonly fetchError?: string;
}

/** How a run stands, host by host, in the order of its hosts. */
export interface RunProgress {
  readonly record: RunRecord;
  /** Of an async run, one per host. */
  readonly states: readonly (HostState & Fetched)[];
  /** Of a sync run; a host that was not heard of and not asked has none. */
  readonly results: readonly (HostResult & Fetched)[];
  /** Hosts of which something may still be learnt. */
  readonly pending: readonly string[];
}

/** What an agent said of a run, or why it could not be asked. */
export type News = { readonly host: string } & (
  | { readonly said: RecordAnswer; readonly rtt: number }
  | { readonly fetchError: string }
);

/** What else decides about news. */
export interface Circumstances {
  /** A process that waits for the answers of the hosts lives. */
  readonly underWay: boolean;
  /** So much time has passed that agents are not expected to know the run any more. */
  readonly expired: boolean;
}

const awaited = 'its answer has not come yet';
const abandoned = 'the dispatcher was stopped before it had an answer';

const withoutDoubt = <T extends HostState | HostResult>({ unheard: _, ...known }: T) => known;

/** What is known without asking anybody. */
export function progressOf(record: RunRecord, { underWay }: Pick<Circumstances, 'underWay'>): RunProgress {
  const { hosts, mode, completedAt } = record;
  if (mode === 'async') {
    const error = underWay ? awaited : abandoned;
    const states = hosts.map(
      (host): HostState =>
        record.states.find((state) => state.host === host) ?? { host, status: 'error', error, unheard: true },
    );
    return { record, states, results: [], pending: pendingOf(states) };
  }
  const pending = hosts.filter((host) => {
    const result = record.results.find((each) => each.host === host);
    return result === undefined ? completedAt === undefined : result.unheard;
  });
  return { record, states: [], results: record.results, pending };
}

const pendingOf = (states: readonly HostState[]) =>
  states.filter((state) => !isSettled(state)).map(({ host }) => host);

/** With what was learnt of hosts that were pending. */
export function withNews(
  progress: RunProgress,
  news: readonly News[],
  circumstances: Circumstances,
): RunProgress {
  const { record, pending } = progress;
  const about = new Map(news.map((each) => [each.host, each]));
  if (record.mode === 'async') {
    const states = progress.states.map((state) => {
      const learnt = pending.includes(state.host) ? about.get(state.host) : undefined;
      return learnt ? stateAfter(state, learnt, circumstances) : state;
    });
    return { ...progress, states, pending: pendingOf(states) };
  }
  const results = record.hosts.flatMap((host) => {
    const before = progress.results.find((each) => each.host === host);
    const learnt = pending.includes(host) ? about.get(host) : undefined;
    const after = learnt ? resultAfter(record, before, learnt, circumstances) : before;
    return after ? [after] : [];
  });
  const heard = new Set(results.filter(({ unheard }) => !unheard).map(({ host }) => host));
  return { ...progress, results, pending: pending.filter((host) => !heard.has(host)) };
}

function stateAfter(
  before: RunProgress['states'][number],
  news: News,
  { underWay, expired }: Circumstances,
): RunProgress['states'][number] {
  const { host } = before;
  if ('fetchError' in news) {
    const { fetchError } = news;
    return expired ? { host, status: 'expired', fetchError } : { ...before, fetchError };
  }
  const { said } = news;
  if (said.status === 'running') return { host, status: 'running' };
  if ('answer' in said) return { host, status: said.status, ...said.answer };
  if (!before.unheard) return { host, status: 'expired' };
  return underWay ? before : withoutDoubt(before);
}

function resultAfter(
  { script, reqid }: RunRecord,
  before: RunProgress['results'][number] | undefined,
  news: News,
  { underWay, expired }: Circumstances,
): RunProgress['results'][number] | undefined {
  const { host } = news;
  const none = { host, script, reqid, exit: -1, stdout: '', stderr: '' };
  const doubtful: HostResult = before ?? {
    ...none,
    error: underWay ? awaited : abandoned,
    rtt: 0,
    unheard: true,
  };
  if ('fetchError' in news)
    return { ...(expired ? withoutDoubt(doubtful) : doubtful), fetchError: news.fetchError };
  const { said, rtt } = news;
  if (said.status === 'running') return before;
  if ('answer' in said) return { ...none, rtt, ...said.answer };
  return underWay ? before : withoutDoubt(doubtful);
}
