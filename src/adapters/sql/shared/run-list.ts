import { sql } from 'kysely';
import { ok, type Result, safeTry } from 'neverthrow';
import { type HostState, silentAfter } from '../../../domain/runs/host-result.js';
import type { RunMode } from '../../../domain/runs/record.js';
import { type RunSummary, summaryOf } from '../../../domain/runs/summary.js';
import type { RunListing } from '../../../ports/run-store.js';
import { isHostState } from './run-hosts.js';
import type { Sessions } from './sessions.js';
import { integer, oneOf, orNull, shape, text } from './shape.js';
import type { StoreFailed, Transaction } from './transaction.js';

interface ListedRow {
  readonly reqid: string;
  readonly script: string;
  readonly mode: RunMode;
  readonly principal: string | null;
  readonly username: string;
  readonly source_ip: string;
  readonly started_at: number;
  readonly completed_at: number | null;
  readonly retry_of: string | null;
}

const isListedRow = shape<ListedRow>(
  {
    reqid: text,
    script: text,
    mode: oneOf('sync', 'async'),
    principal: orNull(text),
    username: text,
    source_ip: text,
    started_at: integer,
    completed_at: orNull(integer),
    retry_of: orNull(text),
  },
  {},
);

const isStateRow = shape<{ host: string; state: HostState }>({ host: text, state: isHostState }, {});

/** Everything that is listed is read without the results, which may be large. */
const columns = [
  'reqid',
  'script',
  'mode',
  'principal',
  'username',
  'source_ip',
  'started_at',
  'completed_at',
  'retry_of',
] as const;

/** Sessions that live, of those that wait for runs. */
export const liveSessions = (tx: Transaction, sessions: Sessions): Result<readonly string[], StoreFailed> =>
  safeTry(function* () {
    const waiting = yield* tx.rows(
      tx.query.selectFrom('runs').select('session').distinct().where('session', 'is not', null),
      shape<{ session: string }>({ session: text }, {}),
    );
    const live: string[] = [];
    for (const { session } of waiting) if (yield* sessions.isAlive(session)) live.push(session);
    return ok(live);
  });

/** The state as `asOf` has it: an agent that has said nothing for too long is not known to run anything. */
const stateNow = (now: number, live: readonly string[]) => {
  const waits = live.length > 0 ? sql`runs.session IN (${sql.join(live)})` : sql`FALSE`;
  const sign = sql`max(coalesce(run_hosts.seen_at, 0), coalesce(run_hosts.begun_at, 0))`;
  return sql<string>`CASE WHEN run_hosts.state = 'running' AND coalesce(${waits}, FALSE) = FALSE
    AND ${sign} < ${now - silentAfter} THEN 'unknown' ELSE run_hosts.state END`;
};

function statement(tx: Transaction, listing: RunListing, live: readonly string[]) {
  const { hosts, script, username, state, open, startedAfter, startedBefore, behind, limit, now } = listing;
  let rows = tx.query.selectFrom('runs').select(columns);
  if (script !== undefined) rows = rows.where('script', '=', script);
  if (username !== undefined) rows = rows.where('username', '=', username);
  if (startedAfter !== undefined) rows = rows.where('started_at', '>=', startedAfter);
  if (startedBefore !== undefined) rows = rows.where('started_at', '<', startedBefore);
  if (behind !== undefined)
    rows = rows.where(sql<boolean>`(started_at, reqid) < (${behind.startedAt}, ${behind.reqid})`);
  const ofRun = sql`SELECT 1 FROM run_hosts WHERE run_hosts.reqid = runs.reqid`;
  if (hosts !== undefined)
    rows = rows.where(sql<boolean>`EXISTS (${ofRun} AND run_hosts.host IN (${sql.join(hosts)}))`);
  if (open !== undefined) rows = rows.where('completed_at', 'is', null);
  if (state !== undefined)
    rows = rows.where(sql<boolean>`EXISTS (${ofRun} AND ${stateNow(now, live)} = ${state})`);
  return rows.orderBy('started_at', 'desc').orderBy('reqid', 'desc').limit(limit);
}

/** Summaries of runs, the latest first. */
export const listRuns = (
  tx: Transaction,
  sessions: Sessions,
  listing: RunListing,
): Result<readonly RunSummary[], StoreFailed> =>
  safeTry(function* () {
    const live = yield* liveSessions(tx, sessions);
    const summaries: RunSummary[] = [];
    for (const row of yield* tx.rows(statement(tx, listing, live), isListedRow)) {
      const { reqid, script, mode, username, retry_of: retryOf } = row;
      const hosts = yield* tx.rows(
        tx.query
          .selectFrom('run_hosts')
          .innerJoin('runs', 'runs.reqid', 'run_hosts.reqid')
          .select(['run_hosts.host as host', stateNow(listing.now, live).as('state')])
          .where('run_hosts.reqid', '=', reqid)
          .orderBy('position'),
        isStateRow,
      );
      const record = {
        ...{ reqid, script, mode, username },
        principal: row.principal ?? undefined,
        sourceIp: row.source_ip,
        startedAt: row.started_at,
        completedAt: row.completed_at ?? undefined,
        ...(retryOf !== null && { retryOf }),
      };
      summaries.push(summaryOf(record, hosts));
    }
    return ok(summaries);
  });
