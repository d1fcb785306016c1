import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { HostResult } from '../../../domain/runs/host-result.js';
import type { Clock } from '../../../ports/clock.js';
import type { OutputPiece } from './following.js';
import type { Run, RunRequest } from './run.js';

/** What happens in a run, in the order in which it is learnt. */
export type RunEvent =
  | { readonly kind: 'begin'; readonly reqid: string }
  /** Nothing of it is authenticated before the host's result is there: see `RunRequest.onOutput`. */
  | ({ readonly kind: 'output' } & OutputPiece)
  | { readonly kind: 'result'; readonly result: HostResult }
  | { readonly kind: 'end'; readonly run: Run };

/** A run whose events are told instead. */
export type StreamRequest = Omit<RunRequest, 'onBegin' | 'onOutput' | 'onResult'>;

/**
 * A run that can be followed by one loop; it goes on whether it is followed or not, and was begun when this was given. Of each
 * host one piece of output waits until it is taken, and the script with it. A loop that is left, or takes nothing for 20 s although
 * something waits, follows no more: it ends without `end`, and the run goes on.
 */
export interface FollowedRun extends AsyncIterable<RunEvent> {
  /** How it ended, as `run` gives it. What is expected to fail is told here alone: the loop ends without `end` then. */
  readonly outcome: ResultAsync<Run, CtrlExecError>;
}

/** Milliseconds for which a reader may take nothing: an agent bears little more. */
const readerPatience = 20_000;

const over = { done: true, value: undefined } as const;

interface Reader {
  readonly resolve: (next: IteratorResult<RunEvent>) => void;
  readonly reject: (bug: unknown) => void;
}

type Callbacks = Required<Pick<RunRequest, 'onBegin' | 'onOutput' | 'onResult'>>;

/**
 * @param start begins the run; it is given the callbacks once there is a clock
 * @param signal that of the run: output that nobody has taken is not waited for any more
 */
export function follow(
  start: (callbacks: (clock: Clock) => Callbacks) => ResultAsync<Run, CtrlExecError>,
  signal: AbortSignal | undefined,
): FollowedRun {
  /** `taken` is what a script waits for. */
  const waiting: { readonly event: RunEvent; readonly taken?: (() => void) | undefined }[] = [];
  const readers: Reader[] = [];
  let following = true;
  let holdsBack = true;
  let bug: { readonly thrown: unknown } | undefined;
  let cancelPatience = () => {};
  let patience = () => {};

  const letGo = () => {
    holdsBack = false;
    cancelPatience();
    for (const { taken } of waiting) taken?.();
  };
  const endReaders = () => {
    for (const { resolve, reject } of readers.splice(0)) bug ? reject(bug.thrown) : resolve(over);
  };
  const leave = () => {
    following = false;
    letGo();
    waiting.length = 0;
    endReaders();
  };
  const tell = (event: RunEvent, taken?: () => void) => {
    const reader = readers.shift();
    if (!reader && following) {
      const isFirst = !waiting.some((each) => each.taken);
      waiting.push({ event, taken });
      if (taken && isFirst) patience();
      return;
    }
    taken?.();
    reader?.resolve({ done: false, value: event });
  };
  const ended = () => {
    letGo();
    signal?.removeEventListener('abort', letGo);
    following = false;
    endReaders();
  };

  const outcome = start((clock) => {
    patience = () => {
      cancelPatience();
      if (holdsBack) cancelPatience = clock.after(readerPatience, leave);
    };
    return {
      onBegin: (reqid) => tell({ kind: 'begin', reqid }),
      onResult: (result) => tell({ kind: 'result', result }),
      onOutput: (piece) =>
        holdsBack ? new Promise<void>((taken) => tell({ kind: 'output', ...piece }, taken)) : undefined,
    };
  });
  if (signal?.aborted) letGo();
  signal?.addEventListener('abort', letGo);
  outcome.then(
    (result) => {
      if (result.isOk()) tell({ kind: 'end', run: result.value });
      ended();
    },
    (thrown: unknown) => {
      bug = { thrown };
      ended();
    },
  );

  const iterator: AsyncIterator<RunEvent> = {
    next: async () => {
      const first = waiting.shift();
      if (first) {
        first.taken?.();
        if (waiting.some(({ taken }) => taken)) patience();
        else cancelPatience();
        return { done: false, value: first.event };
      }
      if (bug) throw bug.thrown;
      if (!following) return over;
      return new Promise((resolve, reject) => readers.push({ resolve, reject }));
    },
    return: async () => {
      leave();
      return over;
    },
  };
  return { outcome, [Symbol.asyncIterator]: () => iterator };
}
