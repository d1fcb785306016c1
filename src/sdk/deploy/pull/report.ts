import type { JobStatus } from '../../../domain/deploy/control-plane-api.js';
import { wait } from '../../core/wait.js';
import { isPassing } from './api.js';
import { withFarewell } from './last-call.js';
import type { PullSession } from './session.js';

/** Milliseconds before each further attempt to tell how a job ended. */
const waits = [5_000, 15_000, 45_000];

/**
 * Tells the control plane how a job stands; what cannot be told is logged. The end of a job is told again where that may
 * help, at once when the agent is to end.
 */
export async function reportJob(
  session: PullSession,
  job: string,
  status: JobStatus,
  attempts: 'once' | 'several' = 'several',
): Promise<void> {
  const { api, context, events, stop } = session;
  for (const delay of attempts === 'once' ? [undefined] : [...waits, undefined]) {
    const told = await withFarewell(context.clock, stop, (signal) => api.jobStatus(job, status, signal));
    if (told.isOk()) return;
    if (delay === undefined || !isPassing(told.error) || stop.aborted) {
      events.emit({
        action: 'job-report-failed',
        level: 'warning',
        fields: { job, status: status.status, reason: told.error.message },
      });
      return;
    }
    await wait(context.clock, delay, stop);
  }
}
