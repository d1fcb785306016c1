import { err, ok, type Result, safeTry } from 'neverthrow';
import { failure } from '../../domain/errors.js';
import type { HostResult, RunRecord } from '../../domain/run-record.js';
import type { RunStore } from '../../ports/run-store.js';
import type { Database, Transaction } from './database.js';
import { type StoreFailed, storeFailed } from './failures.js';
import { integer, listOf, orNull, quantity, shape, text } from './shape.js';

interface RunRow {
  readonly reqid: string;
  readonly script: string;
  readonly hosts: readonly string[];
  readonly username: string;
  readonly started_at: number;
  readonly completed_at: number | null;
}

const isRunRow = shape<RunRow>(
  {
    reqid: text,
    script: text,
    hosts: listOf(text),
    username: text,
    started_at: integer,
    completed_at: orNull(integer),
  },
  {},
);

/** One row a host and JSON within: output may hold any character, and all of it together outgrows one string. */
const isResultRow = shape<{ result: HostResult }>(
  {
    result: shape<HostResult>(
      { host: text, script: text, exit: quantity, stdout: text, stderr: text, rtt: quantity, reqid: text },
      {
        error: text,
        truncated: shape<NonNullable<HostResult['truncated']>>({}, { stdout: quantity, stderr: quantity }),
        reportedHostname: text,
      },
    ),
  },
  {},
);

const findRun = (tx: Transaction, reqid: string): Result<RunRow | undefined, StoreFailed> =>
  tx
    .rows(tx.query.selectFrom('runs').selectAll().where('reqid', '=', reqid), isRunRow, ['hosts'])
    .map(([row]) => row);

const find = (tx: Transaction, reqid: string): Result<RunRecord | undefined, StoreFailed> =>
  safeTry(function* () {
    const row = yield* findRun(tx, reqid);
    if (row === undefined) return ok(undefined);
    const results = yield* tx.rows(
      tx.query.selectFrom('run_results').select('result').where('reqid', '=', reqid).orderBy('position'),
      isResultRow,
      ['result'],
    );
    return ok({
      reqid: row.reqid,
      script: row.script,
      hosts: row.hosts,
      username: row.username,
      startedAt: row.started_at,
      completedAt: row.completed_at ?? undefined,
      results: results.map(({ result }) => result),
    });
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
        if ((yield* tx.change(ended)) === 0) {
          return err(failure('request_unknown', `there is no run ${reqid}`, { id: reqid }));
        }
        yield* tx.change(tx.query.deleteFrom('run_results').where('reqid', '=', reqid));
        for (const [position, result] of results.entries()) {
          const row = { reqid, position, result: JSON.stringify(result) };
          yield* tx.change(tx.query.insertInto('run_results').values(row));
        }
        return ok(undefined);
      }),
    ),

  find: (reqid) => database.read('run.find', (tx) => find(tx, reqid)),

  purge: (startedBefore) =>
    database.write('run.purge', (tx) =>
      tx.change(tx.query.deleteFrom('runs').where('started_at', '<', startedBefore)),
    ),
});
