import { errAsync, okAsync } from 'neverthrow';
import { failure } from '../../domain/core/errors.js';
import { laterResult, laterState, type RunRecord } from '../../domain/runs/record.js';
import { summaryOf, verdictOf } from '../../domain/runs/summary.js';
import type { RunListing, RunStore } from '../../ports/run-store.js';

/** One entry a host, in the order of the hosts: what is kept, then what was learnt. */
const merged = <T extends { readonly host: string }>(
  hosts: readonly string[],
  kept: readonly T[],
  learnt: readonly T[] = [],
  later: (known: T | undefined, learnt: T) => T,
): readonly T[] =>
  hosts.flatMap((host) => {
    const known = kept.find((each) => each.host === host);
    const news = learnt.find((each) => each.host === host);
    if (news === undefined) return known === undefined ? [] : [known];
    return [later(known, news)];
  });

const summarised = (run: RunRecord) =>
  summaryOf(run, new Map([...run.results, ...run.states].map((entry) => [entry.host, verdictOf(entry)])));

const latestFirst = (a: Pick<RunRecord, 'startedAt' | 'reqid'>, b: typeof a): number =>
  b.startedAt - a.startedAt || (a.reqid < b.reqid ? 1 : a.reqid > b.reqid ? -1 : 0);

const listed = (run: ReturnType<typeof summarised>, listing: RunListing): boolean => {
  const { hosts, script, username, outcome, startedAfter, startedBefore, behind } = listing;
  return (
    (hosts?.some((host) => run.hosts.includes(host)) ?? true) &&
    (script ?? run.script) === run.script &&
    (username ?? run.username) === run.username &&
    (outcome ?? run.outcome) === run.outcome &&
    (startedAfter ?? run.startedAt) <= run.startedAt &&
    (startedBefore ?? Number.POSITIVE_INFINITY) > run.startedAt &&
    (behind === undefined || latestFirst(behind, run) < 0)
  );
};

/** The runs, for as long as the process lives. */
export const memoryRunStore = (): RunStore => {
  const runs = new Map<string, RunRecord>();
  const withKey = (key: string) => [...runs.values()].find((run) => run.idempotency?.key === key);

  return {
    start: (run) => {
      const { reqid, script, hosts, args, mode, username, sourceIp, startedAt, retryOf, idempotency } = run;
      if (runs.has(reqid)) {
        const message = `there is a run ${reqid} already`;
        return errAsync(failure('store_failed', message, { operation: 'run.start', reason: 'exists' }));
      }
      if (idempotency && withKey(idempotency.key)) return okAsync(false);
      const asked = { reqid, script, hosts, args, mode, username, sourceIp, startedAt };
      const optional = { ...(retryOf && { retryOf }), ...(idempotency && { idempotency }) };
      runs.set(
        reqid,
        structuredClone({ ...asked, ...optional, completedAt: undefined, results: [], states: [] }),
      );
      return okAsync(true);
    },

    complete: (reqid, results, completedAt) => {
      const run = runs.get(reqid);
      if (run === undefined) {
        return errAsync(failure('request_unknown', `there is no run ${reqid}`, { id: reqid }));
      }
      runs.set(reqid, structuredClone({ ...run, results, completedAt }));
      return okAsync(undefined);
    },

    note: (reqid, news) => {
      const run = runs.get(reqid);
      if (run === undefined) {
        return errAsync(failure('request_unknown', `there is no run ${reqid}`, { id: reqid }));
      }
      const { hosts, mode } = run;
      const results = mode === 'sync' ? merged(hosts, run.results, news.results, laterResult) : run.results;
      const states = mode === 'async' ? merged(hosts, run.states, news.states, laterState) : run.states;
      const completedAt = run.completedAt ?? news.completedAt;
      const submissions = run.submissions ?? (mode === 'async' ? news.submissions : undefined);
      const noted = { ...run, results, states, completedAt, ...(submissions && { submissions }) };
      runs.set(reqid, structuredClone(noted));
      return okAsync(undefined);
    },

    find: (reqid) => okAsync(structuredClone(runs.get(reqid))),

    findByIdempotencyKey: (key) => okAsync(structuredClone(withKey(key))),

    list: (listing) => {
      const found = [...runs.values()].map(summarised).filter((run) => listed(run, listing));
      return okAsync(structuredClone(found.sort(latestFirst).slice(0, listing.limit)));
    },

    purge: ({ endedBefore, startedBefore }) => {
      const old = [...runs.values()].filter(
        ({ startedAt, completedAt }) =>
          startedAt < startedBefore || (completedAt !== undefined && completedAt < endedBefore),
      );
      for (const { reqid } of old) runs.delete(reqid);
      return okAsync(old.length);
    },
  };
};
