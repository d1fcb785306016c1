import { err, ok, type Result, safeTry } from 'neverthrow';
import { failure } from '../../domain/errors.js';
import {
  type HostResult,
  type HostState,
  laterResult,
  laterState,
  type RunMode,
  type RunRecord,
} from '../../domain/run-record.js';
import type { RunStore } from '../../ports/run-store.js';
import type { Database, Transaction } from './database.js';
import { type StoreFailed, storeFailed } from './failures.js';
import { type Guard, integer, listOf, oneOf, orNull, quantity, shape, text } from './shape.js';

interface RunRow {
  readonly reqid: string;
  readonly script: string;
  readonly hosts: readonly string[];
  readonly username: string;
  readonly started_at: number;
  readonly completed_at: number | null;
  readonly mode: RunMode;
  readonly source_ip: string;
}

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

const findRun = (tx: Transaction, reqid: string): Result<RunRow | undefined, StoreFailed> =>
  tx
    .rows(tx.query.selectFrom('runs').selectAll().where('reqid', '=', reqid), isRunRow, ['hosts'])
    .map(([row]) => row);

const entriesOf = (tx: Transaction, reqid: string) =>
  tx.query.selectFrom('run_results').select('result').where('reqid', '=', reqid).orderBy('position');

const find = (tx: Transaction, reqid: string): Result<RunRecord | undefined, StoreFailed> =>
  safeTry(function* () {
    const row = yield* findRun(tx, reqid);
    if (row === undefined) return ok(undefined);
    const { mode } = row;
    const entries = entriesOf(tx, reqid);
    const results = mode === 'sync' ? yield* tx.rows(entries, isResultRow, ['result']) : [];
    const states = mode === 'async' ? yield* tx.rows(entries, isStateRow, ['result']) : [];
    return ok({
      reqid: row.reqid,
      script: row.script,
      hosts: row.hosts,
      mode,
      username: row.username,
      sourceIp: row.source_ip,
      startedAt: row.started_at,
      completedAt: row.completed_at ?? undefined,
      results: results.map(({ result }) => result),
      states: states.map(({ result }) => result),
    });
  });

const unknown = (reqid: string) => err(failure('request_unknown', `there is no run ${reqid}`, { id: reqid }));

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
      const row = entriesOf(tx, reqid).where('position', '=', position);
      const [known] = yield* tx.rows(row, guard, ['result']);
      const kept = later(known?.result, news);
      if (kept === known?.result) continue;
      const result = JSON.stringify(kept);
      yield* tx.change(
        tx.query
          .insertInto('run_results')
          .values({ reqid, position, result })
          .onConflict((conflict) => conflict.columns(['reqid', 'position']).doUpdateSet({ result })),
      );
    }
    return ok(undefined);
  });

/** The runs, over one SQLite file. */
export const sqliteRunStore = (database: Database): RunStore => ({
  start: (run) =>
    database.write('run.start', (tx) =>
      safeTry(function* () {
        if ((yield* findRun(tx, run.reqid)) !== undefined) {
          return err(storeFailed('run.start', 'exists', `there is a run ${run.reqid} already`));
        }
        yield* tx.change(
          tx.query.insertInto('runs').values({
            reqid: run.reqid,
            script: run.script,
            hosts: JSON.stringify(run.hosts),
            username: run.username,
            started_at: run.startedAt,
            completed_at: null,
            mode: run.mode,
            source_ip: run.sourceIp,
          }),
        );
        return ok(undefined);
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
          const row = { reqid, position, result: JSON.stringify(result) };
          yield* tx.change(tx.query.insertInto('run_results').values(row));
        }
        return ok(undefined);
      }),
    ),

  note: (reqid, { results = [], states = [], completedAt }) =>
    database.write('run.note', (tx) =>
      safeTry(function* () {
        const row = yield* findRun(tx, reqid);
        if (row === undefined) return unknown(reqid);
        if (row.mode === 'sync') yield* mergeRows(tx, row, results, isResultRow, laterResult);
        else yield* mergeRows(tx, row, states, isStateRow, laterState);
        if (completedAt !== undefined && row.completed_at === null) {
          const ended = tx.query.updateTable('runs').set({ completed_at: completedAt });
          yield* tx.change(ended.where('reqid', '=', reqid));
        }
        return ok(undefined);
      }),
    ),

  find: (reqid) => database.read('run.find', (tx) => find(tx, reqid)),

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
