import { accessSync, readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { whyDenied } from '../../../domain/core/file-access.js';
import { errorCode, errorMessage, isError } from '../../../domain/core/thrown.js';
import { type StoreFailed, storeFailed } from '../shared/transaction.js';

/** The result codes of SQLite (https://www.sqlite.org/rescode.html) that an operator can act on: primary ones, and extended ones that say more. */
const known: ReadonlyMap<number, readonly [name: string, advice: string]> = new Map([
  [3, ['SQLITE_PERM', 'permission denied; run as the user who owns it']],
  [5, ['SQLITE_BUSY', 'another process kept it locked; see what holds it open, then try again']],
  [6, ['SQLITE_LOCKED', 'another process kept it locked; see what holds it open, then try again']],
  [7, ['SQLITE_NOMEM', 'out of memory']],
  [8, ['SQLITE_READONLY', 'it is read-only; expected a writable file in a writable directory']],
  [10, ['SQLITE_IOERR', 'the disk reported an error; check the disk and the system log']],
  [11, ['SQLITE_CORRUPT', 'it is damaged; restore it from a backup']],
  [13, ['SQLITE_FULL', 'the disk is full; free some space']],
  [
    14,
    ['SQLITE_CANTOPEN', 'it cannot be opened; expected a readable and writable file in a writable directory'],
  ],
  [15, ['SQLITE_PROTOCOL', 'another process kept it locked; see what holds it open, then try again']],
  [18, ['SQLITE_TOOBIG', 'a value is too large to be stored']],
  [22, ['SQLITE_NOLFS', 'its file system cannot hold large files']],
  // SQLITE_IOERR_SHMSIZE: there was no room for the index of the write-ahead log.
  [4874, ['SQLITE_FULL', 'the disk is full, or its file system is read-only; free some space']],
  [26, ['SQLITE_NOTADB', 'it is not an SQLite database; move it away or restore it from a backup']],
]);

const advice: Readonly<Record<string, string>> = {
  EACCES: 'permission denied; run as the user who owns it',
  EPERM: 'permission denied; run as the user who owns it',
  EROFS: 'its file system is read-only; expected a writable directory',
  ENOSPC: 'the disk is full; free some space',
  EDQUOT: 'the disk quota is used up; free some space',
  ENOENT: 'its directory is missing and cannot be made',
  ENOTDIR: 'a part of its path is not a directory',
  EEXIST: 'a part of its path is not a directory',
  EISDIR: 'it is a directory; expected a file',
};

/** SQLite's result code of something that was thrown; undefined when SQLite did not throw it. */
export const sqliteCode = (thrown: unknown): number | undefined => {
  if (!isError(thrown)) return undefined;
  const { rawCode } = thrown as { rawCode?: unknown };
  if (typeof rawCode === 'number') return rawCode;
  // What cannot be opened at all has no code of its own; the number stands at the end of the message.
  const opening = /^ConnectionFailed\(.*: (\d+)"\)$/s.exec(errorMessage(thrown));
  return opening?.[1] === undefined ? undefined : Number(opening[1]);
};

/** Whether the same statement may succeed a moment later. */
export const isContention = (thrown: unknown): boolean => {
  const primary = (sqliteCode(thrown) ?? 0) & 0xff;
  return primary === 5 || primary === 6 || primary === 15;
};

const systemCode = (thrown: unknown): string | undefined =>
  isError(thrown) && 'syscall' in (thrown as object) ? errorCode(thrown) : undefined;

const denials = ['EACCES', 'EPERM', 'SQLITE_PERM', 'SQLITE_READONLY', 'SQLITE_CANTOPEN'];

const deniedAdvice = (code: string, path: string): string | undefined => {
  if (!denials.includes(code)) return undefined;
  const why = whyDenied(resolve(path), { accessSync, statSync, readFileSync, geteuid: process.geteuid });
  return why === undefined ? undefined : `permission denied: ${why}`;
};

/** What SQLite or the file system threw, as a value. Anything else is a bug and is thrown on. */
export const failureOf = (operation: string, path: string, thrown: unknown): StoreFailed => {
  const system = systemCode(thrown);
  if (system !== undefined) {
    return storeFailed(
      operation,
      system,
      `${path}: ${deniedAdvice(system, path) ?? advice[system] ?? `the system answered ${system}`}`,
    );
  }
  const code = sqliteCode(thrown);
  if (code === undefined) throw thrown;
  const [name, text] = known.get(code) ??
    known.get(code & 0xff) ?? [`SQLITE_${code}`, `SQLite answered with error ${code}`];
  return storeFailed(operation, name, `${path}: ${deniedAdvice(name, path) ?? text}`);
};
