import { constants } from 'node:fs';
import { access, lstat, readFile, rmdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import type { KeyStoreItem } from '../../../ports/key-store.js';
import { bestEffort, codeOf, unless } from '../../shared/system-code.js';
import { discard, ensureDirectory, type StagedFile, stage } from '../atomic-write.js';
import { attempt, type FileFailure, systemFailure } from '../system-failure.js';
import type { KeyChange, KeyStorePaths } from './journal.js';

const PROBE_BYTES = 4096;

export const isKey = (item: KeyStoreItem): boolean => item.endsWith('-key');

/** Those items of a change that it does not remove. */
export const writtenItems = (change: KeyChange): readonly KeyStoreItem[] =>
  [...change].flatMap(([item, text]) => (text === undefined ? [] : [item]));

/** The directories of these items and of the journal, and whether they hold what only the owner may see. */
export function directoriesOf(
  paths: KeyStorePaths,
  items: readonly KeyStoreItem[],
): ReadonlyMap<string, boolean> {
  const directories = new Map([[dirname(paths.journal), true]]);
  for (const item of items) {
    const directory = dirname(paths.items[item]);
    directories.set(directory, isKey(item) || directories.get(directory) === true);
  }
  return directories;
}

/** Makes the directories that are missing and adds them to `made`, also when it fails half way. */
export function makeDirectories(
  paths: KeyStorePaths,
  items: readonly KeyStoreItem[],
  made: string[] = [],
): ResultAsync<void, FileFailure> {
  const making = async (): Promise<Result<void, FileFailure>> => {
    for (const [directory, secret] of directoriesOf(paths, items)) {
      const result = await ensureDirectory(directory, secret ? 0o700 : 0o755);
      if (result.isErr()) return err(result.error);
      made.push(...result.value);
    }
    return ok(undefined);
  };
  return new ResultAsync(making());
}

/** What a change is going to replace, to be able to take it back; refuses what a rename could not replace. */
export async function contentsBefore(
  paths: KeyStorePaths,
  change: KeyChange,
): Promise<Result<KeyChange, FileFailure>> {
  const previous = new Map<KeyStoreItem, string | undefined>();
  for (const item of change.keys()) {
    const path = paths.items[item];
    const content = await requireReplaceable(path).andThen((present) =>
      attempt(path, 'read', () => (present ? regularContent(path) : Promise.resolve(undefined))),
    );
    if (content.isErr()) return err(content.error);
    previous.set(item, content.value);
  }
  return ok(previous);
}

async function regularContent(path: string): Promise<string | undefined> {
  const found = await unless(['ENOENT'], stat(path));
  return found?.isFile() === true ? readFile(path, 'utf8') : undefined;
}

/** Whether something is there. A link is fine: it is the link that is replaced. */
function requireReplaceable(path: string): ResultAsync<boolean, FileFailure> {
  return attempt(path, 'write', async () => {
    const found = await unless(['ENOENT'], lstat(path));
    if (found === undefined) return { present: false, obstacle: undefined };
    if (found.isDirectory()) return { present: true, obstacle: 'EISDIR' };
    if (found.isSymbolicLink()) return { present: true, obstacle: undefined };
    return { present: true, obstacle: found.isFile() ? await immutable(path) : 'EINVAL' };
  }).andThen(({ present, obstacle }) =>
    obstacle === undefined ? ok(present) : err(systemFailure(path, 'write', obstacle)),
  );
}

/** Missing write permission does not keep a file from being replaced, but an immutable file or file system does. */
async function immutable(path: string): Promise<string | undefined> {
  try {
    await access(path, constants.W_OK);
    return undefined;
  } catch (thrown) {
    const code = codeOf(thrown);
    return code === 'EPERM' || code === 'EROFS' ? code : undefined;
  }
}

/** Tries to write beside every one of these items and beside the journal, and removes what that made. */
export function probeWritable(
  paths: KeyStorePaths,
  items: readonly KeyStoreItem[],
): ResultAsync<void, FileFailure> {
  const probing = async (): Promise<Result<void, FileFailure>> => {
    const made: string[] = [];
    const result = await makeDirectories(paths, items, made).andThen(
      () => new ResultAsync(probe(paths, items)),
    );
    for (const directory of made.reverse()) await bestEffort(rmdir(directory));
    return result;
  };
  return new ResultAsync(probing());
}

async function probe(
  paths: KeyStorePaths,
  items: readonly KeyStoreItem[],
): Promise<Result<void, FileFailure>> {
  const staged: StagedFile[] = [];
  for (const path of [paths.journal, ...items.map((item) => paths.items[item])]) {
    const file = await requireReplaceable(path).andThen(() =>
      stage(path, new Uint8Array(PROBE_BYTES), 0o600),
    );
    if (file.isOk()) staged.push(file.value);
    else {
      await discard(staged);
      return err(file.error);
    }
  }
  await discard(staged);
  return ok(undefined);
}
