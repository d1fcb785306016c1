import { ok, type ResultAsync, safeTry } from 'neverthrow';
import { certificateId } from '../../../domain/deploy/certificate-id.js';
import { csrSubject } from '../../../domain/deploy/csr.js';
import type { CsrJob } from '../../../domain/deploy/jobs.js';
import { keyForCsr } from './key.js';
import type { PullSession } from './session.js';
import { inStep, refusedIn, type StepFailure } from './step.js';

/** Makes a key that never leaves this host, and asks for a certificate over it. Nothing is written for a job that cannot be done. */
export function csrJob(session: PullSession, job: CsrJob): ResultAsync<void, StepFailure> {
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
