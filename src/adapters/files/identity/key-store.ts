import { lstat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { failure } from '../../../domain/core/errors.js';
import type { KeyStore, KeyStoreChange, KeyStoreContents, KeyStoreItem } from '../../../ports/key-store.js';
import { unless } from '../../shared/system-code.js';
import { withLock } from '../lock.js';
import { attempt, type FileFailure, systemFailure } from '../system-failure.js';
import type { KeyChange, KeyStorePaths } from './journal.js';
import { snapshot } from './reading.js';
import { makeDirectories, probeWritable, writtenItems } from './targets.js';
import { recover, writeChange } from './writing.js';

const PATIENCE_MILLISECONDS = 5000;
const LOCK_AFTER_ATTEMPTS = 4;

/**
 * Keeps each item in a file of its own: keys 0600, certificates and lists 0644. Directories that are missing are made by
 * `replace` for what it writes, those that hold keys or the journal 0700. For one machine at a time: not on a directory that several share.
 *
 * A change of several items is committed by writing `journal`, carried out by renames and removals, and ended by removing
 * the journal;
 * what finds the journal of a crashed process completes it. Writers exclude each other by the lock `<journal>.lock`; they
 * wait 5 s, then fail with reason `ELOCKED`. Reading needs no lock and no write permission. A key file that others may
 * access, or that is a symbolic link, is not read.
 */
export const fileKeyStore = <Item extends KeyStoreItem>(options: {
  paths: Readonly<Record<Item, string>>;
  /** Path of the journal file, in the state directory. */
  journal: string;
}): KeyStore<Item> => {
  const paths: KeyStorePaths = {
    // Nobody can ask for an item that has no place.
    items: mapPaths(options.paths as Record<KeyStoreItem, string>),
    journal: resolve(options.journal),
  };
  const lock = `${paths.journal}.lock`;

  return {
    read: (items) => new ResultAsync(readConsistently(paths, lock, items)),
    replace: (change, settings) => {
      const items = entriesOf(change);
      if (items.size === 0) return new ResultAsync(Promise.resolve(ok(undefined)));
      return makeDirectories(paths, writtenItems(items)).andThen(() =>
        withLock(lock, () =>
          recover(paths)
            .andThen(() => (settings?.onlyIfAbsent === true ? requireAbsent(paths, items) : ok(undefined)))
            .andThen(() => writeChange(paths, items)),
        ),
      );
    },
    location: (item) => paths.items[item],
    paths: () => [...new Set([paths.journal, ...Object.values(paths.items)])],
    checkWritable: (items) => probeWritable(paths, items),
  };
};

function mapPaths(paths: Readonly<Record<KeyStoreItem, string>>): Readonly<Record<KeyStoreItem, string>> {
  const absolute = { ...paths };
  for (const item of Object.keys(paths) as KeyStoreItem[]) absolute[item] = resolve(paths[item]);
  return absolute;
}

function entriesOf(change: KeyStoreChange): KeyChange {
  const items = new Map<KeyStoreItem, string | undefined>();
  for (const item of Object.keys(change) as KeyStoreItem[]) {
    const text = change[item];
    if (text !== undefined) items.set(item, text ?? undefined);
  }
  return items;
}

/** Looks until nothing changed meanwhile; completes what a crashed process left, or where it may not, reads around it. */
async function readConsistently<I extends KeyStoreItem>(
  paths: KeyStorePaths,
  lock: string,
  items: readonly I[],
): Promise<Result<KeyStoreContents<I>, FileFailure>> {
  const deadline = performance.now() + PATIENCE_MILLISECONDS;
  let mayLock = true;
  for (let attempts = 1; ; attempts += 1) {
    const seen = await snapshot(paths, items, !mayLock);
    if (seen.isErr()) return err(seen.error);
    if ('contents' in seen.value) return ok(contentsOf(items, seen.value.contents));
    if (mayLock && (seen.value.again === 'journal' || attempts >= LOCK_AFTER_ATTEMPTS)) {
      const alone = await withLock(lock, () => recover(paths).andThen(() => snapshot(paths, items, false)));
      if (alone.isOk() && 'contents' in alone.value) return ok(contentsOf(items, alone.value.contents));
      mayLock = alone.isOk();
    } else if (performance.now() > deadline) {
      return err(
        systemFailure(
          paths.journal,
          'read',
          'ELOCKED',
          'a change by another process is not coming to its end',
        ),
      );
    } else {
      await delay(Math.min(attempts, 20));
    }
  }
}

function contentsOf<I extends KeyStoreItem>(items: readonly I[], found: KeyChange): KeyStoreContents<I> {
  return Object.fromEntries(items.map((item) => [item, found.get(item)])) as KeyStoreContents<I>;
}

function requireAbsent(paths: KeyStorePaths, change: KeyChange) {
  return ResultAsync.combine(
    writtenItems(change).map((item) => {
      const path = paths.items[item];
      return attempt(path, 'inspect', () => unless(['ENOENT'], lstat(path))).andThen((found) => {
        if (found === undefined) return ok(undefined);
        const reason = `${item} already exists: ${path}`;
        return err(failure('identity_exists', `${reason}; it is not overwritten`, { reason }));
      });
    }),
  ).map(() => undefined);
}
