import type { JobHeader } from '../../../ports/jobs.js';
import type { AgentContext } from '../context.js';
import { resultOfJob } from './outcome.js';
import { liveKey, type Runs } from './runs.js';

/** Resolves when the job has ended, or the agent no longer waits for it. */
export async function followJob({ events }: AgentContext, { jobs }: Runs, header: JobHeader): Promise<void> {
  const job = await jobs.wait(header);
  if (job.isErr()) {
    events.emit({ action: 'internal-error', level: 'error', fields: { reason: job.error.message } });
    return;
  }
  if (job.value === undefined || job.value.status === 'running') return;
  const { status, script, reqid, owner, startedAt, finishedAt } = job.value;
  const { exit, error } = resultOfJob(job.value);
  events.emit({
    action: 'job-end',
    level: status === 'done' && exit === 0 ? 'info' : 'warning',
    fields: { script, reqid, dispatcher: owner, status, exit, ms: finishedAt - startedAt, error },
  });
}

/** Finds the jobs that an agent of before has left running: they hold their places on, and run. */
export async function adoptJobs(context: AgentContext, runs: Runs): Promise<void> {
  const found = await runs.jobs.running();
  if (found.isErr()) {
    const { message: reason } = found.error;
    context.events.emit({ action: 'warning', level: 'warning', fields: { reason } });
    return;
  }
  for (const header of found.value) {
    const place = runs.occupy(header.owner);
    const name = liveKey(header.owner, header.reqid);
    place.runs(header.script, { name, isAsync: true, isJob: true });
    place.holdUntil(followJob(context, runs, header));
  }
}

/** Milliseconds between two looks for records that are too old: nobody is shown one anyway. */
const purgeInterval = 86_400_000;

/**
 * Forgets ended jobs when they are old enough, now and again and again.
 * @param keep seconds that they are kept, as it is at the time
 * @returns what ends it
 */
export function purgeJobs(
  { clock, events }: AgentContext,
  { jobs }: Runs,
  keep: () => number,
): () => Promise<void> {
  let cancel = () => {};
  let stopped = false;
  let purging: Promise<void> = Promise.resolve();
  const purge = async () => {
    const purged = await jobs.purge(clock.now() - keep() * 1000);
    if (purged.isErr())
      events.emit({ action: 'internal-error', level: 'error', fields: { reason: purged.error.message } });
    if (!stopped) cancel = clock.after(purgeInterval, begin);
  };
  const begin = () => {
    purging = purge();
  };
  begin();
  return async () => {
    stopped = true;
    cancel();
    await purging;
  };
}
