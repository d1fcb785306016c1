import { chmodSync, closeSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import Libsql from 'libsql';
import type { Result } from 'neverthrow';
import { errorCode } from '../../../domain/core/thrown.js';
import { makeDirectories, syncDirectoryNow } from '../../shared/durable-file.js';
import type { StoreFailed } from '../shared/transaction.js';
import { inspectFile, migrate } from './migrations.js';

/** Milliseconds that SQLite itself waits for a lock; it blocks the event loop, so most of the waiting is done outside. */
const blockingWait = 20;

/**
 * Creates a file for its owner alone, before SQLite sees it; false when there was one. Never opens an existing file:
 * closing it again would drop the locks that SQLite holds on it in this process.
 */
export const createPrivateFile = (path: string): boolean => {
  try {
    closeSync(openSync(path, 'wx', 0o600));
    return true;
  } catch (thrown) {
    if (errorCode(thrown) === 'EEXIST') return false;
    throw thrown;
  }
};

/** Makes sure that directory and file are there, survive a power cut, and are for the owner alone. */
export const prepareFile = (path: string): void => {
  const directory = dirname(path);
  const made = makeDirectories(directory, 0o700);
  if (createPrivateFile(path)) {
    for (const entry of made === undefined ? [directory] : [directory, dirname(made)])
      syncDirectoryNow(entry);
    return;
  }
  // SQLite gives its side files the mode of the file itself.
  for (const file of [path, `${path}-wal`, `${path}-shm`]) {
    const mode = statSync(file, { throwIfNoEntry: false })?.mode ?? 0;
    if ((mode & 0o077) !== 0) chmodSync(file, 0o600);
  }
};

/** Opens and migrates. Throws what SQLite throws, contention included. */
export const connect = (path: string): Result<Libsql.Database, StoreFailed> => {
  const connection = new Libsql(path);
  try {
    // First of all, or two processes that open the file together fail when one of them switches to WAL.
    connection.exec(`PRAGMA busy_timeout = ${blockingWait}`);
    const usable = inspectFile(connection, path).andThen(() => {
      connection.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON');
      return migrate(connection, path);
    });
    if (usable.isErr()) connection.close();
    return usable.map(() => connection);
  } catch (thrown) {
    connection.close();
    throw thrown;
  }
};
