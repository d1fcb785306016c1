import { setMaxListeners } from 'node:events';
import { ok, okAsync, ResultAsync } from 'neverthrow';
import {
  type Job,
  type JobHeader,
  type JobKey,
  type JobState,
  type Jobs,
  jobCapacity,
} from '../../ports/jobs.js';
import type { ProcessRunner } from '../../ports/process-runner.js';

interface Kept {
  readonly header: JobHeader;
  state: JobState;
  readonly cancel: AbortController;
  readonly ended: Promise<void>;
}

/** What outlives a store: hand it to the next one to play a restart. */
export type MemoryJobShelf = Map<string, Kept>;

export interface MemoryJobsOptions {
  /** What executes the programs. */
  readonly runner: ProcessRunner;
  readonly capacity?: number;
  /** Epoch milliseconds of an end. Default: the system's clock. */
  readonly now?: () => number;
  /** Default: an empty one. */
  readonly shelf?: MemoryJobShelf;
}

const keyOf = ({ owner, reqid }: JobKey): string => JSON.stringify([owner, reqid]);

const jobOf = ({ header, state }: Kept): Job => ({ ...header, ...state });

/** Jobs for as long as the process lives. Nothing here is ever `lost`. */
export const memoryJobs = (options: MemoryJobsOptions): Jobs => {
  const { runner, capacity = jobCapacity, now = Date.now, shelf = new Map<string, Kept>() } = options;
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);

  const running = (): Kept[] => [...shelf.values()].filter(({ state }) => state.status === 'running');

  return {
    start: ({ program, owner, reqid, script, startedAt, concurrency = 1 }) => {
      const header: JobHeader = { owner, reqid, script, startedAt };
      const known = shelf.get(keyOf(header));
      if (known !== undefined) return okAsync({ kind: 'known', job: jobOf(known) });
      const same = running().filter((each) => each.header.script === script);
      if (same[0] && same.length >= concurrency) return okAsync({ kind: 'busy', running: same[0].header });
      const own = [...shelf.values()].filter((each) => each.header.owner === owner);
      if (shelf.size >= capacity || own.length >= capacity / 2) return okAsync({ kind: 'full' });
      const cancel = new AbortController();
      const outcome = runner.run({ ...program, signal: cancel.signal });
      const ended = outcome
        .match(
          (result): JobState => ({
            status: result.stopped === 'cancelled' ? 'cancelled' : 'done',
            finishedAt: now(),
            result,
            outputLost: undefined,
          }),
          ({ reason }): JobState => ({
            status: cancel.signal.aborted ? 'cancelled' : 'done',
            finishedAt: now(),
            result: { notRun: reason },
            outputLost: undefined,
          }),
        )
        .then((state) => {
          kept.state = state;
        });
      const kept: Kept = { header, state: { status: 'running' }, cancel, ended };
      shelf.set(keyOf(header), kept);
      return okAsync({ kind: 'accepted' });
    },

    find: (key) => {
      const kept = shelf.get(keyOf(key));
      return okAsync(kept && jobOf(kept));
    },

    running: () =>
      okAsync(
        running()
          .map(({ header }) => header)
          .sort((one, other) => one.startedAt - other.startedAt),
      ),

    wait: (key, signal) => {
      const kept = shelf.get(keyOf(key));
      if (kept === undefined) return okAsync(undefined);
      const given = signal === undefined ? closing.signal : AbortSignal.any([closing.signal, signal]);
      let giveUp: () => void = () => undefined;
      const aborted = new Promise<void>((resolve) => {
        giveUp = resolve;
        if (given.aborted) resolve();
        given.addEventListener('abort', giveUp, { once: true });
      });
      return new ResultAsync(
        Promise.race([kept.ended, aborted]).then(() => {
          given.removeEventListener('abort', giveUp);
          return ok(jobOf(kept));
        }),
      );
    },

    cancel: (key) => {
      const kept = shelf.get(keyOf(key));
      if (kept === undefined) return okAsync('unknown');
      if (kept.state.status !== 'running') return okAsync('ended');
      kept.cancel.abort();
      return okAsync('cancelling');
    },

    purge: (finishedBefore) => {
      let purged = 0;
      for (const [key, { state }] of shelf) {
        if (state.status === 'running' || state.finishedAt >= finishedBefore) continue;
        shelf.delete(key);
        purged += 1;
      }
      return okAsync(purged);
    },

    close: async () => closing.abort(),
  };
};
