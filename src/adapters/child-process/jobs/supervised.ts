import { setMaxListeners } from 'node:events';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import {
  type Job,
  type JobHeader,
  type JobKey,
  type JobStart,
  type Jobs,
  jobCapacity,
} from '../../../ports/jobs.js';
import type { Program } from '../../../ports/process-runner.js';
import { ownIdentity } from '../../shared/process-identity.js';
import { later } from '../timer.js';
import { announceStart, giveUp } from './inspect.js';
import { launchWatcher } from './launch.js';
import {
  directoryName,
  fileFailed,
  fileNames,
  publish,
  removeWhole,
  unlessMissing,
  writeOnce,
} from './layout.js';
import { encode } from './records.js';
import { openShelf, type Shelf } from './shelf.js';

export interface SupervisedJobsOptions {
  /** Made, 0700, when it is missing. One agent at a time. */
  readonly directory: string;
  /** The program `job-supervisor`, as it was built. */
  readonly supervisor: string;
  /** The Node that runs it. Default: that of this process. */
  readonly node?: string;
  readonly capacity?: number;
  /** Milliseconds from SIGTERM to SIGKILL for what a killed watcher has left; 5,000. */
  readonly killAfter?: number;
  /** Milliseconds that a watcher may take to begin; 30,000. */
  readonly patience?: number;
}

type StartError = CtrlExecError<'file_failed' | 'spawn_failed'>;

/** Milliseconds between two looks at a job that is waited for, at first and at most; the end of a watcher of this process is noticed at once. */
const firstLook = 250;
const lookInterval = 2_000;

/** False: there is no such job any more. */
const requestCancel = async (job: string): Promise<boolean> => {
  const [room, cancel] = [join(job, fileNames.cancelRoom), join(job, fileNames.cancel)];
  if ((await unlessMissing(rename(room, cancel).then(() => true))) === true) return true;
  // It was asked for before, or nobody has taken the job yet.
  return (await unlessMissing(writeOnce(cancel, '').then(() => true))) === true;
};

/** One after the other. */
const serial = () => {
  let last: Promise<unknown> = Promise.resolve();
  return <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(work, work);
    last = next.catch(() => undefined);
    return next;
  };
};

/**
 * Jobs that are directories, each watched over by a process of its own (`job-supervisor`), which runs its program as
 * `childProcessRunner` does, but keeps the output in files: it needs the same memory whatever is printed. With systemd
 * the agent's unit needs `KillMode=process`.
 *
 * A job exists from the rename that gives its complete record its name, synced; who puts the one record `watcher` beside
 * it, a watcher or an agent that gives the job up, decides whether it runs. A process is known by its id, start
 * time and boot, so none is taken for a later one. A job whose watcher was killed is `lost` once what can be identified of
 * its program has been ended; what has moved to another session is left alone and named.
 *
 * On a full disk `start` fails with ENOSPC. The room for the record of an end is taken beforehand; where it cannot be
 * written all the same, the watcher tries for ten minutes, in which the job is `running`, and then it is `lost`. A loss that cannot
 * be recorded is found out anew each time. Two agents that share the directory by mistake run no key twice, and one
 * script once at a time: where both start it at the same moment, both may be told `busy`.
 */
export const supervisedJobs = (options: SupervisedJobsOptions): Jobs => {
  const { directory, capacity = jobCapacity, killAfter = 5_000, patience = 30_000 } = options;
  const watcher = { path: options.node ?? process.execPath, args: [options.supervisor] };
  const closing = new AbortController();
  // Any number of jobs may be waited for.
  setMaxListeners(0, closing.signal);
  const inTurn = serial();
  const launching = new Map<string, Promise<unknown>>();
  const exits = new Map<string, Promise<unknown>>();
  let opened: Promise<Shelf> | undefined;

  const shelf = (): Promise<Shelf> => {
    opened ??= openShelf(directory, killAfter).catch((thrown) => {
      opened = undefined;
      throw thrown;
    });
    return opened;
  };

  const files = <T>(operation: string, work: (shelf: Shelf) => Promise<T>) =>
    ResultAsync.fromPromise(
      shelf().then(work),
      (thrown): CtrlExecError<'file_failed'> => fileFailed(directory, operation, thrown),
    );

  const sameScript = async (on: Shelf, script: string, except?: string): Promise<JobHeader | undefined> =>
    (await on.running()).find((each) => each.script === script && directoryName(each) !== except);

  const withdraw = async (on: Shelf, name: string): Promise<void> => {
    await removeWhole(on.pathOf(name), on.aside());
    on.forget(name);
  };

  /** Records the job; undefined: it is recorded and may be started. */
  const record = async (on: Shelf, header: JobHeader, program: Program): Promise<JobStart | undefined> => {
    const name = directoryName(header);
    const known = async (): Promise<JobStart | undefined> => {
      const job = await on.job(header);
      return job && { kind: 'known', job };
    };
    await on.refresh();
    const before = await known();
    if (before !== undefined) return before;
    const running = await sameScript(on, header.script);
    if (running !== undefined) return { kind: 'busy', running };
    const { owner, reqid, script, startedAt } = header;
    const hasHalf = /* defence: half-of-jobs-for-others */ on.sizeOf(owner) >= capacity / 2;
    if (on.size() >= capacity || hasHalf) return { kind: 'full' };
    const text = encode({
      ...{ owner, reqid, script, startedAt },
      ...{ maxOutput: program.maxOutput, starter: ownIdentity() },
    });
    if (!(await publish(directory, name, on.aside(), fileNames.job, text))) {
      const other = await known();
      if (other !== undefined) return other;
      throw Object.assign(new Error('something else is in its place'), { code: 'EEXIST' });
    }
    await on.refresh();
    const other = await sameScript(on, script, name);
    if (other === undefined) return undefined;
    await withdraw(on, name);
    return { kind: 'busy', running: other };
  };

  const launch = async (on: Shelf, name: string, program: Program): Promise<Result<JobStart, StartError>> => {
    const path = on.pathOf(name);
    const { outcome, exit } = await launchWatcher(watcher, { directory: path, program }, patience);
    // One that says nothing may still have taken it.
    if (outcome === 'taken' || !(await giveUp(path).catch(() => true))) {
      exits.set(
        name,
        exit.finally(() => exits.delete(name)),
      );
      return ok({ kind: 'accepted' });
    }
    await withdraw(on, name);
    const reason = `nothing could be started to watch over it: ${outcome.failed}`;
    const about = { path: program.path, reason };
    return err(failure('spawn_failed', `${program.path} was not started: ${reason}`, about));
  };

  const start = async (header: JobHeader, program: Program): Promise<Result<JobStart, StartError>> => {
    const on = await shelf();
    const name = directoryName(header);
    for (;;) {
      const other = launching.get(name);
      if (other !== undefined) {
        await other;
        continue;
      }
      const done = announceStart(on.pathOf(name));
      const launched = inTurn(() => record(on, header, program))
        .then((answer) => (answer === undefined ? launch(on, name, program) : ok(answer)))
        .finally(done);
      launching.set(
        name,
        launched.then(
          () => launching.delete(name),
          () => launching.delete(name),
        ),
      );
      return launched;
    }
  };

  const waitFor = async (on: Shelf, key: JobKey, given: AbortSignal): Promise<Job | undefined> => {
    const name = directoryName(key);
    let wake: () => void = () => undefined;
    const onWake = (): void => wake();
    given.addEventListener('abort', onWake);
    // Once, and no race at every look: what is waited for may live for weeks, and would keep something of each.
    void exits.get(name)?.then(onWake, onWake);
    try {
      for (let interval = firstLook; ; interval = Math.min(interval * 1.5, lookInterval)) {
        const job = await on.job(key);
        if (job?.status !== 'running' || given.aborted) return job;
        await new Promise<void>((resolve) => {
          const cancel = later(interval, resolve);
          wake = () => {
            cancel();
            resolve();
          };
          if (given.aborted) wake();
        });
      }
    } finally {
      given.removeEventListener('abort', onWake);
    }
  };

  return {
    // Programs run one at a time of a script.
    start: ({ program, concurrency: _, ...header }) =>
      new ResultAsync(
        start(header, program).catch((thrown) => err(fileFailed(directory, 'record a job in', thrown))),
      ),
    find: (key) => files('read', (on) => on.job(key)),
    running: () =>
      files('read', async (on) => {
        await on.refresh();
        return on.running();
      }),
    wait: (key, signal) =>
      files('read', (on) =>
        waitFor(on, key, signal === undefined ? closing.signal : AbortSignal.any([closing.signal, signal])),
      ),
    cancel: (key) =>
      files('write', async (on) => {
        const name = directoryName(key);
        const job = await on.job(key);
        if (job === undefined) return 'unknown';
        if (job.status !== 'running') return 'ended';
        return (await requestCancel(on.pathOf(name))) ? 'cancelling' : 'unknown';
      }),
    purge: (finishedBefore) => files('clear up', (on) => inTurn(() => on.purge(finishedBefore))),
    close: async () => {
      closing.abort();
      await Promise.all(launching.values());
    },
  };
};
