import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import type { Verification } from '../../../domain/core/errors.js';
import { certificateId } from '../../../domain/deploy/certificate-id.js';
import type { DeploymentJob } from '../../../domain/deploy/jobs.js';
import { deploy } from '../deploy.js';
import { keyOfCertificates } from './key.js';
import { withFarewell } from './last-call.js';
import { reportJob } from './report.js';
import type { PullSession } from './session.js';
import { inStep, refusedIn, type StepFailure } from './step.js';

/** Deploys a certificate over a key of this host. The caller tells the control plane how it ended. */
export function deploymentJob(session: PullSession, job: DeploymentJob): ResultAsync<void, StepFailure> {
  const { api, events, keys, stop } = session;
  return safeTry(async function* () {
    // Not waited for longer than it takes: a control plane that cannot be told may be asked for the certificate all the same.
    await reportJob(session, job.id, { status: 'Running' }, 'once');
    const id = yield* certificateId(job.certificateId).mapErr(refusedIn('certificate id'));
    const certificates = yield* api.certificates(id, stop).mapErr(inStep('certificate'));
    const key = yield* keyOfCertificates(session, id, certificates).mapErr(inStep('private key'));

    const { targetId: target, targetType: type, targetConfig } = job;
    const about = { job: job.id, certificate: id, target, type };
    events.emit({ action: 'deployment-started', fields: about });
    const order = { targetType: type, targetConfig, certificatePem: certificates.join(''), keyPem: key.pem };
    const outcome = await deploy(session.deployment, order, { signal: stop });
    if (outcome.isErr()) {
      if (outcome.error.code === 'deployment_failed')
        await tellVerification(session, job, outcome.error.verification);
      return err(inStep('deployment')(outcome.error));
    }
    const deployed = outcome.value;
    for (const reason of deployed.warnings)
      events.emit({ action: 'deployment-warning', level: 'warning', fields: { job: job.id, reason } });
    const { changed, verification } = deployed;
    events.emit({
      action: 'certificate-deployed',
      fields: {
        ...about,
        changed: changed ? 'yes' : 'no',
        verified: verification && (verification.verified ? 'yes' : 'no'),
      },
    });
    await tellVerification(session, job, verification);
    if (key.isPresent)
      await keys.forgetFormer(id).orTee((error) =>
        events.emit({
          action: 'deployment-warning',
          level: 'warning',
          fields: { job: job.id, reason: error.message },
        }),
      );
    return ok(undefined);
  });
}

/**
 * Tells the control plane what a TLS handshake with the target showed; if that fails it is logged, and no more. What went wrong in the
 * handshake is told to the log.
 */
async function tellVerification(
  session: PullSession,
  job: DeploymentJob,
  verification: Verification | undefined,
): Promise<void> {
  if (!verification) return;
  const { endpoint, expectedFingerprint, actualFingerprint, verified, error = '', detail } = verification;
  const { api, context, events, stop } = session;
  if (!verified)
    events.emit({
      action: 'verification-failed',
      level: 'warning',
      fields: { job: job.id, target: job.targetId, endpoint, reason: detail ?? error },
    });
  if (job.targetId === undefined) return;
  const report = {
    target_id: job.targetId,
    expected_fingerprint: expectedFingerprint,
    actual_fingerprint: actualFingerprint,
    verified,
    error,
  };
  const told = await withFarewell(context.clock, stop, (signal) => api.verification(job.id, report, signal));
  told.orTee((failed) => {
    const forbidden = failed.code === 'refused' && failed.why === 'forbidden';
    if (forbidden && session.once.has('verification-forbidden')) return;
    if (forbidden) session.once.add('verification-forbidden');
    const reason = forbidden
      ? `${failed.message}: it lacks the permission verification.run. This is said once`
      : failed.message;
    const fields = { job: job.id, status: 'verification', reason };
    events.emit({ action: 'job-report-failed', level: 'warning', fields });
  });
}
