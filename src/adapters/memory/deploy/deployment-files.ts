import { posix } from 'node:path';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import type { FileState } from '../../../domain/deploy/plan.js';
import type { DeploymentFiles } from '../../../ports/deployment-files.js';

type FileFailure = CtrlExecError<'file_failed'>;

/** Accounts that there are. */
const accounts: ReadonlyMap<string, number> = new Map([
  ['root', 0],
  ['daemon', 1],
]);

/** Files in memory. Directories are those that are named, and the root. */
export const memoryDeploymentFiles = (
  directories: readonly string[] = [],
): DeploymentFiles & { readonly files: Map<string, FileState> } => {
  const files = new Map<string, FileState>();
  const isDirectory = (path: string) => path === '/' || directories.includes(path);
  let staged = 0;
  return {
    files,
    look: (path) => {
      if (isDirectory(path)) return later(refused(path, 'read', 'EISDIR'));
      if (!isDirectory(posix.dirname(path))) return later(refused(path, 'read', 'ENOENT'));
      const state = files.get(path);
      if (state !== undefined && state.content.length > 1024 * 1024)
        return later(refused(path, 'read', 'EFBIG'));
      return later(ok({ path, state }));
    },
    realDirectory: (path) => later(isDirectory(path) ? ok(path) : refused(path, 'resolve', 'ENOENT')),
    stage: ({ path, content, mode, owner, group }) => {
      const [uid, gid] = [idOf(owner), idOf(group)];
      if (uid === undefined || gid === undefined) return later(refused(path, 'write', 'EINVAL'));
      if (!isDirectory(posix.dirname(path))) return later(refused(path, 'write', 'ENOENT'));
      staged += 1;
      const temporary = posix.join(posix.dirname(path), `.${posix.basename(path)}.tmp-${staged}`);
      files.set(temporary, { content: content.slice(), mode, uid, gid });
      return later(ok({ path, temporary }));
    },
    place: ({ path, temporary }) => {
      const file = files.get(temporary);
      if (file === undefined) return later(refused(path, 'replace', 'ENOENT'));
      files.delete(temporary);
      files.set(path, file);
      return later(ok(undefined));
    },
    discard: ({ temporary }) => {
      files.delete(temporary);
      return later(ok(undefined));
    },
    remove: (path) => {
      files.delete(path);
      return later(ok(undefined));
    },
    sync: () => later(ok(undefined)),
    sweep: () => later(ok(undefined)),
  };
};

function idOf(account: string | number | undefined): number | undefined {
  if (account === undefined) return 0;
  if (typeof account === 'number') return account;
  return /^\d+$/.test(account) ? Number(account) : accounts.get(account);
}

const later = <T>(result: Result<T, FileFailure>): ResultAsync<T, FileFailure> =>
  new ResultAsync(Promise.resolve(result));

const refused = (path: string, operation: string, reason: string): Result<never, FileFailure> =>
  err(failure('file_failed', `cannot ${operation} ${path}: ${reason}`, { path, operation, reason }));
