import { errAsync, okAsync } from 'neverthrow';
import { failure } from '../../domain/errors.js';
import type { RunRecord } from '../../domain/run-record.js';
import type { RunStore } from '../../ports/run-store.js';

/** The runs, for as long as the process lives. */
export const memoryRunStore = (): RunStore => {
  const runs = new Map<string, RunRecord>();

  return {
    start: ({ reqid, script, hosts, username, startedAt }) => {
      if (runs.has(reqid)) {
        const message = `there is a run ${reqid} already`;
        return errAsync(failure('store_failed', message, { operation: 'run.start', reason: 'exists' }));
      }
      const record = { reqid, script, hosts, username, startedAt, completedAt: undefined, results: [] };
      runs.set(reqid, structuredClone(record));
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

    find: (reqid) => okAsync(structuredClone(runs.get(reqid))),

    purge: (startedBefore) => {
      const old = [...runs.values()].filter(({ startedAt }) => startedAt < startedBefore);
      for (const { reqid } of old) runs.delete(reqid);
      return okAsync(old.length);
    },
  };
};
