import { err, ok, okAsync, type Result, type ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { RunResult, WhichRun } from '../../../domain/protocol/run-messages.js';
import type { Job } from '../../../ports/jobs.js';
import type { AgentRunKey, KnownRun, RunJournal } from '../../../ports/run-journal.js';
import { timestamp } from '../../core/timestamp.js';
import type { OutcomeOf, Refusal } from '../../protocol/endpoint.js';
import type { cancel, result, settle } from '../../protocol/endpoints.js';
import type { Caller } from '../../protocol/handler.js';
import type { AgentContext } from '../context.js';
import type { AgentState } from '../state/state.js';
import { isCancelled, resultOfJob } from './outcome.js';
import { liveKey, type Runs } from './runs.js';

/** What is known of a run, whatever its kind. */
export interface Known {
  readonly status: 'void' | 'running' | 'done' | 'cancelled' | 'lost';
  /** It is kept among the jobs. */
  readonly isJob: boolean;
  readonly script: string;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  readonly finishedAt?: number;
  /** Undefined: it runs, or its result is not kept. */
  readonly result?: RunResult;
}

export const interrupted = 'lost: the agent went down while the script ran';

export function knownJob(job: Job): Known {
  const { status, script, startedAt } = job;
  const known = { status, isJob: true, script, startedAt };
  return job.status === 'running'
    ? known
    : { ...known, finishedAt: job.finishedAt, result: resultOfJob(job) };
}

export function knownRun(run: KnownRun): Known {
  if (run.state === 'void') return { status: 'void', isJob: false, script: '', startedAt: 0 };
  const { state: status, script, startedAt } = run;
  const known = { status, isJob: false, script, startedAt };
  if (run.state === 'lost')
    return { ...known, result: { exit: -1, error: interrupted, stdout: '', stderr: '' } };
  if (run.state === 'running') return known;
  const { finishedAt, result } = run;
  if (!result) return { ...known, finishedAt };
  return { ...known, ...(isCancelled(result.error) && { status: 'cancelled' }), finishedAt, result };
}

/**
 * What the jobs know of a run, else what `journal` does. The jobs are asked first, for where both know the id the journal only says
 * that the job was submitted; what is in neither when the other one claims it was never begun.
 */
export const find = (
  { jobs }: Runs,
  key: AgentRunKey,
  journal: () => ReturnType<RunJournal['find']>,
): ResultAsync<Known | undefined, CtrlExecError<'file_failed'>> =>
  jobs
    .find(key)
    .andThen((job) =>
      /* defence: jobs-are-asked-before-runs */ job
        ? okAsync(knownJob(job))
        : journal().map((run) => run && knownRun(run)),
    );

/** How long a request id is remembered, milliseconds. */
const rememberedFor = 86_400_000;

/** Milliseconds between two purges: each looks at every run that is remembered. */
const purgeInterval = 60_000;

export function purgeNowAndThen(runs: Runs, now: number): ReturnType<RunJournal['purge']> {
  const { purgedAt, journal } = runs;
  if (purgedAt !== undefined && Math.abs(now - purgedAt) < purgeInterval) return okAsync(0);
  runs.purgedAt = now;
  return journal.purge(now - rememberedFor);
}

/** What is known of a run; an id that nobody began is entered and never run. */
const settled = ({ clock }: AgentContext, runs: Runs, key: AgentRunKey): ReturnType<RunJournal['settle']> =>
  // defence: void-is-never-run
  purgeNowAndThen(runs, clock.now()).andThen(() => runs.journal.settle(key));

function unreadable({ events }: AgentContext, { message: reason }: CtrlExecError): Refusal {
  events.emit({ action: 'internal-error', level: 'error', fields: { reason } });
  return { refused: 'busy', error: 'busy: the record of runs cannot be read', retryAfter: 60 };
}

type Recorded = Extract<OutcomeOf<typeof result>, { readonly outcome: 'known' }> & {
  readonly script: string;
};

/** What the dispatcher that asked for a run is told of it. Undefined: its result, or its record, is gone. */
function recordOf(
  known: Known | undefined,
  key: AgentRunKey,
  /** Epoch milliseconds: jobs that ended before wait for their removal. */
  oldest: number,
): Recorded | undefined {
  if (!known || known.status === 'void') return undefined;
  const { status, isJob, script, startedAt, finishedAt, result } = known;
  if (status !== 'running' && !result) return undefined;
  if (isJob && finishedAt !== undefined && finishedAt < oldest) return undefined;
  return {
    outcome: 'known',
    reqid: key.reqid,
    status,
    script,
    owner: key.owner,
    started: timestamp(startedAt),
    ...(finishedAt !== undefined && { finished: timestamp(finishedAt) }),
    ...(result && { result }),
  };
}

const oldestJob = ({ clock }: AgentContext, { settings }: AgentState): number =>
  clock.now() - settings.asyncTtl * 1000;

/**
 * Answers `GET /result/<reqid>` (wire-protocol 1.2, 2.5): what became of a run, async or not, for the dispatcher that asked
 * for it; for any other it does not exist.
 */
export async function answerResult(
  context: AgentContext,
  state: AgentState,
  runs: Runs,
  { id, address }: Caller,
  { reqid }: WhichRun,
): Promise<OutcomeOf<typeof result> | Refusal> {
  const key = { owner: /* defence: result-is-for-its-owner */ id, reqid };
  const known = await find(runs, key, () => runs.journal.find(key));
  if (known.isErr()) return unreadable(context, known.error);
  const record = recordOf(known.value, key, oldestJob(context, state));
  if (!record) return { outcome: 'unknown', reqid };
  const { script, status } = record;
  context.events.emit({
    action: 'result-given',
    fields: { reqid, script, dispatcher: id, ip: address, status },
  });
  return record;
}

/**
 * Answers `POST /v2/settle` (wire-protocol 2.5): how a run of this dispatcher stands, as `/result` says it, and that an id which
 * nobody began is never run. The journal decides between this and a run that is just beginning.
 */
export async function answerSettle(
  context: AgentContext,
  state: AgentState,
  runs: Runs,
  { id, address }: Caller,
  { reqid }: WhichRun,
): Promise<OutcomeOf<typeof settle> | Refusal> {
  const { clock, events } = context;
  const key = { owner: /* defence: settle-is-for-its-owner */ id, reqid };
  const answer = <O extends OutcomeOf<typeof settle>>(status: string, outcome: O): O => {
    events.emit({ action: 'settle-answered', fields: { reqid, dispatcher: id, ip: address, status } });
    return outcome;
  };
  const recorded = (known: Known | undefined) => {
    const record = recordOf(known, key, oldestJob(context, state));
    return record ? answer(record.status, record) : answer('unknown', { outcome: 'unknown', reqid });
  };

  const job = await runs.jobs.find(key);
  if (job.isErr()) return unreadable(context, job.error);
  if (job.value) return recorded(knownJob(job.value));
  const known = await settled(context, runs, key);
  if (known.isErr()) return unreadable(context, known.error);
  const { value } = known;
  if (value.kind === 'full') return recorded(undefined);
  if (value.kind === 'void') {
    const age = Math.min(value.completeFor, rememberedFor);
    return answer('void', { outcome: 'void', completeSince: Math.ceil(clock.now() - age), reqid });
  }
  // It may have become a job since.
  const since = await find(runs, key, () => okAsync(value.run));
  return since.isErr() ? unreadable(context, since.error) : recorded(since.value);
}

/** Answers `POST /v2/cancel` (wire-protocol 2.5): for runs of this dispatcher, whatever their kind. */
export async function answerCancel(
  context: AgentContext,
  runs: Runs,
  { id, address }: Caller,
  { reqid }: WhichRun,
): Promise<OutcomeOf<typeof cancel> | Refusal> {
  const cancelled = await cancelRun(context, runs, {
    owner: /* defence: cancel-is-for-its-owner */ id,
    reqid,
  });
  if (cancelled.isErr()) return unreadable(context, cancelled.error);
  context.events.emit({
    action: 'cancel-asked',
    level: 'warning',
    fields: { reqid, dispatcher: id, ip: address, status: cancelled.value },
  });
  return { outcome: cancelled.value };
}

/**
 * What is under way in this process is told directly, also a job that is only being started; then the jobs are asked. What the
 * journal alone knows as running is being written there, and is ended as soon as it is begun. What is unknown is never begun.
 */
async function cancelRun(
  context: AgentContext,
  runs: Runs,
  key: AgentRunKey,
): Promise<Result<'cancelling' | 'unknown' | 'done', CtrlExecError<'file_failed'>>> {
  const { live, doomed, jobs } = runs;
  const name = liveKey(key.owner, key.reqid);
  const run = live.get(name);
  if (run && !run.ended) {
    run.cancel.abort();
    return ok('cancelling');
  }
  const job = await jobs.cancel(key);
  if (job.isErr()) return err(job.error);
  if (job.value === 'cancelling') return ok('cancelling');
  if (job.value === 'ended' || run) return ok('done');
  const known = await settled(context, runs, key);
  if (known.isErr()) return err(known.error);
  if (known.value.kind !== 'known') return ok('unknown');
  if (known.value.run.state !== 'running') return ok('done');
  const since = live.get(name);
  if (since) since.cancel.abort();
  else doomed.add(name);
  return ok('cancelling');
}
