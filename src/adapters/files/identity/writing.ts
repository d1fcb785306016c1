import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { removeAbandoned } from '../../shared/temporary.js';
import type { FileFailure } from '../system-failure.js';
import { commitJournal, dropJournal, type KeyChange, type KeyStorePaths } from './journal.js';
import { readJournal } from './reading.js';
import { carryOut, discardSteps, type Step, stageAll, syncAll } from './steps.js';
import { contentsBefore, directoriesOf, makeDirectories, writtenItems } from './targets.js';

/**
 * Writes all of a change or, with an Err, none of it. Runs inside the lock, after `recover`. All files are complete and
 * synced beside their places before the change is committed, so that a full disk is noticed in time.
 */
export function writeChange(paths: KeyStorePaths, change: KeyChange): ResultAsync<void, FileFailure> {
  return new ResultAsync(write(paths, change));
}

async function write(paths: KeyStorePaths, change: KeyChange): Promise<Result<void, FileFailure>> {
  for (const directory of directoriesOf(paths, [...change.keys()]).keys()) await removeAbandoned(directory);
  const previous = await contentsBefore(paths, change);
  if (previous.isErr()) return err(previous.error);
  const steps = await stageAll(paths, change);
  if (steps.isErr()) return err(steps.error);
  return change.size === 1 ? writeOne(steps.value) : writeSeveral(paths, change, previous.value, steps.value);
}

/** One rename or removal needs no journal: it happens or does not. */
async function writeOne(steps: readonly Step[]): Promise<Result<void, FileFailure>> {
  const { failed } = await carryOut(steps);
  if (failed === undefined) return syncAll(steps);
  await discardSteps(steps);
  return err(failed);
}

async function writeSeveral(
  paths: KeyStorePaths,
  change: KeyChange,
  previous: KeyChange,
  steps: readonly Step[],
): Promise<Result<void, FileFailure>> {
  const committed = await commitJournal(paths, change);
  if (committed.isErr()) {
    await discardSteps(steps);
    return withdraw(paths, committed.error);
  }
  const { done, failed } = await carryOut(steps);
  if (failed !== undefined) {
    await discardSteps(steps);
    return done.length === 0 ? withdraw(paths, failed) : takeBack(paths, previous, done, failed);
  }
  // Committed, and every path has its new content: what fails from here on leaves at worst a journal that says the same.
  const synced = await syncAll(steps);
  if (synced.isOk()) await dropJournal(paths);
  return ok(undefined);
}

/** Completes the change that the journal holds, if there is one. Runs inside the lock. */
export function recover(paths: KeyStorePaths): ResultAsync<void, FileFailure> {
  return new ResultAsync(complete(paths));
}

async function complete(paths: KeyStorePaths): Promise<Result<void, FileFailure>> {
  const change = await readJournal(paths);
  if (change.isErr()) return err(change.error);
  if (change.value === undefined) return ok(undefined);
  // What the crashed process had staged: copies of the keys, too.
  for (const directory of directoriesOf(paths, [...change.value.keys()]).keys())
    await removeAbandoned(directory);
  const steps = await makeDirectories(paths, writtenItems(change.value)).andThen(
    () => new ResultAsync(stageAll(paths, change.value ?? new Map())),
  );
  if (steps.isErr()) return err(steps.error);
  const { failed } = await carryOut(steps.value);
  if (failed !== undefined) {
    await discardSteps(steps.value);
    return err(failed);
  }
  return syncAll(steps.value).andThen(() => dropJournal(paths));
}

/** Takes a commit back of which nothing was carried out. Where its journal cannot be removed, the change is in force. */
async function withdraw(paths: KeyStorePaths, failed: FileFailure): Promise<Result<void, FileFailure>> {
  await dropJournal(paths);
  const left = await readJournal(paths);
  return left.isOk() && left.value !== undefined ? ok(undefined) : err(failed);
}

/**
 * Undoes what was carried out of a committed change, by a journal of its own that takes the place of the first. Where that
 * cannot be written the change stays committed, every reading shows it, and Ok is the truthful answer.
 */
async function takeBack(
  paths: KeyStorePaths,
  previous: KeyChange,
  done: readonly Step[],
  failed: FileFailure,
): Promise<Result<void, FileFailure>> {
  await commitJournal(paths, new Map(done.map(({ item }) => [item, previous.get(item)] as const)));
  const inForce = await readJournal(paths);
  // The undoing is the shorter of the two: the step that failed is not in it.
  if (inForce.isOk() && inForce.value?.size === previous.size) return ok(undefined);
  await complete(paths);
  return err(failed);
}
