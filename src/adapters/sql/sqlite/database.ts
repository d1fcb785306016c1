import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type Compilable,
  DummyDriver,
  Kysely,
  type SqlBool,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  sql,
} from 'kysely';
import type Libsql from 'libsql';
import { err, ok, Result, ResultAsync } from 'neverthrow';
import type { Guard } from '../shared/shape.js';
import type { Tables } from '../shared/tables.js';
import {
  type Database,
  type StoreFailed,
  storeFailed,
  type Transaction,
  type Work,
} from '../shared/transaction.js';
import { connect, prepareFile } from './connection.js';
import { failureOf, isContention } from './failures.js';
import { inspectSchema } from './migrations.js';
import { preparedOn } from './prepared.js';

/** Milliseconds after which contention is an error. */
const patience = 10_000;

const query = new Kysely<Tables>({
  dialect: {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  },
});

/** Repeats what failed for contention, at random intervals that grow from some 5 to some 100 milliseconds. */
const persistently = <T, E>(
  operation: string,
  path: string,
  attempt: () => Result<T, E>,
): ResultAsync<T, E | StoreFailed> => {
  const run = async (): Promise<Result<T, E | StoreFailed>> => {
    const deadline = performance.now() + patience;
    for (let ceiling = 10; ; ceiling = Math.min(ceiling * 1.5, 100)) {
      try {
        return attempt();
      } catch (thrown) {
        if (!isContention(thrown) || performance.now() > deadline)
          return err(failureOf(operation, path, thrown));
      }
      await delay(ceiling * (0.5 + Math.random() / 2));
    }
  };
  return new ResultAsync(run());
};

/** SQLite would keep such text only up to its first NUL, or with replacement characters. */
const unfaithful = (value: unknown): boolean => typeof value === 'string' && /\0|\p{Surrogate}/u.test(value);

/** A statement that is kept would keep the last text that was bound to it. */
const isLarge = (value: unknown): boolean => typeof value === 'string' && value.length > 65_536;

interface Prepared {
  readonly prepared: Libsql.Statement;
  readonly parameters: unknown[];
}

const transactionOn = (connection: Libsql.Database, path: string, operation: string): Transaction => {
  const prepare = (statement: Compilable): Result<Prepared, StoreFailed> => {
    const { sql, parameters } = statement.compile();
    if (parameters.some(unfaithful)) {
      const message = `${path}: text with a NUL character or half a surrogate pair cannot be stored`;
      return err(storeFailed(operation, 'text_not_storable', message));
    }
    return ok({
      prepared: preparedOn(connection, sql, parameters.some(isLarge)),
      parameters: [...parameters],
    });
  };

  const damaged = () =>
    storeFailed(operation, 'damaged_row', `${path}: a row is damaged; restore the file from a backup`);
  const parseJson = Result.fromThrowable((source: string): unknown => JSON.parse(source), damaged);

  const decode = <T>(row: unknown, guard: Guard<T>, json: readonly string[]): Result<T, StoreFailed> => {
    const columns = { ...(row as Readonly<Record<string, unknown>>) };
    for (const name of json) {
      const source = columns[name];
      if (typeof source !== 'string') continue;
      const value = parseJson(source);
      if (value.isErr()) return err(value.error);
      columns[name] = value.value;
    }
    return guard(columns) ? ok(columns as T) : err(damaged());
  };

  return {
    query,
    damaged,
    rows: (statement, guard, json = []) =>
      prepare(statement).andThen(({ prepared, parameters }) =>
        Result.combine(prepared.all(parameters).map((row) => decode(row, guard, json))),
      ),
    holds: (column, members) => {
      const each = Object.entries(members).map(([key, value]) =>
        // What cannot be stored is in no row.
        unfaithful(key) || unfaithful(value)
          ? sql<SqlBool>`0`
          : sql<SqlBool>`exists (select 1 from json_each(${sql.ref(column)}) as member where member.key = ${key} and member.atom = ${value})`,
      );
      return sql.join(each, sql` and `);
    },
    change: (statement) =>
      prepare(statement).map(({ prepared, parameters }) => prepared.run(parameters).changes),
  };
};

const databaseOn = (connection: Libsql.Database, path: string): Database => {
  const transact = <T, E>(operation: string, begin: string, work: Work<T, E>): Result<T, E | StoreFailed> => {
    if (!connection.open) return err(storeFailed(operation, 'closed', `${path}: the store was closed`));
    try {
      connection.exec(begin);
      const outcome: Result<T, E | StoreFailed> = inspectSchema(connection, path, operation).andThen(() =>
        work(transactionOn(connection, path, operation)),
      );
      connection.exec(outcome.isOk() ? 'COMMIT' : 'ROLLBACK');
      return outcome;
    } catch (thrown) {
      // After some errors SQLite has rolled back by itself.
      if (connection.inTransaction) connection.exec('ROLLBACK');
      throw thrown;
    }
  };

  return {
    read: (operation, work) => persistently(operation, path, () => transact(operation, 'BEGIN', work)),
    write: (operation, work) =>
      persistently(operation, path, () => transact(operation, 'BEGIN IMMEDIATE', work)),
    close: () => {
      if (connection.open) connection.close();
    },
  };
};

/** Opens the file and brings it to the present schema, creating it (0600, in a directory of 0700) when there is none. */
export const openDatabase = (path: string): ResultAsync<Database, StoreFailed> => {
  const absolute = resolve(path);
  return persistently('open', absolute, () => {
    prepareFile(absolute);
    return connect(absolute).map((connection) => databaseOn(connection, absolute));
  });
};
