import { readFile, stat } from 'node:fs/promises';
import type { SecureContextOptions } from 'node:tls';
import { errAsync, okAsync, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import type { DispatcherSettings } from '../../../domain/settings/dispatcher.js';
import { serverContext } from '../../defaults.js';

type CredentialsFailure = CtrlExecError<'file_failed' | 'certificate_invalid'>;

const maxFile = 1024 * 1024;

/**
 * What the API's TLS is made of, read from `api_cert` (with what leads to its CA) and `api_key`; undefined where they are not set. The
 * key may be a link, and its group may read it, as host-wide certificates are kept; others may not.
 */
export function readCredentials(
  settings: Pick<DispatcherSettings, 'apiCert' | 'apiKey'>,
): ResultAsync<SecureContextOptions | undefined, CredentialsFailure> {
  const { apiCert, apiKey } = settings;
  if (apiCert === undefined || apiKey === undefined) return okAsync(undefined);
  return ResultAsync.combine([read(apiCert, false), read(apiKey, true)]).andThen(([certificate, key]) =>
    serverContext({ certificate: certificate ?? '', key: key ?? '' }, undefined).mapErr((error) =>
      failure(
        'certificate_invalid',
        `api_cert ${apiCert} and api_key ${apiKey} cannot be used (${error.reason}): PEM is expected, and a key that fits its certificate`,
        { field: 'api_cert', reason: error.reason },
      ),
    ),
  );
}

function read(path: string, secret: boolean): ResultAsync<string, CredentialsFailure> {
  const failed = (reason: string, meaning: string) =>
    failure('file_failed', `cannot read ${path}: ${meaning}`, { path, operation: 'read', reason });
  return ResultAsync.fromPromise(stat(path), (thrown) => {
    const { code, message } = thrown as NodeJS.ErrnoException;
    return failed(code ?? 'EIO', message);
  }).andThen((found) => {
    if (!found.isFile() || found.size > maxFile)
      return errAsync(failed('EINVAL', 'a regular file of at most 1 MiB is expected'));
    if (secret && (found.mode & 0o007) !== 0)
      return errAsync(failed('EACCES', 'the key is accessible by everybody: chmod 600'));
    return ResultAsync.fromPromise(readFile(path, 'utf8'), (thrown) => {
      const { code, message } = thrown as NodeJS.ErrnoException;
      return failed(code ?? 'EIO', message);
    });
  });
}
