import { errAsync, okAsync } from 'neverthrow';
import { failure } from '../../domain/errors.js';
import { laterResult, laterState, type RunRecord } from '../../domain/run-record.js';
import type { RunStore } from '../../ports/run-store.js';

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

/** The runs, for as long as the process lives. */
export const memoryRunStore = (): RunStore => {
  const runs = new Map<string, RunRecord>();

  return {
    start: ({ reqid, script, hosts, mode, username, sourceIp, startedAt }) => {
      if (runs.has(reqid)) {
        const message = `there is a run ${reqid} already`;
        return errAsync(failure('store_failed', message, { operation: 'run.start', reason: 'exists' }));
      }
      const asked = { reqid, script, hosts, mode, username, sourceIp, startedAt };
      runs.set(reqid, structuredClone({ ...asked, completedAt: undefined, results: [], states: [] }));
      return okAsync(undefined);
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
      runs.set(reqid, structuredClone({ ...run, results, states, completedAt }));
      return okAsync(undefined);
    },

    find: (reqid) => okAsync(structuredClone(runs.get(reqid))),

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
