import { unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { err, ok, type Result, type ResultAsync } from 'neverthrow';
import type { KeyStoreItem } from '../../../ports/key-store.js';
import { unless } from '../../shared/system-code.js';
import { replaceFile, syncDirectory } from '../atomic-write.js';
import { attempt, type FileFailure, systemFailure } from '../system-failure.js';

/** Where each item is kept, and the journal beside the state. All absolute. */
export interface KeyStorePaths {
  readonly items: Readonly<Record<KeyStoreItem, string>>;
  readonly journal: string;
}

/** The contents that a change gives its items; undefined: the item is removed. */
export type KeyChange = ReadonlyMap<KeyStoreItem, string | undefined>;

const FORMAT = 1;

/**
 * Writes the journal: from the moment it is there the change holds, whatever happens to the process. It holds keys, so
 * only its owner may read it.
 */
export function commitJournal(paths: KeyStorePaths, change: KeyChange): ResultAsync<void, FileFailure> {
  const items = Object.fromEntries([...change].map(([item, text]) => [item, text ?? null]));
  return replaceFile(
    paths.journal,
    new TextEncoder().encode(JSON.stringify({ format: FORMAT, items })),
    0o600,
  );
}

export function dropJournal(paths: KeyStorePaths): ResultAsync<void, FileFailure> {
  return attempt(paths.journal, 'remove', () => unless(['ENOENT'], unlink(paths.journal))).andThen(() =>
    syncDirectory(dirname(paths.journal)),
  );
}

/** What a journal says. It is written in one piece: one that cannot be understood was damaged or is of a later version. */
export function parseJournal(paths: KeyStorePaths, text: string): Result<KeyChange, FileFailure> {
  const items = entriesOf(text)?.map(([item, value]) => [item, value ?? undefined] as const);
  const understood = items?.every(
    (entry): entry is readonly [KeyStoreItem, string | undefined] =>
      Object.hasOwn(paths.items, entry[0]) && (entry[1] === undefined || typeof entry[1] === 'string'),
  );
  return items !== undefined && understood === true
    ? ok(new Map(items as readonly (readonly [KeyStoreItem, string | undefined])[]))
    : err(
        systemFailure(
          paths.journal,
          'read',
          'EBADMSG',
          'the journal of an interrupted change is damaged: restore the keys and certificates from a backup, then remove it',
        ),
      );
}

function entriesOf(text: string): [string, unknown][] | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed !== 'object' || parsed === null || !('format' in parsed) || !('items' in parsed))
      return undefined;
    if (parsed.format !== FORMAT || typeof parsed.items !== 'object' || parsed.items === null)
      return undefined;
    return Object.entries(parsed.items);
  } catch {
    return undefined;
  }
}
