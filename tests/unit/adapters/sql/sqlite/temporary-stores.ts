import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { openSqliteStores, type SqliteStores } from '../../../../../src/adapters/sql/sqlite/stores.js';
import { value } from '../../../../contract/result.js';

/** A directory that is gone after the test. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'ctrl-exec-sqlite-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export const storeOptions = (directory: string) => ({
  path: join(directory, 'state.db'),
  sessionsDirectory: join(directory, 'locks'),
});

/** Stores that are closed after the test. */
export async function openStores(directory = temporaryDirectory()): Promise<SqliteStores> {
  const stores = value(await openSqliteStores(storeOptions(directory)));
  onTestFinished(() => stores.close());
  return stores;
}
