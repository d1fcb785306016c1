import { readFile } from 'node:fs/promises';
import { err, ok, okAsync, type ResultAsync } from 'neverthrow';
import { accountNumber } from '../../../domain/core/file-access.js';
import { attempt, type FileFailure, systemFailure } from '../system-failure.js';

/** The number of an account that is given by its name or its number. `database`: `/etc/passwd` or `/etc/group`. */
export function accountId(
  path: string,
  account: string | number | undefined,
  database: string,
): ResultAsync<number | undefined, FileFailure> {
  if (account === undefined || typeof account === 'number') return okAsync(account);
  return attempt(database, 'read', () => readFile(database, 'utf8')).andThen((text) => {
    const id = accountNumber(text, account);
    return id === undefined
      ? err(systemFailure(path, 'write', 'EINVAL', `${database} knows no ${account}`))
      : ok(id);
  });
}
