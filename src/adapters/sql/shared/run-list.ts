import { sql } from 'kysely';
import { ok, type Result, safeTry } from 'neverthrow';
import type { RunMode } from '../../../domain/runs/record.js';
import { type RunSummary, summaryOf, type Verdict } from '../../../domain/runs/summary.js';
import type { RunListing } from '../../../ports/run-store.js';
import { integer, listOf, oneOf, orNull, shape, text } from './shape.js';
import type { StoreFailed, Transaction } from './transaction.js';

interface ListedRow {
  readonly reqid: string;
  readonly script: string;
  readonly hosts: readonly string[];
  readonly mode: RunMode;
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
    hosts: listOf(text),
    mode: oneOf('sync', 'async'),
    username: text,
    source_ip: text,
    started_at: integer,
    completed_at: orNull(integer),
    retry_of: orNull(text),
  },
  {},
);

const isVerdictRow = shape<{ position: number; verdict: Verdict }>(
  { position: integer, verdict: oneOf('succeeded', 'failed') },
  {},
);

/** Everything that is listed is read without the results, which may be large. */
const columns = [
  'reqid',
  'script',
  'hosts',
  'mode',
  'username',
  'source_ip',
  'started_at',
  'completed_at',
  'retry_of',
] as const;

const succeededEverywhere = sql<boolean>`(
  SELECT count(*) FROM run_results WHERE run_results.reqid = runs.reqid AND verdict = 'succeeded'
) = json_array_length(runs.hosts)`;

function statement(tx: Transaction, listing: RunListing) {
  const { hosts, script, username, outcome, startedAfter, startedBefore, behind, limit } = listing;
  let rows = tx.query.selectFrom('runs').select(columns);
  if (script !== undefined) rows = rows.where('script', '=', script);
  if (username !== undefined) rows = rows.where('username', '=', username);
  if (startedAfter !== undefined) rows = rows.where('started_at', '>=', startedAfter);
  if (startedBefore !== undefined) rows = rows.where('started_at', '<', startedBefore);
  if (behind !== undefined)
    rows = rows.where(sql<boolean>`(started_at, reqid) < (${behind.startedAt}, ${behind.reqid})`);
  if (hosts !== undefined)
    rows = rows.where(
      sql<boolean>`EXISTS (SELECT 1 FROM json_each(runs.hosts) WHERE json_each.value IN (${sql.join(hosts)}))`,
    );
  if (outcome !== undefined) rows = rows.where('completed_at', outcome === 'running' ? 'is' : 'is not', null);
  if (outcome === 'succeeded') rows = rows.where(succeededEverywhere);
  if (outcome === 'failed') rows = rows.where(sql<boolean>`NOT (${succeededEverywhere})`);
  return rows.orderBy('started_at', 'desc').orderBy('reqid', 'desc').limit(limit);
}

/** Summaries of runs, the latest first. */
export const listRuns = (tx: Transaction, listing: RunListing): Result<readonly RunSummary[], StoreFailed> =>
  safeTry(function* () {
    const summaries: RunSummary[] = [];
    for (const row of yield* tx.rows(statement(tx, listing), isListedRow, ['hosts'])) {
      const { reqid, script, hosts, mode, username, retry_of: retryOf } = row;
      const known = yield* tx.rows(
        tx.query
          .selectFrom('run_results')
          .select(['position', 'verdict'])
          .where('reqid', '=', reqid)
          .where('verdict', '=', row.completed_at === null ? 'failed' : 'succeeded'),
        isVerdictRow,
      );
      const record = {
        ...{ reqid, script, hosts, mode, username },
        sourceIp: row.source_ip,
        startedAt: row.started_at,
        completedAt: row.completed_at ?? undefined,
        ...(retryOf !== null && { retryOf }),
      };
      const verdicts = known.map(({ position, verdict }) => [hosts[position] ?? '', verdict] as const);
      summaries.push(summaryOf(record, new Map(verdicts)));
    }
    return ok(summaries);
  });
