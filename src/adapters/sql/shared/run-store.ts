import { sql } from 'kysely';
import { err, ok, type Result, safeTry } from 'neverthrow';
import { failure, type Lock } from '../../../domain/core/errors.js';
import { knownFor, lastSign, later } from '../../../domain/runs/host-result.js';
import type { RunMode, RunRecord } from '../../../domain/runs/record.js';
import type { HostStart, RunBegin, RunStart, RunStore } from '../../../ports/run-store.js';
import {
  columnsOf,
  endRun,
  hostResultOf,
  hostsOfRun,
  lockOf,
  lockRows,
  settledAs,
  writeHost,
} from './run-hosts.js';
import { listRuns, liveSessions } from './run-list.js';
import type { Sessions } from './sessions.js';
import { integer, listOf, oneOf, orNull, shape, text } from './shape.js';
import type { Database, StoreFailed, Transaction } from './transaction.js';

interface RunRow {
  readonly reqid: string;
  readonly script: string;
  readonly username: string;
  readonly principal: string | null;
  readonly session: string | null;
  readonly started_at: number;
  readonly completed_at: number | null;
  readonly mode: RunMode;
  readonly source_ip: string;
  readonly args: readonly string[] | null;
  readonly retry_of: string | null;
  readonly idempotency_key: string | null;
  readonly caller_digest: string | null;
  readonly token_mac: string | null;
}

const isRunRow = shape<RunRow>(
  {
    reqid: text,
    script: text,
    username: text,
    principal: orNull(text),
    session: orNull(text),
    started_at: integer,
    completed_at: orNull(integer),
    mode: oneOf('sync', 'async'),
    source_ip: text,
    args: orNull(listOf(text)),
    retry_of: orNull(text),
    idempotency_key: orNull(text),
    caller_digest: orNull(text),
    token_mac: orNull(text),
  },
  {},
);

const isReqidRow = shape<{ reqid: string }>({ reqid: text }, {});

const findRun = (
  tx: Transaction,
  column: 'reqid' | 'idempotency_key',
  value: string,
): Result<RunRow | undefined, StoreFailed> =>
  tx
    .rows(tx.query.selectFrom('runs').selectAll().where(column, '=', value), isRunRow, ['args'])
    .map(([row]) => row);

/** Whether the process that began a run lives, and waits for its agents. */
const isWaiting = (
  sessions: Sessions,
  { session }: { readonly session: string | null },
): Result<boolean, StoreFailed> => (session === null ? ok(false) : sessions.isAlive(session));

const recordOf = (
  tx: Transaction,
  sessions: Sessions,
  row: RunRow | undefined,
): Result<RunRecord | undefined, StoreFailed> =>
  safeTry(function* () {
    if (row === undefined) return ok(undefined);
    const { reqid, retry_of, idempotency_key: key, caller_digest, token_mac: tokenMac } = row;
    const hosts = yield* hostsOfRun(tx, reqid);
    const underWay = yield* isWaiting(sessions, row);
    return ok({
      reqid,
      script: row.script,
      args: row.args ?? undefined,
      mode: row.mode,
      principal: row.principal ?? undefined,
      username: row.username,
      sourceIp: row.source_ip,
      startedAt: row.started_at,
      completedAt: row.completed_at ?? undefined,
      underWay,
      results: hosts.map(hostResultOf),
      ...(retry_of !== null && { retryOf: retry_of }),
      ...(key !== null && {
        idempotency: { key, callerDigest: caller_digest ?? '', ...(tokenMac !== null && { tokenMac }) },
      }),
    });
  });

const newRow = (run: RunStart, session: string) => ({
  reqid: run.reqid,
  script: run.script,
  username: run.username,
  principal: run.principal,
  session,
  started_at: run.startedAt,
  completed_at: null,
  mode: run.mode,
  source_ip: run.sourceIp,
  args: JSON.stringify(run.args),
  retry_of: run.retryOf ?? null,
  idempotency_key: run.idempotency?.key ?? null,
  caller_digest: run.idempotency?.callerDigest ?? null,
  token_mac: run.idempotency?.tokenMac ?? null,
});

const silentForADay = failure('aborted', 'nothing was heard of it for 24 h', {});

/** A place for each host that has one, and the locks that are in the way of the others. */
const placesFor = (
  tx: Transaction,
  sessions: Sessions,
  script: string,
  hosts: ReadonlyMap<string, HostStart>,
  now: number,
): Result<{ slots: ReadonlyMap<string, number>; conflicts: readonly Lock[] }, StoreFailed> =>
  safeTry(function* () {
    const taken = new Map<string, Map<number, Lock>>();
    for (const row of yield* lockRows(tx, { script, hosts: [...hosts.keys()] })) {
      const result = hostResultOf(row);
      const waits = yield* isWaiting(sessions, row);
      if (!waits && now - lastSign(result) > knownFor) {
        yield* settledAs(tx, row, silentForADay, now);
        continue;
      }
      const ofHost = taken.get(row.host) ?? new Map<number, Lock>();
      taken.set(row.host, ofHost.set(row.slot, lockOf(row)));
    }
    const slots = new Map<string, number>();
    const conflicts: Lock[] = [];
    for (const [host, { concurrency = 1 }] of hosts) {
      const ofHost = taken.get(host) ?? new Map<number, Lock>();
      if (ofHost.size >= concurrency) conflicts.push(...ofHost.values());
      let slot = 0;
      while (ofHost.has(slot)) slot += 1;
      slots.set(host, slot);
    }
    const byHost = (a: Lock, b: Lock) => (a.host < b.host ? -1 : a.host > b.host ? 1 : 0);
    return ok({ slots, conflicts: conflicts.sort(byHost) });
  });

const begin = (
  tx: Transaction,
  sessions: Sessions,
  run: RunStart,
  now: number,
): Result<RunBegin, StoreFailed> =>
  safeTry(function* () {
    const { reqid, script, idempotency } = run;
    const known =
      (yield* findRun(tx, 'reqid', reqid)) ??
      (idempotency && (yield* findRun(tx, 'idempotency_key', idempotency.key)));
    const repeated = yield* recordOf(tx, sessions, known);
    if (repeated) return ok({ kind: 'repeated', run: repeated } as const);
    const session = yield* sessions.own(tx);
    const hosts = new Map(run.hosts.map((each) => [each.host, each]));
    const { slots, conflicts } = yield* placesFor(tx, sessions, script, hosts, now);
    if (conflicts.length > 0) return ok({ kind: 'locked', conflicts } as const);
    yield* tx.change(tx.query.insertInto('runs').values(newRow(run, session)));
    for (const [position, host] of [...hosts.keys()].entries()) {
      const started = { host, script, reqid, state: 'running', begunAt: now } as const;
      const columns = columnsOf({ ...started, exit: -1, stdout: '', stderr: '', rtt: 0 });
      const row = { reqid, position, host, script, slot: slots.get(host) ?? 0, ...columns };
      yield* tx.change(tx.query.insertInto('run_hosts').values(row));
    }
    return ok({ kind: 'begun' } as const);
  });

/** Gives the locks of a host up; of all scripts where none is named. */
export const release = (
  tx: Transaction,
  host: string,
  script: string | undefined,
  now: number,
): Result<readonly Lock[], StoreFailed> =>
  safeTry(function* () {
    const locks: Lock[] = [];
    const released = failure('aborted', 'its lock was released: nobody waits for it any more', {});
    for (const row of yield* lockRows(tx, { script, hosts: [host] })) {
      yield* settledAs(tx, row, released, now);
      locks.push(lockOf(row));
    }
    return ok(locks);
  });

/** Runs, their hosts and the locks that these are, over a database. */
export const sqlRunStore = (database: Database, sessions: Sessions): RunStore => ({
  begin: (run, now) => database.write('run.begin', (tx) => begin(tx, sessions, run, now)),

  settle: (reqid, hosts, now, left) =>
    database.write('run.settle', (tx) =>
      safeTry(function* () {
        if ((yield* findRun(tx, 'reqid', reqid)) === undefined)
          return err(failure('run_unknown', `there is no run ${reqid}`, { id: reqid }));
        const news = new Map(hosts.map((each) => [each.host, each]));
        for (const row of news.size > 0 ? yield* hostsOfRun(tx, reqid) : []) {
          const learnt = news.get(row.host);
          if (learnt === undefined) continue;
          const known = hostResultOf(row);
          const kept = later(known, learnt);
          if (kept !== known) yield* writeHost(tx, row, kept);
        }
        if (left)
          yield* tx.change(tx.query.updateTable('runs').set({ session: null }).where('reqid', '=', reqid));
        yield* endRun(tx, reqid, now);
        return ok(undefined);
      }),
    ),

  // As a writer, so that no session comes or goes while they are looked at.
  locks: (now) =>
    database.write('run.locks', (tx) =>
      safeTry(function* () {
        const locks: Lock[] = [];
        for (const row of yield* lockRows(tx)) {
          const waits = yield* isWaiting(sessions, row);
          if (waits || now - lastSign(hostResultOf(row)) <= knownFor) locks.push(lockOf(row));
        }
        return ok(locks);
      }),
    ),

  release: (host, script, now) => database.write('run.release', (tx) => release(tx, host, script, now)),

  find: (reqid) =>
    database.read('run.find', (tx) =>
      findRun(tx, 'reqid', reqid).andThen((row) => recordOf(tx, sessions, row)),
    ),

  idsWith: (prefix) =>
    database.read('run.find', (tx) =>
      tx
        .rows(
          tx.query
            .selectFrom('runs')
            .select('reqid')
            .where('reqid', '>=', prefix)
            // No character of an id is above it.
            .where('reqid', '<', `${prefix}~`)
            .orderBy('reqid')
            .limit(10),
          isReqidRow,
        )
        .map((rows) => rows.map(({ reqid }) => reqid)),
    ),

  findByIdempotencyKey: (key) =>
    database.read('run.find', (tx) =>
      findRun(tx, 'idempotency_key', key).andThen((row) => recordOf(tx, sessions, row)),
    ),

  list: (listing) => database.read('run.list', (tx) => listRuns(tx, sessions, listing)),

  purge: ({ endedBefore, startedBefore, silentBefore }) =>
    database.write('run.purge', (tx) =>
      safeTry(function* () {
        const live = yield* liveSessions(tx, sessions);
        const old = tx.query
          .deleteFrom('runs')
          .where((run) =>
            run.or([run('completed_at', '<', endedBefore), run('started_at', '<', startedBefore)]),
          )
          .where(({ not, exists, selectFrom }) =>
            not(
              exists(
                selectFrom('run_hosts')
                  .select('position')
                  .whereRef('run_hosts.reqid', '=', 'runs.reqid')
                  .where('begun_at', 'is not', null)
                  .where('settled_at', 'is', null)
                  .where(sql<boolean>`max(begun_at, coalesce(seen_at, 0)) >= ${silentBefore}`),
              ),
            ),
          );
        const idle =
          live.length === 0
            ? old
            : old.where((run) => run.or([run('session', 'is', null), run('session', 'not in', live)]));
        return tx.change(idle);
      }),
    ),
});
