import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, lstat, open, stat } from 'node:fs/promises';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { failure } from '../../../domain/core/errors.js';
import type { KeyStoreItem } from '../../../ports/key-store.js';
import { bestEffort, codeOf, unless } from '../../shared/system-code.js';
import { attempt, type FileFailure, systemFailure } from '../system-failure.js';
import { type KeyChange, type KeyStorePaths, parseJournal } from './journal.js';
import { isKey } from './targets.js';

/** One look at several items: their contents, or why it has to be repeated. */
export type KeySnapshot = { readonly contents: KeyChange } | { readonly again: 'changed' | 'journal' };

/** An open file, or that there was none. As long as it is open, no other file can have its inode number. */
interface Seen {
  readonly path: string;
  readonly links: boolean;
  readonly open: { readonly handle: FileHandle; readonly stats: BigIntStats } | undefined;
}

/**
 * Reads items without a lock and without writing. It opens all files, reads them, and then verifies that the journal and
 * every path are still the files that were opened. So there was a moment at which all of this was true at once; a
 * change in progress shows as a journal, or as a file that is another one now. What is missing is verified first: a
 * change that removes it and is still in progress is seen by the journal, and one that has ended by the other files.
 *
 * With `throughJournal` a committed change that nobody has completed yet is read from its journal.
 */
export function snapshot(
  paths: KeyStorePaths,
  items: readonly KeyStoreItem[],
  throughJournal: boolean,
): ResultAsync<KeySnapshot, FileFailure> {
  const opened: Seen[] = [];
  return new ResultAsync(look(paths, items, throughJournal, opened).finally(() => closeAll(opened)));
}

async function look(
  paths: KeyStorePaths,
  items: readonly KeyStoreItem[],
  throughJournal: boolean,
  opened: Seen[],
): Promise<Result<KeySnapshot, FileFailure>> {
  const journal = await see(paths.journal, false, opened);
  if (journal.isErr()) return unreadableJournal(paths, journal.error);
  if (journal.value.open !== undefined && !throughJournal) return ok({ again: 'journal' });
  const pending = await pendingChange(paths, journal.value);
  if (pending.isErr()) return err(pending.error);

  const contents = new Map<KeyStoreItem, string | undefined>();
  for (const item of items) {
    if (pending.value.has(item)) {
      contents.set(item, pending.value.get(item));
      continue;
    }
    const text = await readItem(paths, item, opened);
    if (text.isErr()) return err(text.error);
    contents.set(item, text.value);
  }

  for (const seen of missingFirst(opened, paths.journal)) {
    const same = await isStillThere(seen);
    if (same.isErr()) return err(same.error);
    if (!same.value) return ok({ again: 'changed' });
  }
  return ok({ contents });
}

const missingFirst = (opened: readonly Seen[], journal: string): readonly Seen[] => {
  const rank = ({ path, open: file }: Seen) => (path === journal ? 1 : file === undefined ? 0 : 2);
  return [...opened].sort((a, b) => rank(a) - rank(b));
};

/** A journal that this user may not read is a change in progress, or an interrupted one that its owner has to complete. */
async function unreadableJournal(
  paths: KeyStorePaths,
  error: FileFailure,
): Promise<Result<KeySnapshot, FileFailure>> {
  if (error.reason !== 'EACCES') return err(error);
  const found = await attempt(paths.journal, 'read', () => unless(['ENOENT'], lstat(paths.journal)));
  return found.map((stats) => ({ again: stats === undefined ? 'changed' : 'journal' }));
}

async function pendingChange(paths: KeyStorePaths, journal: Seen): Promise<Result<KeyChange, FileFailure>> {
  const { open: file } = journal;
  if (file === undefined) return ok(new Map());
  return attempt(paths.journal, 'read', () => file.handle.readFile('utf8')).andThen((text) =>
    parseJournal(paths, text),
  );
}

/** What the journal holds; undefined when there is none. To be called inside the lock. */
export function readJournal(paths: KeyStorePaths): ResultAsync<KeyChange | undefined, FileFailure> {
  const opened: Seen[] = [];
  const reading = async (): Promise<Result<KeyChange | undefined, FileFailure>> => {
    const journal = await see(paths.journal, false, opened);
    if (journal.isErr()) return err(journal.error);
    return journal.value.open === undefined ? ok(undefined) : pendingChange(paths, journal.value);
  };
  return new ResultAsync(reading().finally(() => closeAll(opened)));
}

async function readItem(
  paths: KeyStorePaths,
  item: KeyStoreItem,
  opened: Seen[],
): Promise<Result<string | undefined, FileFailure>> {
  const path = paths.items[item];
  const seen = await see(path, !isKey(item), opened);
  if (seen.isErr()) return err(seen.error);
  const { open: file } = seen.value;
  if (file === undefined) return ok(undefined);
  if (file.stats.isDirectory()) return err(systemFailure(path, 'read', 'EISDIR'));
  if (!file.stats.isFile()) return err(systemFailure(path, 'read', 'EINVAL', 'not a regular file'));
  const mode = Number(file.stats.mode & 0o777n);
  // defence: key-file-is-private
  if (isKey(item) && (mode & 0o077) !== 0) {
    return err(refusal(path, `key file is accessible by others (mode ${octal(mode)}): chmod 600`));
  }
  return attempt(path, 'read', () => file.handle.readFile('utf8'));
}

/** Opens a path, without waiting for the other end of a pipe. */
async function see(path: string, links: boolean, opened: Seen[]): Promise<Result<Seen, FileFailure>> {
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | (links ? 0 : constants.O_NOFOLLOW);
  const seen = await ResultAsync.fromPromise(openOrAbsent(path, flags), (thrown) => {
    const code = codeOf(thrown);
    return code === 'ELOOP' && !links
      ? refusal(path, 'key file is a symbolic link: expected a regular file of mode 0600')
      : systemFailure(path, 'read', code);
  }).map((file): Seen => ({ path, links, open: file }));
  if (seen.isOk()) opened.push(seen.value);
  return seen;
}

async function closeAll(opened: readonly Seen[]): Promise<void> {
  for (const { open: file } of opened) if (file !== undefined) await bestEffort(file.handle.close());
}

async function openOrAbsent(path: string, flags: number): Promise<Seen['open']> {
  const handle = await unless(['ENOENT'], open(path, flags));
  if (handle === undefined) return undefined;
  try {
    return { handle, stats: await handle.stat({ bigint: true }) };
  } catch (thrown) {
    await bestEffort(handle.close());
    throw thrown;
  }
}

function isStillThere({ path, links, open: file }: Seen): ResultAsync<boolean, FileFailure> {
  return attempt(path, 'read', async () => {
    const now = await unless(['ENOENT'], (links ? stat : lstat)(path, { bigint: true }));
    return now?.ino === file?.stats.ino && now?.dev === file?.stats.dev;
  });
}

function refusal(path: string, reason: string): FileFailure {
  return failure('file_failed', `cannot read ${path}: ${reason}`, { path, operation: 'read', reason });
}

const octal = (mode: number) => `0${mode.toString(8)}`;
