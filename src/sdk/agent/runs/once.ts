import { ok, okAsync } from 'neverthrow';
import { parseJsonObject } from '../../../domain/core/json.js';
import { type HttpAnswer, jsonAnswer } from '../../../domain/protocol/http-message.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import type { AgentRunKey, AgentRuns, ClaimedRun, KnownRun } from '../../../ports/agent-runs.js';
import type { Job } from '../../../ports/jobs.js';
import type { AgentContext } from '../context.js';
import type { CallingDispatcher } from '../trust/recognise.js';
import { activate } from './active.js';
import { type Ask, busy, notRun, unrecorded } from './ask.js';
import { resultOfJob } from './outcome.js';
import { liveKey, type Place, type Runs } from './runs.js';

/** How long a request id is remembered, milliseconds. */
export const rememberedFor = 86_400_000;

/** Milliseconds between two purges: each looks at every run that is remembered. */
const purgeInterval = 60_000;

export function purgeNowAndThen(runs: Runs, now: number): ReturnType<AgentRuns['purge']> {
  const { purgedAt, store } = runs;
  if (purgedAt !== undefined && Math.abs(now - purgedAt) < purgeInterval) return okAsync(0);
  runs.purgedAt = now;
  return store.purge(now - rememberedFor);
}

const find = ({ clock }: AgentContext, runs: Runs, key: AgentRunKey): ReturnType<AgentRuns['find']> =>
  purgeNowAndThen(runs, clock.now()).andThen(() => runs.store.find(key));

/** What is known of a run; an id that nobody began is entered and never run. */
export const settle = (
  { clock }: AgentContext,
  runs: Runs,
  key: AgentRunKey,
): ReturnType<AgentRuns['settle']> =>
  // defence: void-is-never-run
  purgeNowAndThen(runs, clock.now()).andThen(() => runs.store.settle(key));

/** A run that was begun: what it answers is recorded for those who ask again. */
export interface BegunRun {
  /** Aborted when the dispatcher cancels it; undefined: it has no id to cancel it by. */
  readonly cancelled: AbortSignal | undefined;
  /** It is among the jobs. */
  submitted(): void;
  /** Its program has ended. */
  ended(): void;
  /** Records the answer. The script has run: whatever becomes of the record, the answer may be given out. */
  end(body: Uint8Array): Promise<void>;
}

/** Without an id, or one of a legacy dispatcher, which is no promise of it, nothing is remembered. */
const forgotten: Omit<BegunRun, 'submitted'> = {
  cancelled: undefined,
  ended: () => undefined,
  end: () => Promise.resolve(),
};

/**
 * Begins a run where no other of its script goes on, and claims its request id: of all that its dispatcher ever asks for under it
 * at most one is begun, sync, streamed or async, whatever goes down in between (wire-protocol 2.3). A job is looked for first, for where both know the id the other
 * record only says that the job was submitted; what is in neither when the other one claims it was never begun. Otherwise the
 * answer is that of before, or that it still runs. What is refused as busy has used up no id.
 */
export async function begin(
  context: AgentContext,
  settings: AgentSettings,
  caller: CallingDispatcher,
  runs: Runs,
  ask: Ask,
  place: Place,
): Promise<BegunRun | HttpAnswer> {
  const { reqid, script } = ask;
  const as = (name: string | undefined) => activate(context, settings, caller, runs, ask, place, name);
  if (/* defence: run-begins-once */ reqid === undefined || (caller.unsigned && ask.mode !== 'async')) {
    const active = await as(undefined);
    return 'status' in active ? active : { ...forgotten, ...active };
  }
  const key = { owner: caller.id, reqid };
  const job = await runs.jobs.find(key);
  if (job.isErr()) return unrecorded(context, ask, job.error.message);
  // defence: jobs-are-asked-before-runs
  if (job.value !== undefined) return repeated(context, caller, ask, job.value);
  // A legacy dispatcher's jobs are known by their own record alone.
  const known = caller.unsigned ? ok(undefined) : await find(context, runs, key);
  if (known.isErr()) return unrecorded(context, ask, known.error.message);
  if (known.value !== undefined) return repeated(context, caller, ask, known.value);
  const active = await as(liveKey(key.owner, reqid));
  if ('status' in active) return active;
  const begun = caller.unsigned
    ? forgotten
    : await claim(context, caller, runs, { ...ask, reqid }, script.name);
  return 'status' in begun ? begun : { ...begun, ...active };
}

async function claim(
  context: AgentContext,
  caller: CallingDispatcher,
  runs: Runs,
  ask: Ask & { readonly reqid: string },
  script: string,
): Promise<Omit<BegunRun, 'submitted'> | HttpAnswer> {
  const { clock, events } = context;
  const { store, live, doomed } = runs;
  const key = { owner: /* defence: run-is-remembered-by-owner */ caller.id, reqid: ask.reqid };
  const name = liveKey(key.owner, key.reqid);
  const claimed = await store.begin(key, script, clock.now());
  if (claimed.isErr()) {
    doomed.delete(name);
    return unrecorded(context, ask, claimed.error.message);
  }
  switch (claimed.value.kind) {
    case 'full':
      return jsonAnswer(503, { error: 'busy: too many runs within a day' }, [['retry-after', '60']]);
    case 'known': {
      const job = await runs.jobs.find(key);
      if (job.isErr()) return unrecorded(context, ask, job.error.message);
      return repeated(context, caller, ask, job.value ?? claimed.value.run);
    }
    case 'begun': {
      const run = { cancel: new AbortController(), ended: false };
      if (doomed.delete(name)) run.cancel.abort();
      live.set(name, run);
      return {
        cancelled: run.cancel.signal,
        ended: () => {
          run.ended = true;
        },
        async end(body) {
          const ended = await store.end(key, clock.now(), body);
          live.delete(name);
          if (ended.isErr())
            events.emit({
              action: 'internal-error',
              level: 'error',
              fields: { reason: ended.error.message },
            });
        },
      };
    }
  }
}

/** What a dispatcher is told that asks for a request id a second time. */
export function repeated(
  { events }: AgentContext,
  { id: dispatcher, address: ip }: CallingDispatcher,
  ask: Ask,
  before: KnownRun | Job,
): HttpAnswer {
  const script = ask.script.name;
  const reqid = ask.reqid ?? '';
  const state = 'status' in before ? before.status : before.state;
  events.emit({
    action: 'run-repeated',
    level: 'warning',
    fields: { script, reqid, dispatcher, ip, state },
  });
  if ('state' in before && before.state === 'void') return jsonAnswer(401, { error: 'replayed' });
  if (before.script !== script)
    return notRun({ script, reqid, error: `this request id has run ${before.script} before` });
  return 'status' in before ? repetitionOfJob(ask, before) : repetition(before, script, reqid);
}

function repetitionOfJob({ mode, reqid }: Ask, job: Job): HttpAnswer {
  const { script } = job;
  if (mode === 'async') return accepted(script, job.reqid);
  if (job.status === 'running') return jsonAnswer(409, { status: 'running', reqid });
  return jsonAnswer(200, { script, reqid, ...resultOfJob(job) });
}

export const accepted = (script: string, reqid: string): HttpAnswer =>
  jsonAnswer(202, { script, status: 'accepted', reqid });

const notKept = 'it has run, but its output is not kept any more';

function repetition(known: ClaimedRun, script: string, reqid: string): HttpAnswer {
  if (known.state === 'running') return jsonAnswer(409, { status: 'running', reqid });
  if (known.state === 'lost')
    return notRun({ script, reqid, error: 'lost: the agent went down while the script ran' });
  const { answer } = known;
  if (answer === undefined) return notRun({ script, reqid, error: notKept });
  switch (submission(answer)) {
    case 'accepted':
      return notRun({ script, reqid, error: notKept });
    case 'busy':
      return busy(script, reqid);
    default:
      return { status: 200, headers: [['content-type', 'application/json']], body: answer };
  }
}

/** What the answer of an async submission says; undefined: it is the one of a run. */
export function submission(answer: Uint8Array): unknown {
  // Those of runs may be large, and need not be read for it.
  if (answer.length > 1024) return undefined;
  const parsed = parseJsonObject(answer);
  return parsed.isOk() ? parsed.value['status'] : undefined;
}
