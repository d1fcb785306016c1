import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import Libsql from 'libsql';
import { err, ok, type Result } from 'neverthrow';
import { makeDirectories } from '../../shared/durable-file.js';
import type { StoreFailed } from '../shared/transaction.js';
import { createPrivateFile } from './connection.js';
import { failureOf, isContention, sqliteCode } from './failures.js';

/** Shows to every other process that this one lives: an exclusive lock on a file of its own. */
export interface SessionFile {
  readonly id: string;
  /** False once somebody deleted the file: nobody could tell any more that this session lives. */
  isVisible(): boolean;
  /** Idempotent. When only the file could not be removed, the lock on it is gone all the same. */
  release(): Result<void, StoreFailed>;
}

/**
 * The sessions, each with a small SQLite file that it keeps locked as long as it lives. The kernel lets go when
 * the process dies, whatever killed it, and nothing depends on process ids. Files come and go only within a write
 * transaction of the main database, so nobody takes a file that is about to be locked for one that was left behind.
 */
export interface SessionFiles {
  claim(id: string): Result<SessionFile, StoreFailed>;
  isAlive(id: string): Result<boolean, StoreFailed>;
  /** Removes what a dead session left. */
  forget(id: string): Result<void, StoreFailed>;
  /** Every session that has a file. */
  ids(): Result<readonly string[], StoreFailed>;
}

const notADatabase = 26;

/** A connection that is collected as garbage lets go of its lock, so each is held here until it is released. */
const held = new Set<Libsql.Database>();

export const sessionFiles = (directory: string): SessionFiles => {
  const fileOf = (id: string): string => resolve(join(directory, `owner-${id}.db`));

  const attempt = <T>(path: string, action: () => T): Result<T, StoreFailed> => {
    try {
      return ok(action());
    } catch (thrown) {
      return err(failureOf('session', path, thrown));
    }
  };

  const probe = (path: string): boolean => {
    if (!existsSync(path)) return false;
    const connection = new Libsql(path);
    try {
      // A shared lock: it meets the exclusive one of its session, and not those of others who look at the same time.
      connection.exec('SELECT 1 FROM sqlite_schema');
      return false;
    } catch (thrown) {
      if (isContention(thrown)) return true;
      // The content is read under the lock only, so whatever it is, nobody holds it.
      if (sqliteCode(thrown) === notADatabase) return false;
      throw thrown;
    } finally {
      connection.close();
    }
  };

  const lock = (path: string): Libsql.Database => {
    makeDirectories(directory, 0o700);
    createPrivateFile(path);
    const connection = new Libsql(path);
    try {
      // Nothing is ever written; a journal on disk would only be one more file to clean up.
      connection.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
      return connection;
    } catch (thrown) {
      connection.close();
      throw thrown;
    }
  };

  return {
    claim: (id) => {
      const path = fileOf(id);
      return attempt(path, () => {
        const connection = lock(path);
        held.add(connection);
        return {
          id,
          isVisible: () => existsSync(path),
          release: () =>
            attempt(path, () => {
              if (connection.open) {
                held.delete(connection);
                connection.exec('ROLLBACK');
                connection.close();
              }
              rmSync(path, { force: true });
            }),
        };
      });
    },
    isAlive: (id) => attempt(fileOf(id), () => probe(fileOf(id))),
    forget: (id) => attempt(fileOf(id), () => rmSync(fileOf(id), { force: true })),
    ids: () =>
      attempt(directory, () =>
        (existsSync(directory) ? readdirSync(directory) : []).flatMap(
          (name) => /^owner-([0-9a-f-]{36})\.db$/.exec(name)?.slice(1) ?? [],
        ),
      ),
  };
};
