import { type CtrlExecError, failure } from '../core/errors.js';
import type { RunRecord as AgentRecord } from '../protocol/run-messages.js';
import { cancelledEnd, endOf, goesOn, type HostEnd, hostError, lostEnd, notKnown } from './host-ends.js';
import {
  type HostResult,
  isEnd,
  knownFor,
  lastSign,
  mayBeLearnt,
  mayHaveRun,
  noOutput,
  silentAfter,
} from './host-result.js';
import type { RunRecord } from './record.js';

/** How a host stands. `fetchError`: why its agent could not be asked now. */
export type HostProgress = HostResult & { readonly fetchError?: string };

/** How a run stands, host by host, in the order of its hosts. */
export interface RunProgress {
  readonly record: RunRecord;
  readonly results: readonly HostProgress[];
  /** Hosts of which something may still be learnt. */
  readonly pending: readonly string[];
}

/** What an agent says of a run. `unknown`: it has no record of it. */
export type Said =
  | Pick<AgentRecord, 'status' | 'result'>
  | { readonly status: 'unknown' }
  /** It did not know the run, and never begins it from now on. */
  | { readonly status: 'void'; readonly completeSince: number };

/** What an agent said, or why it could not be asked. */
export type News = { readonly said: Said; readonly rtt: number } | { readonly error: CtrlExecError };

const notAnswered = (reason: string): CtrlExecError =>
  failure('connection_failed', reason, { host: '', reason });

/** A host as it is to be shown now: an agent that has said nothing for too long is silent. */
export function asOf(result: HostResult, { underWay }: Pick<RunRecord, 'underWay'>, now: number): HostResult {
  const since = lastSign(result);
  if (result.state !== 'running' || underWay || now - since <= silentAfter) return result;
  const minutes = Math.floor((now - since) / 60_000);
  const silent = failure('silent', `nothing was heard of it for ${minutes} min`, { since: new Date(since) });
  return { ...result, ...notKnown(silent) };
}

/** What is known without asking anybody. */
export function progressOf(record: RunRecord, now: number): RunProgress {
  const results = record.results.map((result) => asOf(result, record, now));
  return { record, results, pending: pendingOf(results) };
}

const pendingOf = (results: readonly HostResult[]): readonly string[] =>
  results.filter(mayBeLearnt).map(({ host }) => host);

/** With what was learnt of some hosts. */
export function withNews(progress: RunProgress, learnt: ReadonlyMap<string, HostProgress>): RunProgress {
  const results = progress.results.map((result) => learnt.get(result.host) ?? result);
  return { ...progress, results, pending: pendingOf(results) };
}

/** Whether the store knows as much already. */
export const sameProgress = (a: HostResult, b: HostResult): boolean =>
  a.state === b.state && a.settledAt === b.settledAt && a.seenAt === b.seenAt;

/**
 * Milliseconds by which an agent's records of ids must reach back behind the beginning of a run before `void` proves anything: so
 * much may the clocks differ.
 */
const clockMargin = 60_000;

/** Its agent has more to say than is taken of it: it is not asked again before somebody wants to know. */
export const isTooMuch = ({ failure: why }: Pick<HostResult, 'failure'>): boolean =>
  why?.code === 'too_large';

/** A host after its agent was asked, or could not be. */
export function afterNews(
  before: HostResult,
  news: News,
  { underWay }: Pick<RunRecord, 'underWay'>,
  now: number,
): HostProgress {
  if ('error' in news) {
    const { error } = news;
    const fetchError = hostError(error);
    // Nobody waits for it, and its agent has never said that it runs.
    const doubtful = !underWay && before.state === 'running' && before.seenAt === undefined;
    const text = 'the dispatcher was stopped before it had an answer';
    const after = isTooMuch({ failure: error })
      ? { ...before, ...notKnown(error) }
      : doubtful
        ? { ...before, ...notKnown(notAnswered(fetchError), text) }
        : before;
    const tooLate = !underWay && now - lastSign(before) > knownFor;
    return { ...after, ...(tooLate && { settledAt: now }), fetchError };
  }
  const { said, rtt } = news;
  const { error: _, failure: __, ...known } = before;
  const after = (end: HostEnd): HostResult => ({
    ...known,
    ...end,
    rtt,
    seenAt: now,
    ...(isEnd(end) && { settledAt: now }),
  });
  switch (said.status) {
    case 'running':
      return after(goesOn());
    case 'void': {
      const { begunAt, seenAt } = before;
      const proved =
        seenAt === undefined &&
        begunAt !== undefined &&
        /* defence: void-proves-nothing-by-itself */ said.completeSince <= begunAt - clockMargin;
      return { ...known, ...(proved ? neverCame(before) : forgotten()), settledAt: now };
    }
    case 'unknown':
      return underWay ? before : { ...known, ...forgotten() };
    default:
      return after(endIn(said, before.script));
  }
}

/** How a run ended by its agent's record; without a result its agent has broken its word. */
function endIn({ status, result }: Pick<AgentRecord, 'status' | 'result'>, script: string): HostEnd {
  if (!result) return goesOn();
  if (status === 'cancelled') return cancelledEnd(result);
  return status === 'lost' ? lostEnd(result) : endOf(result, script);
}

/** Proved not begun, and never to begin. */
function neverCame({ error, failure: why }: HostResult): HostEnd {
  const unreachable = why?.code === 'timed_out' || why?.code === 'connection_failed';
  const reason = 'the request did not reach the agent in time, and is not accepted any more';
  return {
    state: 'unreachable',
    ...noOutput,
    error: error ?? reason,
    failure: unreachable ? why : notAnswered(reason),
  };
}

const forgotten = (): HostEnd =>
  notKnown(failure('forgotten', 'its agent has no record of it: nobody can say whether it has run', {}));

/** Whether the end there is not known because its agent could not be asked, or keeps no record that could be. */
export const isUnlearnt = ({ fetchError, state, failure }: HostProgress): boolean =>
  fetchError !== undefined || (state === 'unknown' && failure?.code === 'forgotten');

/** Whether a person is to be told that it may go on there. */
export const mayGoOn = (result: HostResult): boolean => mayHaveRun(result) && !isEnd(result);
