import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { backoff } from '../../../domain/core/backoff.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import type { RunProgress } from '../../../domain/runs/progress.js';
import { hostsOf } from '../../../domain/runs/record.js';
import { can } from '../../../domain/trust/abilities.js';
import { guarded } from '../../core/callback.js';
import { wait } from '../../core/wait.js';
import type { DispatcherContext } from '../context.js';
import type { Asking } from '../fleet/ask.js';
import { type Found, lookUp } from './lookup.js';
import { look, type RunStatus, type StatusFailure, statusOf } from './status.js';

export interface WaitOptions extends Asking {
  /** Seconds; default: until every host has ended. */
  readonly timeout?: number;
  /** Called with each host whose end is learnt, in that order; also those that were known at the beginning. */
  readonly onResult?: (host: EndedHost) => void;
}

/** How a run ended on one host. */
export type EndedHost = RunStatus['results'][number];

export type WaitFailure = StatusFailure | CtrlExecError<'aborted'>;

/** How a run ended, or stood when the time was up. */
export interface Waited {
  /** `fine`: exit 0 on every host. `timed-out`: some have not ended. */
  readonly outcome: 'fine' | 'failed' | 'timed-out';
  readonly status: RunStatus;
}

/** Milliseconds between two looks: they grow from the first to the last. */
const intervals = { first: 500, last: 10_000, growth: 1.5 };

/** A legacy agent admits 10 connections within a minute and then none for a while: it is asked no more often than this. */
const legacyInterval = 10_000;

/**
 * Waits for the end of a run on every host; a host that cannot be asked is asked again. Ends as `aborted` by the signal; what
 * runs goes on.
 */
export function waitForRun(
  context: DispatcherContext,
  reqid: string,
  options: WaitOptions = {},
): ResultAsync<Waited, WaitFailure> {
  return lookUp(context, 'status', reqid, options)
    .mapErr((error): WaitFailure => error)
    .andThen((found) => waitFor(context, found, options));
}

/** The same of a run that the hook has allowed to ask about. */
export function waitFor(
  context: DispatcherContext,
  known: Found,
  options: WaitOptions = {},
): ResultAsync<Waited, WaitFailure> {
  const { clock, registry, runStore } = context;
  const { reqid } = known.record;
  const { timeout, signal } = options;
  const deadline = timeout === undefined ? Number.POSITIVE_INFINITY : clock.monotonic() + timeout * 1000;
  const callback = guarded(options.onResult);
  const told = new Set<string>();
  const tell = (progress: RunProgress) => {
    for (const host of progress.results) {
      if (told.has(host.host) || progress.pending.includes(host.host)) continue;
      told.add(host.host);
      callback.tell(host);
    }
  };
  /** Hosts that may not be asked as often as others. */
  const legacyAmong = (hosts: readonly string[]) =>
    registry
      .list({ names: hosts })
      .map(
        (records) =>
          new Set(records.filter(({ standing }) => !can(standing, 'polling')).map(({ name }) => name)),
      );
  const lastAsked = new Map<string, number>();
  return safeTry<Waited, WaitFailure>(async function* () {
    let found = known;
    for (let attempt = 0; ; attempt += 1) {
      const legacy = yield* legacyAmong(hostsOf(found.record));
      const now = clock.monotonic();
      const progress = yield* look(context, found, options, (host) => {
        const since = now - (lastAsked.get(host) ?? Number.NEGATIVE_INFINITY);
        if (legacy.has(host) && since < legacyInterval) return false;
        lastAsked.set(host, now);
        return true;
      });
      tell(progress);
      if (signal?.aborted) return err(failure('aborted', 'stopped by the caller', {}));
      const ended = progress.pending.length === 0;
      const left = deadline - clock.monotonic();
      if (ended || left <= 0) {
        callback.rethrow();
        const outcome = ended ? outcomeOf(progress) : 'timed-out';
        return ok<Waited, WaitFailure>({ outcome, status: statusOf(progress) });
      }
      yield* wait(clock, Math.min(backoff(attempt, intervals), left), signal);
      const record = yield* runStore.find(reqid);
      if (!record) return err(failure('run_unknown', `no result for reqid ${reqid}`, { id: reqid }));
      found = { ...found, record };
    }
  });
}

const outcomeOf = ({ results }: RunProgress): 'fine' | 'failed' =>
  results.every(({ state }) => state === 'succeeded') ? 'fine' : 'failed';
