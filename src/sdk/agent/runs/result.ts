import { parseJsonObject } from '../../../domain/core/json.js';
import { fittedForLegacy } from '../../../domain/legacy/answer.js';
import { type HttpAnswer, jsonAnswer } from '../../../domain/protocol/http-message.js';
import type { ClaimedRun } from '../../../ports/agent-runs.js';
import type { Job } from '../../../ports/jobs.js';
import { timestamp } from '../../core/timestamp.js';
import type { AgentContext } from '../context.js';
import type { AgentState } from '../state.js';
import type { CallingDispatcher } from '../trust/recognise.js';
import { unrecordedRead } from './cancel.js';
import { submission } from './once.js';
import { isCancelled, type RunResult, resultOfJob, totalsOfJob } from './outcome.js';
import type { Runs } from './runs.js';

const unknown = (reqid: string): HttpAnswer => jsonAnswer(404, { status: 'unknown', reqid });

/** What is known of a run: how far it is, and its result. */
export interface RunRecord {
  readonly status: 'running' | 'done' | 'cancelled' | 'lost';
  readonly script: string;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  readonly finishedAt?: number;
  readonly result?: RunResult;
  /** Bytes in all of each stream. */
  readonly totals?: { readonly stdout: number; readonly stderr: number };
}

/**
 * Answers `GET /result/<reqid>` (wire-protocol 1.2, 2.5): what became of a run, async or not, for the dispatcher that asked
 * for it; for any other it does not exist.
 */
export async function answerResult(
  context: AgentContext,
  { settings }: AgentState,
  caller: CallingDispatcher,
  runs: Runs,
  reqid: string,
): Promise<HttpAnswer> {
  const key = { owner: /* defence: result-is-for-its-owner */ caller.id, reqid };
  const job = await runs.jobs.find(key);
  if (job.isErr()) return unrecordedRead(context, job.error.message);
  const oldest = context.clock.now() - settings.asyncTtl * 1000;
  let record = job.value && recordOfJob(job.value, oldest);
  if (job.value === undefined) {
    const run = await runs.store.find(key);
    if (run.isErr()) return unrecordedRead(context, run.error.message);
    record = run.value && run.value.state !== 'void' ? recordOfRun(run.value) : undefined;
  }
  if (record === undefined) return unknown(reqid);
  const { status } = record;
  context.events.emit({
    action: 'result-given',
    fields: { reqid, script: record.script, dispatcher: caller.id, ip: caller.address, status },
  });
  return jsonAnswer(200, caller.unsigned ? forLegacy(caller, reqid, record) : shown(caller, reqid, record));
}

export function recordOfJob(job: Job, oldest: number): RunRecord | undefined {
  const { status, script, startedAt } = job;
  if (job.status === 'running') return { status, script, startedAt };
  // It may wait for its removal.
  if (job.finishedAt < oldest) return undefined;
  const { finishedAt } = job;
  return { status, script, startedAt, finishedAt, result: resultOfJob(job), totals: totalsOfJob(job) };
}

/** Undefined: an async run whose record is gone, or one whose output is. */
export function recordOfRun(run: ClaimedRun): RunRecord | undefined {
  const { script, startedAt } = run;
  if (run.state === 'running') return { status: 'running', script, startedAt };
  if (run.state === 'lost') {
    const error = 'lost: the agent went down while the script ran';
    return { status: 'lost', script, startedAt, result: { exit: -1, error, stdout: '', stderr: '' } };
  }
  const { finishedAt, answer } = run;
  if (answer === undefined || submission(answer) !== undefined) return undefined;
  const stored = parseJsonObject(answer);
  if (stored.isErr()) return undefined;
  const { script: _, reqid: __, ...result } = stored.value;
  const status = isCancelled(result['error']) ? 'cancelled' : 'done';
  // It is what this agent has answered, and read back whole.
  return { status, script, startedAt, finishedAt, result: result as unknown as RunResult };
}

export const shown = (
  { id: owner }: CallingDispatcher,
  reqid: string,
  { status, script, startedAt, finishedAt, result }: RunRecord,
) => ({
  reqid,
  status,
  script,
  owner,
  started: timestamp(startedAt),
  ...(finishedAt !== undefined && { finished: timestamp(finishedAt) }),
  ...result,
});

/** A legacy dispatcher knows `running` and `done` only, and would wait for ever for what is neither. */
function forLegacy(caller: CallingDispatcher, reqid: string, record: RunRecord) {
  const { status, result, startedAt, finishedAt = startedAt } = record;
  if (!result) return shown(caller, reqid, record);
  const isDone = status === 'done';
  const { stdout, stderr, error } = result;
  const told = isDone
    ? stderr
    : `${stderr}${stderr === '' || stderr.endsWith('\n') ? '' : '\n'}${error ?? status}\n`;
  const totals = record.totals ?? { stdout: stdout.length, stderr: stderr.length };
  const as: RunRecord = {
    ...record,
    status: 'done',
    finishedAt,
    result: { ...result, stderr: told, ...(!isDone && { exit: 126 }) },
  };
  return fittedForLegacy({ stdout, stderr: told, ...shown(caller, reqid, as) }, totals);
}
