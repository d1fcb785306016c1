import { unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import type { KeyStoreItem } from '../../../ports/key-store.js';
import { unless } from '../../shared/system-code.js';
import { discard, place, type StagedFile, stage, syncDirectory } from '../atomic-write.js';
import { attempt, type FileFailure } from '../system-failure.js';
import type { KeyChange, KeyStorePaths } from './journal.js';
import { isKey } from './targets.js';

/** What is to happen to one item: a complete file to be put in place or, without one, its removal. */
export interface Step {
  readonly item: KeyStoreItem;
  readonly path: string;
  readonly file: StagedFile | undefined;
}

/** Writes every file of a change beside its place, or leaves none. */
export async function stageAll(
  paths: KeyStorePaths,
  change: KeyChange,
): Promise<Result<readonly Step[], FileFailure>> {
  const steps: Step[] = [];
  for (const [item, text] of change) {
    const path = paths.items[item];
    const file =
      text === undefined
        ? ok(undefined)
        : await stage(path, new TextEncoder().encode(text), isKey(item) ? 0o600 : 0o644);
    if (file.isErr()) {
      await discardSteps(steps);
      return err(file.error);
    }
    steps.push({ item, path, file: file.value });
  }
  return ok(steps);
}

/** Puts the files in their places and removes what is to go, one after the other, up to the first that fails. */
export async function carryOut(
  steps: readonly Step[],
): Promise<{ done: readonly Step[]; failed?: FileFailure }> {
  for (const [index, { path, file }] of steps.entries()) {
    const result =
      file === undefined
        ? await attempt(path, 'remove', () => unless(['ENOENT'], unlink(path)))
        : await place(file);
    if (result.isErr()) return { done: steps.slice(0, index), failed: result.error };
  }
  return { done: steps };
}

export const discardSteps = (steps: readonly Step[]) =>
  discard(steps.flatMap(({ file }) => (file === undefined ? [] : [file])));

export function syncAll(steps: readonly Step[]): ResultAsync<void, FileFailure> {
  const directories = new Set(steps.map(({ path }) => dirname(path)));
  const written = new Set(steps.flatMap(({ path, file }) => (file === undefined ? [] : [dirname(path)])));
  return ResultAsync.combine(
    [...directories].map((directory) =>
      syncDirectory(directory).orElse((failed) =>
        // What is to be removed may never have had a directory.
        failed.reason === 'ENOENT' && !written.has(directory) ? ok(undefined) : err(failed),
      ),
    ),
  ).map(() => undefined);
}
