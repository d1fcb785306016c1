import type { Jobs } from '../../../ports/jobs.js';
import type { RunJournal } from '../../../ports/run-journal.js';

/** A run that this process has begun, as long as it is under way. */
interface LiveRun {
  readonly cancel: AbortController;
  /** Its program has ended; it is being recorded. */
  ended: boolean;
}

/** A run as it counts against others of its script. */
export interface ActiveRun {
  /** By owner and request id; undefined: it is not known by one. */
  readonly name: string | undefined;
  readonly isAsync: boolean;
  /** It is among the jobs by now, which know better whether it goes on. */
  isJob: boolean;
}

/** A place among the runs that may be under way at a time. */
export interface Place {
  /** It counts as a run of this script until it is left. */
  runs(script: string, run: ActiveRun): void;
  /** It is left when this is settled, whatever `leave` says. */
  holdUntil(done: Promise<unknown>): void;
  leave(): void;
}

/** The runs of an agent that serves. */
export interface Runs {
  /** What makes a request id run at most once. */
  readonly journal: RunJournal;
  /** The async ones, which outlive the agent. */
  readonly jobs: Jobs;
  /** Aborted when the agent stops and has waited long enough: it ends what is not async. */
  readonly stopping: AbortController;
  /** Calls back when `stopping` is aborted; returns what takes that back. Many runs at one signal would be a warning of Node. */
  onStopping(callback: () => void): () => void;
  /** The agent stops: nothing is begun any more. */
  closing: boolean;
  /** When the journal was last rid of what is too old, epoch milliseconds. */
  purgedAt: number | undefined;
  /** By owner and request id. */
  readonly live: Map<string, LiveRun>;
  /** To be cancelled as soon as their beginning is recorded. */
  readonly doomed: Set<string>;
  /** What runs of a script, or is about to. */
  active(script: string): readonly ActiveRun[];
  /** Settled when the jobs that an agent of before has left are among them. */
  adopted: Promise<void>;
  /** Places that are taken. */
  taken(): number;
  /**
   * Takes a place; undefined: there is none.
   * @param most places of this owner, of `limit` in all
   */
  take(owner: string, most: number, limit: number): Place | undefined;
  /** Takes a place for what runs already, whether there is one or not. */
  occupy(owner: string): Place;
  /** Keeps the agent from being closed before this is settled. */
  track(run: Promise<unknown>): void;
  /** Resolves when everything that is tracked is settled. */
  settled(): Promise<void>;
}

export const liveKey = (owner: string, reqid: string): string => `${owner} ${reqid}`;

export function runsOf(journal: RunJournal, jobs: Jobs): Runs {
  const held = new Map<string, number>();
  const tracked = new Set<Promise<unknown>>();
  const stopping = new AbortController();
  const endings = new Set<() => void>();
  stopping.signal.addEventListener('abort', () => {
    for (const end of endings) end();
  });
  const active = new Map<string, Set<ActiveRun>>();
  let all = 0;

  const activate = (script: string, run: ActiveRun) => {
    const others = active.get(script) ?? new Set();
    active.set(script, others.add(run));
    return () => {
      others.delete(run);
      if (others.size === 0 && active.get(script) === others) active.delete(script);
    };
  };

  const occupy = (owner: string): Place => {
    let taken = true;
    let holding = false;
    let deactivate = () => {};
    all += 1;
    held.set(owner, (held.get(owner) ?? 0) + 1);
    const free = () => {
      if (!taken) return;
      taken = false;
      all -= 1;
      deactivate();
      const left = (held.get(owner) ?? 1) - 1;
      if (left > 0) held.set(owner, left);
      else held.delete(owner);
    };
    return {
      runs(script, run) {
        deactivate = activate(script, run);
      },
      holdUntil(done) {
        holding = true;
        done.then(free, free);
      },
      leave() {
        if (!holding) free();
      },
    };
  };

  return {
    journal,
    jobs,
    stopping,
    onStopping(callback) {
      endings.add(callback);
      if (stopping.signal.aborted) callback();
      return () => endings.delete(callback);
    },
    closing: false,
    purgedAt: undefined,
    live: new Map(),
    doomed: new Set(),
    active: (script) => [...(active.get(script) ?? [])],
    adopted: Promise.resolve(),
    taken: () => all,
    take: (owner, most, limit) =>
      all >= limit || (held.get(owner) ?? 0) >= most ? undefined : occupy(owner),
    occupy,
    track(run) {
      tracked.add(run);
      const done = () => tracked.delete(run);
      run.then(done, done);
    },
    async settled() {
      while (tracked.size > 0) await Promise.allSettled(tracked);
    },
  };
}
