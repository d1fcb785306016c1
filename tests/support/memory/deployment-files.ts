import { posix } from 'node:path';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../src/domain/core/errors.js';
import type { FileState } from '../../../src/domain/deploy/plan.js';
import type { DeploymentFiles, NewFile } from '../../../src/ports/deployment-files.js';

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
  const put = (path: string, { content, mode, owner, group, acl }: NewFile) => {
    const isMounted = files.get(path)?.isMounted === true ? { isMounted: true } : {};
    const [uid = 0, gid = 0] = [idOf(owner), idOf(group)];
    const list = acl === undefined ? {} : { acl };
    files.set(path, { content: content.slice(), mode, uid, gid, ...list, ...isMounted });
  };
  return {
    files,
    // By `this`: tests wrap these files, and what is held is to be wrapped, too.
    hold() {
      return { ...this, release: () => undefined };
    },
    identify: (path) => later(ok(path)),
    look: (path) => {
      if (isDirectory(path)) return later(refused(path, 'read', 'EISDIR'));
      if (!isDirectory(posix.dirname(path))) return later(refused(path, 'read', 'ENOENT'));
      const state = files.get(path);
      if (state !== undefined && state.content.length > 1024 * 1024)
        return later(refused(path, 'read', 'EFBIG'));
      return later(ok({ path, state }));
    },
    realDirectory: (path) => later(isDirectory(path) ? ok(path) : refused(path, 'resolve', 'ENOENT')),
    stage: (file) => {
      const { path } = file;
      if (idOf(file.owner) === undefined || idOf(file.group) === undefined)
        return later(refused(path, 'write', 'EINVAL'));
      if (!isDirectory(posix.dirname(path))) return later(refused(path, 'write', 'ENOENT'));
      staged += 1;
      const temporary = posix.join(posix.dirname(path), `.${posix.basename(path)}.tmp-${staged}`);
      if (files.get(path)?.isMounted === true)
        return later(
          file.inPlace === true ? ok({ path, temporary, inPlace: file }) : refused(path, 'write', 'EBUSY'),
        );
      put(temporary, file);
      return later(ok({ path, temporary }));
    },
    place: ({ path, temporary, inPlace }) => {
      const file = files.get(temporary);
      if (inPlace !== undefined) put(path, inPlace);
      else if (file === undefined) return later(refused(path, 'replace', 'ENOENT'));
      else {
        files.delete(temporary);
        files.set(path, file);
      }
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
