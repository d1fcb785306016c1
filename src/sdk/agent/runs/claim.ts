import { err, ok, okAsync, type Result } from 'neverthrow';
import type { RunResult } from '../../../domain/protocol/run-messages.js';
import { concurrencyOf } from '../../../domain/runs/action.js';
import { type AskedRun, about, busy, type RunOutcome, refusedRun, unrecorded } from './ask.js';
import { find, interrupted, type Known, knownRun, purgeNowAndThen } from './records.js';
import { type ActiveRun, liveKey } from './runs.js';

/** A run that was begun: how it ended is recorded for those who ask again. */
export interface BegunRun {
  /** Aborted when the dispatcher cancels it; undefined: it has no id to cancel it by. */
  readonly cancelled: AbortSignal | undefined;
  /** It is among the jobs. */
  submitted(): void;
  /** Its program has ended. */
  ended(): void;
  /**
   * Records the result. The script has run: whatever becomes of the record, the result may be given out.
   * @param result undefined: it is kept among the jobs
   */
  end(result: RunResult | undefined): Promise<void>;
}

/** Without an id, or one of a legacy dispatcher, which is no promise of it, nothing is remembered. */
const forgotten: Omit<BegunRun, 'submitted'> = {
  cancelled: undefined,
  ended: () => undefined,
  end: () => Promise.resolve(),
};

/**
 * Begins a run where no other of its script goes on, and claims its request id: of all that its dispatcher ever asks for under it
 * at most one is begun, sync, streamed or async, whatever goes down in between (wire-protocol 2.3). Err: what is answered
 * instead, as that of before, or that it still runs. What is refused as busy has used up no id.
 */
export async function begin(asked: AskedRun): Promise<Result<BegunRun, RunOutcome>> {
  const { ask, caller, context, runs } = asked;
  const { reqid, mode } = ask;
  const { atMostOnce } = caller.guarantees;
  if (/* defence: run-begins-once */ reqid === undefined || (!atMostOnce && mode !== 'async'))
    return (await activate(asked, undefined)).map((active) => ({ ...forgotten, ...active }));
  const key = { owner: caller.id, reqid };
  const known = await find(runs, key, () =>
    // A legacy dispatcher's jobs are known by their own record alone.
    atMostOnce
      ? purgeNowAndThen(runs, context.clock.now()).andThen(() => runs.journal.find(key))
      : okAsync(undefined),
  );
  if (known.isErr()) return err(unrecorded(asked, known.error.message));
  if (known.value) return err(repeated(asked, known.value));
  const active = await activate(asked, liveKey(key.owner, reqid));
  if (active.isErr()) return err(active.error);
  const claimed = atMostOnce ? await claim(asked, reqid) : ok(forgotten);
  return claimed.map((begun) => ({ ...begun, ...active.value }));
}

/**
 * Counts a run among those of its script, for as long as its place is held, or says why not: whoever asks, of one script no more
 * go on than `concurrencyOf` allows. What a legacy dispatcher asks for counts for others; it is itself refused with
 * `legacy_concurrency` off alone, or where it asks for an async run beside another one, as legacy agents do.
 * @param name by owner and request id; undefined: the run is not known by one
 */
async function activate(
  asked: AskedRun,
  name: string | undefined,
): Promise<Result<Pick<BegunRun, 'submitted'>, RunOutcome>> {
  const { ask, caller, context, place, runs, state } = asked;
  await runs.adopted;
  const script = ask.script.name;
  const isAsync = ask.mode === 'async';
  const isTolerant = !caller.guarantees.acceptsBusy && state.settings.legacyConcurrency;
  const ended = new Set<ActiveRun>();
  const others = () => runs.active(script).filter((run) => !ended.has(run));
  const itself = () => name !== undefined && others().some((run) => run.name === name);
  const isBusy = () => {
    const counted = isTolerant ? others().filter((run) => isAsync && run.isAsync) : others();
    return itself() || counted.length >= concurrencyOf(context.actions.functions, script);
  };
  if (isBusy()) {
    // A job may have ended without this agent having noticed yet.
    const jobs = others().filter(({ isJob }) => isJob);
    const running = jobs.length > 0 ? await runs.jobs.running() : ok([]);
    if (running.isErr()) return err(unrecorded(asked, running.error.message));
    const still = new Set(running.value.map(({ owner, reqid }) => liveKey(owner, reqid)));
    for (const job of jobs) if (!still.has(job.name ?? '')) ended.add(job);
  }
  // From here until it is counted nothing is waited for.
  if (itself()) return err({ outcome: 'running', reqid: ask.reqid });
  if (/* defence: one-run-of-a-script */ isBusy()) {
    const fields = { ...about(asked), reason: `${script} is still running` };
    context.events.emit({ action: 'run-refused', level: 'warning', fields });
    return err(busy(asked));
  }
  const run: ActiveRun = { name, isAsync, isJob: false };
  place.runs(script, run);
  return ok({
    submitted: () => {
      run.isJob = true;
    },
  });
}

async function claim(
  asked: AskedRun,
  reqid: string,
): Promise<Result<Omit<BegunRun, 'submitted'>, RunOutcome>> {
  const { clock, events } = asked.context;
  const { journal, live, doomed } = asked.runs;
  const key = { owner: /* defence: run-is-remembered-by-owner */ asked.caller.id, reqid };
  const name = liveKey(key.owner, reqid);
  const claimed = await journal.claim({ run: { ...key, script: asked.ask.script.name } }, clock.now());
  if (claimed.isErr()) {
    doomed.delete(name);
    return err(unrecorded(asked, claimed.error.message));
  }
  const { value } = claimed;
  if (value.kind === 'known') {
    const known = await find(asked.runs, key, () => okAsync(value.run));
    return err(
      known.match(
        (before) => repeated(asked, before ?? knownRun(value.run)),
        ({ message }) => unrecorded(asked, message),
      ),
    );
  }
  if (value.kind !== 'begun')
    return err({ refused: 'busy', error: 'busy: too many runs within a day', retryAfter: 60 });
  const run = { cancel: new AbortController(), ended: false };
  if (doomed.delete(name)) run.cancel.abort();
  live.set(name, run);
  return ok({
    cancelled: run.cancel.signal,
    ended: () => {
      run.ended = true;
    },
    async end(result) {
      const ended = await journal.end(key, clock.now(), result);
      live.delete(name);
      if (ended.isErr())
        events.emit({ action: 'internal-error', level: 'error', fields: { reason: ended.error.message } });
    },
  });
}

/** What a dispatcher is told that asks for a request id a second time. */
export function repeated(asked: AskedRun, before: Known): RunOutcome {
  const { script, reqid } = about(asked);
  const { status: state, isJob, result } = before;
  asked.context.events.emit({
    action: 'run-repeated',
    level: 'warning',
    fields: { ...about(asked), reqid: reqid ?? '', state },
  });
  if (state === 'void') return { refused: 'unverified', error: 'replayed' };
  if (before.script !== script) return refusedRun(asked, `this request id has run ${before.script} before`);
  if (isJob && asked.ask.mode === 'async') return { outcome: 'accepted', script, reqid };
  if (state === 'running') return { outcome: 'running', reqid };
  if (state === 'lost' && !isJob) return refusedRun(asked, interrupted);
  if (!result) return refusedRun(asked, 'it has run, but its output is not kept any more');
  return { outcome: 'ended', script, reqid, result };
}
