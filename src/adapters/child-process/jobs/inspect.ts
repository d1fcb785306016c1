import { lstat } from 'node:fs/promises';
import { join } from 'node:path';

import {
  endedWithMachine,
  isThere,
  ownIdentity,
  type ProcessIdentity,
  sameProcess,
} from '../../shared/process-identity.js';
import { fileNames, unlessMissing, writeOnce } from './layout.js';
import {
  type EndRecord,
  encode,
  type JobRecord,
  readEnd,
  readProgram,
  readWatcher,
  unfinished,
  type WatcherRecord,
} from './records.js';
import { endSurvivors } from './survivors.js';

/** Milliseconds without a sign of life after which a watcher that cannot be seen from here is taken to be gone. */
const lifeTime = 60_000;

/** Directories of jobs that this process is about to start a watcher for, and how many of its parts believe to be at it. */
const starting = new Map<string, number>();

/** Says so; the returned function takes it back, once. */
export const announceStart = (directory: string): (() => void) => {
  starting.set(directory, (starting.get(directory) ?? 0) + 1);
  let taken = false;
  return () => {
    if (taken) return;
    taken = true;
    const left = (starting.get(directory) ?? 1) - 1;
    if (left === 0) starting.delete(directory);
    else starting.set(directory, left);
  };
};

/** Writes the record by which nobody will run the job any more; false: somebody has taken it over. */
export const giveUp = (directory: string): Promise<boolean> =>
  writeOnce(join(directory, fileNames.watcher), encode({ watcher: 'nobody' }));

type Loss = { readonly kind: 'running' } | { readonly kind: 'lost'; readonly reason: string };

const running: Loss = { kind: 'running' };
const lost = (reason: string): Loss => ({ kind: 'lost', reason });

const isStarting = (directory: string, starter: ProcessIdentity): boolean =>
  sameProcess(starter, ownIdentity()) ? starting.has(directory) : isThere(starter) === 'yes';

const beforeWatcher = async (directory: string, job: JobRecord): Promise<Loss> => {
  if (isStarting(directory, job.starter)) return running;
  if (!(await giveUp(directory))) return running;
  return lost('it was not started: the agent went down before');
};

const showsLife = async (directory: string): Promise<boolean> => {
  const status = await unlessMissing(lstat(join(directory, fileNames.watcher)));
  return status !== undefined && Math.abs(Date.now() - status.mtimeMs) < lifeTime;
};

const afterWatcher = async (directory: string, killAfter: number, ending: () => void): Promise<Loss> => {
  ending();
  const program = await readProgram(directory);
  const left = await endSurvivors(program === 'damaged' ? undefined : program, killAfter);
  return lost(`what watched over it was killed; ${left}`);
};

const lossOf = async (
  directory: string,
  job: JobRecord,
  watcher: WatcherRecord | 'damaged' | undefined,
  killAfter: number,
  ending: () => void,
): Promise<Loss> => {
  if (watcher === undefined) return beforeWatcher(directory, job);
  if (watcher === 'nobody') return lost('it was not started: the agent went down before');
  if (watcher === 'damaged') return lost('its record is damaged');
  switch (isThere(watcher)) {
    case 'yes':
      return running;
    case 'unknown':
      return (await showsLife(directory))
        ? running
        : lost('what watched over it is gone, in another container');
    case 'no':
      if (endedWithMachine(watcher)) return lost('the machine went down while it ran');
      // It may have recorded the end just before.
      return (await readEnd(directory)) === undefined ? afterWatcher(directory, killAfter, ending) : running;
  }
};

/**
 * How a job ended; undefined: it runs. One that is lost is recorded as such, where the disk has room for it. Where a
 * program has to be ended first that nobody watches over any more, `ending` is called, and it may take twice `killAfter`.
 */
export const inspect = async (
  directory: string,
  job: JobRecord,
  killAfter: number,
  ending: () => void,
): Promise<EndRecord | undefined> => {
  const watcher = await readWatcher(directory);
  const end = await readEnd(directory);
  if (end !== undefined && end !== 'damaged') return end;
  const loss =
    end === 'damaged'
      ? lost('the record of its end is damaged')
      : await lossOf(directory, job, watcher, killAfter, ending);
  if (loss.kind === 'running') {
    // A watcher that was dead when it was looked at has recorded an end before.
    const now = await readEnd(directory);
    return now === undefined || now === 'damaged' ? undefined : now;
  }
  const record: EndRecord = {
    status: 'lost',
    finishedAt: Date.now(),
    reason: loss.reason,
    stdout: await unfinished(directory, 'stdout', job.maxOutput),
    stderr: await unfinished(directory, 'stderr', job.maxOutput),
  };
  if (end !== 'damaged') await writeOnce(join(directory, fileNames.end), encode(record)).catch(() => false);
  return record;
};
