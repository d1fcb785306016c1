import type { JobState } from '../../../ports/jobs.js';
import type { ProcessRunner } from '../../../ports/process-runner.js';

export type JobEnd = Exclude<JobState, { readonly status: 'running' }>;

export const wentDown = 'the agent went down while it ran';
const wasStopped = 'the agent was stopped before it ended';
const empty = { bytes: new Uint8Array(), total: 0 };
/** Without output: nobody has kept it. */
export const lost = (reason: string, finishedAt: number): JobEnd => ({
  status: 'lost',
  finishedAt,
  reason,
  stdout: empty,
  stderr: empty,
});

/** @param why it was told to end: by `cancel`, or because everything was closed */
export function endOf(
  outcome: Awaited<ReturnType<ProcessRunner['run']>>,
  why: 'cancelled' | 'stopped' | undefined,
  finishedAt: number,
): JobEnd {
  const outputLost = undefined;
  if (outcome.isErr()) {
    const result = { notRun: outcome.error.reason };
    if (why === 'stopped') return lost(wasStopped, finishedAt);
    return { status: why ?? 'done', finishedAt, result, outputLost };
  }
  const { goesOn: _, ...result } = outcome.value;
  // It had ended before it heard of it, or its time was up first.
  if (why === undefined || result.stopped !== 'cancelled')
    return { status: 'done', finishedAt, result, outputLost };
  if (why === 'cancelled') return { status: why, finishedAt, result, outputLost };
  const { stdout, stderr, end } = result;
  if (end.kind !== 'exited') return { status: 'lost', finishedAt, reason: wasStopped, stdout, stderr };
  return { status: 'done', finishedAt, result: { ...result, stopped: undefined }, outputLost };
}
