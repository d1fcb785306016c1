import { errAsync, okAsync } from 'neverthrow';
import { failure, type Lock } from '../../domain/core/errors.js';
import { notKnown } from '../../domain/runs/host-ends.js';
import {
  Bytes,
  type HostResult,
  knownFor,
  lastSign,
  later,
  mayBeLearnt,
} from '../../domain/runs/host-result.js';
import { asOf } from '../../domain/runs/progress.js';
import type { RunRecord } from '../../domain/runs/record.js';
import { type RunSummary, summaryOf } from '../../domain/runs/summary.js';
import type { RunListing, RunStore } from '../../ports/run-store.js';

interface KeptRun extends Omit<RunRecord, 'underWay'> {
  /** Who waits for its agents. */
  readonly session: object | undefined;
}

/** What several instances share, and who of them lives. */
export interface RunTable {
  readonly runs: Map<string, KeptRun>;
  readonly dead: WeakSet<object>;
}

export const runTable = (): RunTable => ({ runs: new Map(), dead: new WeakSet() });

const latestFirst = (a: Pick<RunRecord, 'startedAt' | 'reqid'>, b: typeof a): number =>
  b.startedAt - a.startedAt || (a.reqid < b.reqid ? 1 : a.reqid > b.reqid ? -1 : 0);

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const byHostThenScript = (a: Lock, b: Lock): number => compare(a.host, b.host) || compare(a.script, b.script);

const isLock = ({ begunAt, settledAt }: HostResult): boolean =>
  begunAt !== undefined && settledAt === undefined;

const lockOf = ({ host, script, reqid, begunAt }: HostResult): Lock => ({
  host,
  script,
  runId: reqid,
  since: new Date(begunAt ?? 0),
});

/** A copy whose bytes are still `Bytes`. */
const copied = (result: HostResult): HostResult => {
  const { stdoutBytes, stderrBytes } = result;
  return {
    ...structuredClone(result),
    ...(stdoutBytes && { stdoutBytes: new Bytes(stdoutBytes) }),
    ...(stderrBytes && { stderrBytes: new Bytes(stderrBytes) }),
  };
};

const listed = (
  run: RunSummary,
  states: readonly HostResult[],
  listing: Omit<RunListing, 'limit' | 'now'>,
): boolean => {
  const { hosts, script, username, state, open, startedAfter, startedBefore, behind } = listing;
  return (
    (hosts?.some((host) => run.hosts.includes(host)) ?? true) &&
    (script ?? run.script) === run.script &&
    (username ?? run.username) === run.username &&
    (state === undefined || states.some((each) => each.state === state)) &&
    (open === undefined || run.completedAt === undefined) &&
    (startedAfter ?? run.startedAt) <= run.startedAt &&
    (startedBefore ?? Number.POSITIVE_INFINITY) > run.startedAt &&
    (behind === undefined || latestFirst(behind, run) < 0)
  );
};

/** The runs, for as long as the process lives. Each instance over a table is a session of its own; `die` ends it. */
export const memoryRunStore = (table: RunTable = runTable()): RunStore & { die(): void } => {
  const { runs, dead } = table;
  const session = {};
  const waits = ({ session: of }: KeptRun) => of !== undefined && !dead.has(of);
  const recordOf = (run: KeptRun | undefined): RunRecord | undefined => {
    if (run === undefined) return undefined;
    const { session: _, ...record } = run;
    const results = run.results.map(copied);
    return { ...structuredClone(record), results, underWay: waits(run) };
  };
  const withKey = (key: string) => [...runs.values()].find((run) => run.idempotency?.key === key);

  const locked = (now: number) =>
    [...runs.values()].flatMap((run) =>
      run.results.filter((host) => isLock(host) && (waits(run) || now - lastSign(host) <= knownFor)),
    );

  const write = (run: KeptRun, results: readonly HostResult[], now: number) => {
    const ended = !results.some(mayBeLearnt);
    const completedAt = run.completedAt ?? (ended ? now : undefined);
    runs.set(run.reqid, { ...run, results: results.map(copied), completedAt });
  };

  /** Settles locks as they stand. */
  const settleAs = (wanted: (host: HostResult) => boolean, reason: string, now: number) => {
    const failed = failure('aborted', reason, {});
    for (const run of [...runs.values()]) {
      const results = run.results.map((host) => {
        if (!isLock(host) || !wanted(host)) return host;
        return { ...host, ...(host.state === 'running' && notKnown(failed)), settledAt: now };
      });
      if (results.some((result, index) => result !== run.results[index])) write(run, results, now);
    }
  };

  return {
    begin: (run, now) => {
      const { reqid, script, hosts, args, mode, idempotency, retryOf } = run;
      const { principal, username, sourceIp, startedAt } = run;
      const known = recordOf(runs.get(run.reqid) ?? (idempotency && withKey(idempotency.key)));
      if (known) return okAsync({ kind: 'repeated', run: known });
      const held = locked(now);
      const wanted = new Map(hosts.map((each) => [each.host, each]));
      const conflicts = [...wanted.values()].flatMap(({ host, concurrency = 1 }) => {
        const ofHost = held.filter((lock) => lock.host === host && lock.script === run.script);
        return ofHost.length >= concurrency ? ofHost.map(lockOf) : [];
      });
      if (conflicts.length > 0)
        return okAsync({ kind: 'locked', conflicts: conflicts.sort(byHostThenScript) });
      settleAs(
        ({ host, script }) =>
          script === run.script && wanted.has(host) && !held.some((each) => each.host === host),
        'nothing was heard of it for 24 h',
        now,
      );
      const base = {
        script,
        reqid,
        state: 'running',
        begunAt: now,
        exit: -1,
        stdout: '',
        stderr: '',
      } as const;
      const results = [...wanted.keys()].map((host): HostResult => ({ ...base, host, rtt: 0 }));
      const optional = { ...(retryOf && { retryOf }), ...(idempotency && { idempotency }) };
      const asked = { reqid, script, args, mode, principal, username, sourceIp, startedAt };
      const kept = { ...asked, ...optional, completedAt: undefined };
      runs.set(reqid, { ...structuredClone(kept), results, session });
      return okAsync({ kind: 'begun' });
    },

    settle: (reqid, hosts, now, left) => {
      const run = runs.get(reqid);
      if (run === undefined)
        return errAsync(failure('run_unknown', `there is no run ${reqid}`, { id: reqid }));
      const news = new Map(hosts.map((each) => [each.host, each]));
      const results = run.results.map((known) => {
        const learnt = news.get(known.host);
        return learnt ? later(known, learnt) : known;
      });
      write({ ...run, session: left ? undefined : run.session }, results, now);
      return okAsync(undefined);
    },

    locks: (now) => okAsync(locked(now).map(lockOf).sort(byHostThenScript)),

    release: (host, script, now) => {
      const wanted = (lock: HostResult) => lock.host === host && (script ?? lock.script) === lock.script;
      const freed = [...runs.values()].flatMap(({ results }) =>
        results.filter((each) => isLock(each) && wanted(each)).map(lockOf),
      );
      settleAs(wanted, 'its lock was released: nobody waits for it any more', now);
      return okAsync(freed.sort(byHostThenScript));
    },

    find: (reqid) => okAsync(recordOf(runs.get(reqid))),

    idsWith: (prefix) =>
      okAsync(
        [...runs.keys()]
          .filter((reqid) => reqid.startsWith(prefix))
          .sort()
          .slice(0, 10),
      ),

    findByIdempotencyKey: (key) => okAsync(recordOf(withKey(key))),

    list: ({ limit, now, ...listing }) => {
      const found = [...runs.values()].flatMap((run) => {
        const states = run.results.map((result) => asOf(result, { underWay: waits(run) }, now));
        const summary = summaryOf(run, states);
        return listed(summary, states, listing) ? [summary] : [];
      });
      return okAsync(structuredClone(found.sort(latestFirst).slice(0, limit)));
    },

    purge: ({ endedBefore, startedBefore, silentBefore }) => {
      const old = [...runs.values()].filter(
        (run) =>
          !waits(run) &&
          !run.results.some((host) => isLock(host) && lastSign(host) >= silentBefore) &&
          (run.startedAt < startedBefore || (run.completedAt !== undefined && run.completedAt < endedBefore)),
      );
      for (const { reqid } of old) runs.delete(reqid);
      return okAsync(old.length);
    },

    die: () => {
      dead.add(session);
    },
  };
};
