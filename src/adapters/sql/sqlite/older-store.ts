import { existsSync } from 'node:fs';
import Libsql from 'libsql';
import { inspectFile } from './migrations.js';

/**
 * Whether there is a store at this path that an older version of this program has left. SQLite looks by itself: closing the file
 * here would drop the locks that it may hold on it in this process.
 */
export function isOlderStore(path: string): boolean {
  if (!existsSync(path)) return false;
  try {
    const connection = new Libsql(path, { readonly: true });
    try {
      return inspectFile(connection, path).unwrapOr('current') === 'older';
    } finally {
      connection.close();
    }
  } catch {
    return false;
  }
}
