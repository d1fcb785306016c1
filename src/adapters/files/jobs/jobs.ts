import { readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import {
  type Job,
  type JobHeader,
  type JobKey,
  type JobStart,
  type JobState,
  type Jobs,
  jobCapacity,
} from '../../../ports/jobs.js';
import type { ProcessRunner, Program } from '../../../ports/process-runner.js';
import { bestEffort, codeOf } from '../../shared/system-code.js';
import { removeAbandoned } from '../../shared/temporary.js';
import { discard, ensureDirectory, place, stage, syncDirectory } from '../atomic-write.js';
import { digestOf } from '../digest.js';
import { holdLock, type Release } from '../held-lock.js';
import { attempt, type FileFailure, systemFailure } from '../system-failure.js';
import { endOf, type JobEnd, lost, wentDown } from './ends.js';
import { encodeJob, readState, readSummary } from './records.js';

export interface FileJobsOptions {
  /** Made, 0700, when it is missing. */
  readonly directory: string;
  /** What executes the programs, in this process. */
  readonly runner: ProcessRunner;
  readonly capacity?: number;
  /** Epoch milliseconds of an end. Default: the system's clock. */
  readonly now?: () => number;
  /** Milliseconds that `close` waits for what it has told to end; 6,000, more than the runner has patience. */
  readonly patience?: number;
}

/** A job as it is kept in memory: what is known of its end is in its file, unless that could not be written. */
interface Kept {
  readonly header: JobHeader;
  status: JobState['status'];
  finishedAt: number;
  unwritten: JobState | undefined;
  readonly cancel: AbortController;
  ended: Promise<void>;
}

const recordName = /^[0-9a-f]{32}\.job$/;
const nameOf = ({ owner, reqid }: JobKey): string =>
  `${Buffer.from(digestOf(owner, reqid), 'latin1').toString('hex')}.job`;

/**
 * Jobs that run in this process and end with it, each recorded in a file of its own, 0600, synced before it is started and
 * when it has ended. In one point the contract of the port does not hold: nothing watches over a job when this process has
 * ended. What ran is `lost` for the next one, and its key is never started again.
 *
 * `close` tells what runs to end, waits for that, and records it as `lost` with its output, unless it chose an exit code
 * of its own. What goes on although it was told to end is `running` until it has ended. Where an end cannot be written (a
 * full disk) this process still tells it; for the next one the job is `lost`.
 *
 * Opened by the first call, then held by the lock `jobs.lock` until `close` or the end of the process; a second process
 * waits 5 s and fails with reason `ELOCKED`.
 */
export const fileJobs = (options: FileJobsOptions): Jobs => {
  const { directory } = options;
  let opened: ResultAsync<OpenJobs, FileFailure> | undefined;
  let closing = false;
  const open = (): ResultAsync<OpenJobs, FileFailure> => {
    if (closing && opened === undefined) return closedJobs(directory);
    opened ??= ensureDirectory(directory, 0o700)
      .andThen(() => holdLock(join(directory, 'jobs.lock')))
      .andThen((release) => openJobs(options, release).orTee(release))
      .orTee(() => {
        opened = undefined;
      });
    return opened;
  };
  return {
    start: ({ program, concurrency, ...header }) =>
      open().andThen((jobs) =>
        closing ? closedJobs(directory) : new ResultAsync(jobs.start(header, program, concurrency)),
      ),
    find: (key) => open().andThen((jobs) => ResultAsync.fromSafePromise(jobs.find(key))),
    running: () => open().map((jobs) => jobs.running()),
    wait: (key, signal) => open().andThen((jobs) => ResultAsync.fromSafePromise(jobs.wait(key, signal))),
    cancel: (key) => open().map((jobs) => jobs.cancel(key)),
    purge: (finishedBefore) => open().andThen((jobs) => jobs.purge(finishedBefore)),
    close: async () => {
      closing = true;
      const jobs = await opened;
      if (jobs?.isOk()) await jobs.value.close();
    },
  };
};

const closedJobs = (directory: string): ResultAsync<never, FileFailure> =>
  new ResultAsync(Promise.resolve(err(systemFailure(directory, 'write', 'EBADF', 'it was closed'))));

interface OpenJobs {
  start(
    header: JobHeader,
    program: Program,
    concurrency: number | undefined,
  ): Promise<Result<JobStart, FileFailure>>;
  find(key: JobKey): Promise<Job | undefined>;
  running(): readonly JobHeader[];
  wait(key: JobKey, signal?: AbortSignal): Promise<Job | undefined>;
  cancel(key: JobKey): 'cancelling' | 'ended' | 'unknown';
  purge(finishedBefore: number): ResultAsync<number, FileFailure>;
  close(): Promise<void>;
}

function openJobs(options: FileJobsOptions, release: Release): ResultAsync<OpenJobs, FileFailure> {
  const { directory, now = Date.now } = options;
  const shelf = new Map<string, Kept | 'damaged'>();
  return attempt(directory, 'read', async () => {
    await removeAbandoned(directory);
    for (const name of await readdir(directory)) {
      if (!recordName.test(name)) continue;
      const found = await readSummary(join(directory, name)).catch(() => undefined);
      if (found === undefined || nameOf(found.header) !== name) {
        shelf.set(name, 'damaged');
        continue;
      }
      const { header, status, finishedAt } = found;
      const kept: Kept = {
        ...{ header, status, finishedAt, unwritten: undefined },
        ...{ cancel: new AbortController(), ended: Promise.resolve() },
      };
      if (status === 'running') await conclude(directory, kept, lost(wentDown, now()));
      shelf.set(name, kept);
    }
  }).map(() => jobsOn(shelf, options, release));
}

/** Writes a record whole, durably. */
const write = (directory: string, header: JobHeader, state: JobState): ResultAsync<void, FileFailure> =>
  stage(join(directory, nameOf(header)), encodeJob(header, state), 0o600)
    .andThen((staged) => place(staged).orTee(() => discard([staged])))
    .andThen(() => syncDirectory(directory));

/** Records an end; one that cannot be recorded is kept in memory. */
async function conclude(directory: string, kept: Kept, state: JobEnd) {
  const written = await write(directory, kept.header, state);
  kept.unwritten = written.isOk() ? undefined : state;
  kept.finishedAt = state.finishedAt;
  kept.status = state.status;
}

function jobsOn(
  shelf: Map<string, Kept | 'damaged'>,
  { directory, runner, capacity = jobCapacity, now = Date.now, patience = 6_000 }: FileJobsOptions,
  release: Release,
): OpenJobs {
  const stopping = new AbortController();
  const waiters = new Set<() => void>();
  let closed = false;
  let closing: Promise<void> | undefined;
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(work);
    last = next.catch(() => undefined);
    return next;
  };

  const living = (): Kept[] =>
    [...shelf.values()].filter((each): each is Kept => each !== 'damaged' && each.status === 'running');

  const jobOf = async (name: string, key: JobKey): Promise<Job | undefined> => {
    const kept = shelf.get(name);
    if (kept === undefined) return undefined;
    const damaged = lost('its record is damaged', now());
    if (kept === 'damaged')
      return { owner: key.owner, reqid: key.reqid, script: '', startedAt: 0, ...damaged };
    if (kept.status === 'running') return { ...kept.header, status: kept.status };
    if (kept.unwritten !== undefined) return { ...kept.header, ...kept.unwritten };
    const read = await readState(join(directory, name)).catch(() => undefined);
    return { ...kept.header, ...(read ?? lost('its record is damaged', kept.finishedAt)) };
  };

  const follow = async (kept: Kept, program: Program): Promise<void> => {
    const { cancel } = kept;
    const outcome = await runner.run({ ...program, signal: cancel.signal });
    if (outcome.isOk()) await outcome.value.goesOn;
    // Whoever has come after this process, or after this agent in it, has found the job to be lost.
    if (closed) return;
    const why = !cancel.signal.aborted
      ? undefined
      : cancel.signal.reason === stopping.signal.reason
        ? 'stopped'
        : 'cancelled';
    await conclude(directory, kept, endOf(outcome, why, now()));
  };

  const start = async (
    header: JobHeader,
    program: Program,
    concurrency = 1,
  ): Promise<Result<JobStart, FileFailure>> => {
    const name = nameOf(header);
    const known = await jobOf(name, header);
    if (known !== undefined) return ok({ kind: 'known', job: known });
    const same = living().filter((each) => each.header.script === header.script);
    if (same[0] && same.length >= concurrency) return ok({ kind: 'busy', running: same[0].header });
    const own = [...shelf.values()].filter(
      (each) => each !== 'damaged' && each.header.owner === header.owner,
    );
    if (shelf.size >= capacity || own.length >= capacity / 2) return ok({ kind: 'full' });
    const recorded = await write(directory, header, { status: 'running' });
    if (recorded.isErr()) {
      // It may have its name without being synced.
      await bestEffort(unlink(join(directory, name)));
      return err(recorded.error);
    }
    const kept: Kept = {
      ...{ header, status: 'running', finishedAt: 0, unwritten: undefined },
      ...{ cancel: new AbortController(), ended: Promise.resolve() },
    };
    shelf.set(name, kept);
    if (stopping.signal.aborted) kept.cancel.abort(stopping.signal.reason);
    kept.ended = follow(kept, program);
    return ok({ kind: 'accepted' });
  };

  /** Resolves when one of these happens first: its end, the signal, `close`. */
  const over = ({ ended }: Kept, signal: AbortSignal | undefined): Promise<void> =>
    new Promise((resolve) => {
      const done = () => {
        waiters.delete(done);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      waiters.add(done);
      signal?.addEventListener('abort', done);
      if (closed || signal?.aborted) done();
      void ended.then(done);
    });

  const close = async (): Promise<void> => {
    stopping.abort();
    await last;
    for (const { cancel } of living()) cancel.abort(stopping.signal.reason);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, patience);
    });
    await Promise.race([Promise.all(living().map(({ ended }) => ended)), late]);
    clearTimeout(timer);
    closed = true;
    for (const done of waiters) done();
    await release();
  };

  return {
    start: (header, program, concurrency) => inTurn(() => start(header, program, concurrency)),
    find: (key) => jobOf(nameOf(key), key),
    running: () =>
      living()
        .map(({ header }) => header)
        .sort((one, other) => one.startedAt - other.startedAt),
    async wait(key, signal) {
      const kept = shelf.get(nameOf(key));
      if (kept !== undefined && kept !== 'damaged') await over(kept, signal);
      return jobOf(nameOf(key), key);
    },
    cancel(key) {
      const kept = shelf.get(nameOf(key));
      if (kept === undefined) return 'unknown';
      if (kept === 'damaged' || kept.status !== 'running') return 'ended';
      kept.cancel.abort();
      return 'cancelling';
    },
    purge: (finishedBefore) =>
      attempt(directory, 'clear up', async () => {
        let purged = 0;
        for (const [name, kept] of shelf) {
          if (kept === 'damaged' || kept.status === 'running' || kept.finishedAt >= finishedBefore) continue;
          await unlink(join(directory, name)).catch((thrown: unknown) => {
            if (codeOf(thrown) !== 'ENOENT') throw thrown;
          });
          shelf.delete(name);
          purged += 1;
        }
        return purged;
      }),
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}
