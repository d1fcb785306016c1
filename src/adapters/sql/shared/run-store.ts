import { err, ok, type Result, safeTry } from 'neverthrow';
import { failure } from '../../../domain/core/errors.js';
import {
  type HostResult,
  type HostState,
  laterResult,
  laterState,
  type RunMode,
  type RunRecord,
  type Submission,
} from '../../../domain/runs/record.js';
import { verdictOf } from '../../../domain/runs/summary.js';
import type { RunStart, RunStore } from '../../../ports/run-store.js';
import { listRuns } from './run-list.js';
import { type Guard, integer, listOf, oneOf, orNull, quantity, shape, text } from './shape.js';
import { type Database, type StoreFailed, storeFailed, type Transaction } from './transaction.js';

interface RunRow {
  readonly reqid: string;
  readonly script: string;
  readonly hosts: readonly string[];
  readonly username: string;
  readonly started_at: number;
  readonly completed_at: number | null;
  readonly mode: RunMode;
  readonly source_ip: string;
  readonly args: readonly string[] | null;
  readonly submissions: readonly Submission[] | null;
  readonly retry_of: string | null;
  readonly idempotency_key: string | null;
  readonly caller_digest: string | null;
}

const isSubmission = shape<Submission>(
  {
    host: text,
    status: oneOf('accepted', 'busy', 'error'),
    rtt: quantity,
    reqid: text,
  },
  { error: text },
);

const isRunRow = shape<RunRow>(
  {
    reqid: text,
    script: text,
    hosts: listOf(text),
    username: text,
    started_at: integer,
    completed_at: orNull(integer),
    mode: oneOf('sync', 'async'),
    source_ip: text,
    args: orNull(listOf(text)),
    submissions: orNull(listOf(isSubmission)),
    retry_of: orNull(text),
    idempotency_key: orNull(text),
    caller_digest: orNull(text),
  },
  {},
);

const always: Guard<true> = (value): value is true => value === true;

const isTruncated = shape<NonNullable<HostResult['truncated']>>({}, { stdout: quantity, stderr: quantity });

/** One row a host and JSON within: output may hold any character, and all of it together outgrows one string. */
const isResultRow = shape<{ result: HostResult }>(
  {
    result: shape<HostResult>(
      { host: text, script: text, exit: quantity, stdout: text, stderr: text, rtt: quantity, reqid: text },
      { error: text, truncated: isTruncated, reportedHostname: text, unheard: always },
    ),
  },
  {},
);

/** The same for a run whose mode is async. */
const isStateRow = shape<{ result: HostState }>(
  {
    result: shape<HostState>(
      {
        host: text,
        status: oneOf('accepted', 'running', 'done', 'expired', 'busy', 'error', 'cancelled', 'lost'),
      },
      { exit: quantity, stdout: text, stderr: text, truncated: isTruncated, error: text, unheard: always },
    ),
  },
  {},
);

const findRun = (
  tx: Transaction,
  column: 'reqid' | 'idempotency_key',
  value: string,
): Result<RunRow | undefined, StoreFailed> =>
  tx
    .rows(tx.query.selectFrom('runs').selectAll().where(column, '=', value), isRunRow, [
      'hosts',
      'args',
      'submissions',
    ])
    .map(([row]) => row);

const entriesOf = (tx: Transaction, reqid: string) =>
  tx.query.selectFrom('run_results').select('result').where('reqid', '=', reqid).orderBy('position');

const recordOf = (tx: Transaction, row: RunRow | undefined): Result<RunRecord | undefined, StoreFailed> =>
  safeTry(function* () {
    if (row === undefined) return ok(undefined);
    const { reqid, mode, submissions, retry_of, idempotency_key: key, caller_digest } = row;
    const entries = entriesOf(tx, reqid);
    const results = mode === 'sync' ? yield* tx.rows(entries, isResultRow, ['result']) : [];
    const states = mode === 'async' ? yield* tx.rows(entries, isStateRow, ['result']) : [];
    return ok({
      reqid,
      script: row.script,
      hosts: row.hosts,
      args: row.args ?? undefined,
      mode,
      username: row.username,
      sourceIp: row.source_ip,
      startedAt: row.started_at,
      completedAt: row.completed_at ?? undefined,
      results: results.map(({ result }) => result),
      states: states.map(({ result }) => result),
      ...(submissions && { submissions }),
      ...(retry_of !== null && { retryOf: retry_of }),
      ...(key !== null && { idempotency: { key, callerDigest: caller_digest ?? '' } }),
    });
  });

const unknown = (reqid: string) => err(failure('request_unknown', `there is no run ${reqid}`, { id: reqid }));

const rowOf = (entry: HostResult | HostState) => ({
  result: JSON.stringify(entry),
  verdict: verdictOf(entry) ?? null,
});

/** Puts what was learnt in the place of what is kept, host by host. */
const mergeRows = <T extends HostResult | HostState>(
  tx: Transaction,
  { reqid, hosts }: RunRow,
  learnt: readonly T[],
  guard: Guard<{ result: T }>,
  later: (known: T | undefined, learnt: T) => T,
): Result<void, StoreFailed> =>
  safeTry(function* () {
    for (const news of learnt) {
      const position = hosts.indexOf(news.host);
      if (position < 0) continue;
      const before = entriesOf(tx, reqid).where('position', '=', position);
      const [known] = yield* tx.rows(before, guard, ['result']);
      const kept = later(known?.result, news);
      if (kept === known?.result) continue;
      const row = rowOf(kept);
      yield* tx.change(
        tx.query
          .insertInto('run_results')
          .values({ reqid, position, ...row })
          .onConflict((conflict) => conflict.columns(['reqid', 'position']).doUpdateSet(row)),
      );
    }
    return ok(undefined);
  });

const newRow = (run: RunStart) => ({
  reqid: run.reqid,
  script: run.script,
  hosts: JSON.stringify(run.hosts),
  username: run.username,
  started_at: run.startedAt,
  completed_at: null,
  mode: run.mode,
  source_ip: run.sourceIp,
  args: JSON.stringify(run.args),
  submissions: null,
  retry_of: run.retryOf ?? null,
  idempotency_key: run.idempotency?.key ?? null,
  caller_digest: run.idempotency?.callerDigest ?? null,
});

/** The runs, over one SQLite file. */
export const sqliteRunStore = (database: Database): RunStore => ({
  start: (run) =>
    database.write('run.start', (tx) =>
      safeTry(function* () {
        if ((yield* findRun(tx, 'reqid', run.reqid)) !== undefined) {
          return err(storeFailed('run.start', 'exists', `there is a run ${run.reqid} already`));
        }
        const key = run.idempotency?.key;
        if (key !== undefined && (yield* findRun(tx, 'idempotency_key', key)) !== undefined) return ok(false);
        yield* tx.change(tx.query.insertInto('runs').values(newRow(run)));
        return ok(true);
      }),
    ),

  complete: (reqid, results, completedAt) =>
    database.write('run.complete', (tx) =>
      safeTry(function* () {
        const ended = tx.query
          .updateTable('runs')
          .set({ completed_at: completedAt })
          .where('reqid', '=', reqid);
        if ((yield* tx.change(ended)) === 0) return unknown(reqid);
        yield* tx.change(tx.query.deleteFrom('run_results').where('reqid', '=', reqid));
        for (const [position, result] of results.entries()) {
          const row = { reqid, position, ...rowOf(result) };
          yield* tx.change(tx.query.insertInto('run_results').values(row));
        }
        return ok(undefined);
      }),
    ),

  note: (reqid, { results = [], states = [], submissions, completedAt }) =>
    database.write('run.note', (tx) =>
      safeTry(function* () {
        const row = yield* findRun(tx, 'reqid', reqid);
        if (row === undefined) return unknown(reqid);
        if (row.mode === 'sync') yield* mergeRows(tx, row, results, isResultRow, laterResult);
        else yield* mergeRows(tx, row, states, isStateRow, laterState);
        const once = {
          ...(completedAt !== undefined && row.completed_at === null && { completed_at: completedAt }),
          ...(submissions &&
            row.mode === 'async' &&
            !row.submissions && { submissions: JSON.stringify(submissions) }),
        };
        if (Object.keys(once).length > 0)
          yield* tx.change(tx.query.updateTable('runs').set(once).where('reqid', '=', reqid));
        return ok(undefined);
      }),
    ),

  find: (reqid) =>
    database.read('run.find', (tx) => findRun(tx, 'reqid', reqid).andThen((row) => recordOf(tx, row))),

  findByIdempotencyKey: (key) =>
    database.read('run.find', (tx) =>
      findRun(tx, 'idempotency_key', key).andThen((row) => recordOf(tx, row)),
    ),

  list: (listing) => database.read('run.list', (tx) => listRuns(tx, listing)),

  purge: ({ endedBefore, startedBefore }) =>
    database.write('run.purge', (tx) =>
      tx.change(
        tx.query
          .deleteFrom('runs')
          .where((run) =>
            run.or([run('completed_at', '<', endedBefore), run('started_at', '<', startedBefore)]),
          ),
      ),
    ),
});
