import type { Compilable } from 'kysely';
import Libsql from 'libsql';
import { expect, it } from 'vitest';
import { sqlPairing } from '../../../../../src/adapters/sql/shared/pairing.js';
import type { Database } from '../../../../../src/adapters/sql/shared/transaction.js';
import { openDatabase } from '../../../../../src/adapters/sql/sqlite/database.js';
import type { PairingRequest } from '../../../../../src/domain/pairing/request.js';
import { value } from '../../../../contract/result.js';
import { storeOptions, temporaryDirectory } from './temporary-stores.js';

const rows = 20_000;
const hour = 3_600_000;

/** What a statement reads is what its plan says, not only what it returns. */
const watched = (database: Database) => {
  const seen: { readonly sql: string; readonly parameters: readonly unknown[]; readonly rows: number }[] = [];
  const note = (statement: Compilable, count: number) => {
    const { sql, parameters } = statement.compile();
    seen.push({ sql, parameters, rows: count });
  };
  const watching =
    (run: Database['read']): Database['read'] =>
    (operation, work) =>
      run(operation, (tx) =>
        work({
          ...tx,
          rows: (statement, guard, json) =>
            tx.rows(statement, guard, json).map((found) => {
              note(statement, found.length);
              return found;
            }),
          change: (statement) =>
            tx.change(statement).map((count) => {
              note(statement, count);
              return count;
            }),
        }),
      );
  return { seen, database: { ...database, read: watching(database.read), write: watching(database.write) } };
};

it('an M1, a look at what waits and the other calls of pairing mode do not read what ended before', async () => {
  const { path } = storeOptions(temporaryDirectory());
  const opened = value(await openDatabase(path));
  const now = 10 * hour;
  const raw = new Libsql(path);
  const insert = raw.prepare(
    `INSERT INTO pairing_requests VALUES (?, ?, 'web', '192.0.2.1', 7443, 'ip', '123456', 'v2', NULL, ?, ?, 'compare', '192.0.2.1', ?, NULL, NULL)`,
  );
  raw.exec('BEGIN');
  for (let index = 0; index < rows; index += 1) {
    const state = (['denied', 'expired', 'active', 'issued'] as const)[index % 4];
    const at = now - 2 * hour - index;
    insert.run([`old-${index}`, state, at, at + 600_000, state === 'denied' ? at + 600_000 : 0]);
  }
  raw.exec('COMMIT');

  const { seen, database } = watched(opened);
  const pairing = sqlPairing(database);
  const request: PairingRequest = {
    id: 'a'.repeat(32),
    state: 'started',
    host: 'web-01',
    ip: '192.0.2.7',
    port: 7443,
    lookupBy: 'ip',
    code: undefined,
    version: 'v2',
    decision: undefined,
    createdAt: now,
    expiresAt: now + 15_000,
    place: { kind: 'compare', key: '192.0.2.7', until: now + 15_000 },
  };
  expect(value(await pairing.begin({ request, limits: { total: 10, perKey: 2 } }))).toBe('admitted');
  expect(value(await pairing.find([request.id]))).toHaveLength(1);
  expect(value(await pairing.held(now))).toHaveLength(1);
  expect(value(await pairing.givenUp(now - hour))).toBe(0);
  expect(value(await pairing.end({ state: 'expired' }))).toBe(1);
  expect(seen.reduce((sum, each) => sum + each.rows, 0)).toBeLessThan(10);
  for (const { sql, parameters } of seen.filter((each) => !each.sql.startsWith('insert'))) {
    const plan = raw.prepare(`EXPLAIN QUERY PLAN ${sql}`).all([...parameters]) as { detail: string }[];
    for (const { detail } of plan)
      expect(detail, sql).not.toMatch(/^SCAN pairing_requests(?! USING COVERING)/);
    expect(
      plan.some(({ detail }) => /USING (INTEGER PRIMARY KEY|INDEX|COVERING INDEX)/.test(detail)),
      sql,
    ).toBe(true);
  }

  expect(value(await pairing.purge(now))).toBe((rows * 3) / 4);
  expect(value(await pairing.purge(now + 48 * hour))).toBeGreaterThanOrEqual(rows / 4);
  raw.close();
  opened.close();
});
