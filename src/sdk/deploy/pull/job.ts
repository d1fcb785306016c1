import { ok, type ResultAsync, safeTry } from 'neverthrow';
import { certificateId } from '../../../domain/deploy/certificate-id.js';
import { csrSubject } from '../../../domain/deploy/csr.js';
import type { CsrJob, JudgedJob, PullJob } from '../../../domain/deploy/jobs.js';
import { deploymentJob } from './deployment-job.js';
import { keyForCsr } from './key.js';
import { reportJob } from './report.js';
import type { PullSession } from './session.js';
import { inStep, reasonOf, refusedIn, type StepFailure } from './step.js';

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

/** Makes a key that never leaves this host, and asks for a certificate over it. Nothing is written for a job that cannot be done. */
function csrJob(session: PullSession, job: CsrJob): ResultAsync<void, StepFailure> {
  const { api, context, events, stop } = session;
  return safeTry(async function* () {
    const id = yield* certificateId(job.certificateId).mapErr(refusedIn('certificate id'));
    const subject = yield* csrSubject(job.commonName, job.sans).mapErr(refusedIn('subject'));
    const key = yield* keyForCsr(session, id).mapErr(inStep('private key'));
    const csr = yield* context.certificateRequests
      .create(key.pem, subject.commonName, subject.names)
      .mapErr(inStep('CSR'));
    yield* api.submitCsr(id, csr, stop).mapErr(inStep('CSR submission'));
    events.emit({ action: 'csr-submitted', fields: { job: job.id, certificate: id, key: key.origin } });
    return ok(undefined);
  });
}
