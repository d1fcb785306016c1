import type { JudgedJob, PullJob } from '../../../domain/deploy/jobs.js';
import { csrJob } from './csr-job.js';
import { deploymentJob } from './deployment-job.js';
import { reportJob } from './report.js';
import type { PullSession } from './session.js';
import { reasonOf } from './step.js';

/** Does one job, and tells the control plane how it ended. A CSR that the end of the agent cut off is offered again, and not told. */
export async function doJob(session: PullSession, job: PullJob): Promise<void> {
  const outcome = await (job.kind === 'csr' ? csrJob(session, job) : deploymentJob(session, job));
  if (outcome.isErr()) {
    if (job.kind === 'csr' && outcome.error.error.code === 'aborted') return;
    await fail(session, job.id, reasonOf(outcome.error), job.certificateId);
  } else if (job.kind === 'deployment') await reportJob(session, job.id, { status: 'Completed' });
}

/** Says of an entry that is no job what is wrong with it. */
export async function refuseJob(
  session: PullSession,
  entry: Exclude<JudgedJob, { readonly kind: 'job' }>,
): Promise<void> {
  const { id, reason } = entry;
  if (entry.kind === 'malformed') return fail(session, id, reason, undefined);
  session.events.emit({ action: 'job-ignored', level: 'warning', fields: { job: id, reason } });
}

async function fail(
  session: PullSession,
  job: string,
  reason: string,
  certificate: string | undefined,
): Promise<void> {
  session.events.emit({ action: 'job-failed', level: 'error', fields: { job, certificate, reason } });
  await reportJob(session, job, { status: 'Failed', error: reason });
}
