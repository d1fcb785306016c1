import { err, ok, type Result, type ResultAsync } from 'neverthrow';
import { withoutToken } from '../../../domain/core/redaction.js';
import type { CertificateId } from '../../../domain/deploy/certificate-id.js';
import {
  type ControlPlaneRequest,
  type Heartbeat,
  type JobStatus,
  judgeCertificates,
  judgeWork,
  pullRequests,
  type VerificationReport,
} from '../../../domain/deploy/control-plane-api.js';
import type { JudgedJobs } from '../../../domain/deploy/jobs.js';
import type { PullSettings } from '../../../domain/settings/pull.js';
import type { ControlPlane, ControlPlaneError } from '../../../ports/control-plane.js';

type Answer<T> = ResultAsync<T, ControlPlaneError>;

/** The control plane as this agent calls it. What is not the answer that was hoped for is an error; none tells the API key. */
export interface PullApi {
  heartbeat(heartbeat: Heartbeat, signal?: AbortSignal): Answer<void>;
  work(signal?: AbortSignal): Answer<JudgedJobs>;
  submitCsr(id: CertificateId, csrPem: string, signal?: AbortSignal): Answer<void>;
  /** PEM, one block each, in the order of the control plane. */
  certificates(id: CertificateId, signal?: AbortSignal): Answer<readonly string[]>;
  jobStatus(jobId: string, status: JobStatus, signal?: AbortSignal): Answer<void>;
  verification(jobId: string, report: VerificationReport, signal?: AbortSignal): Answer<void>;
  discoveries(report: object, signal?: AbortSignal): Answer<void>;
}

export function pullApi(plane: ControlPlane, settings: Pick<PullSettings, 'agentId' | 'apiKey'>): PullApi {
  const requests = pullRequests(settings.agentId);
  const call = <T>(
    request: ControlPlaneRequest,
    judge: (body: Uint8Array) => Result<T, ControlPlaneError>,
    signal: AbortSignal | undefined,
  ): Answer<T> =>
    plane
      .send(request, signal)
      .andThen(judge)
      .orElse((error) => err(silent(error, settings.apiKey)));
  /** The control plane may have put the key into a job: it is not told it back. */
  const silenced = (report: JobStatus): JobStatus =>
    // defence: pull-key-not-reported
    report.status === 'Failed' ? { ...report, error: withoutToken(report.error, settings.apiKey) } : report;
  const done = () => ok(undefined);

  return {
    heartbeat: (heartbeat, signal) => call(requests.heartbeat(heartbeat), done, signal),
    work: (signal) => call(requests.work(), judgeWork, signal),
    submitCsr: (id, csrPem, signal) => call(requests.csr(id, csrPem), done, signal),
    certificates: (id, signal) => call(requests.certificate(id), judgeCertificates, signal),
    jobStatus: (jobId, report, signal) => call(requests.jobStatus(jobId, silenced(report)), done, signal),
    verification: (jobId, report, signal) => call(requests.verification(jobId, report), done, signal),
    discoveries: (report, signal) => call(requests.discoveries(report), done, signal),
  };
}

/** Without the API key, which the control plane may have put into its answer. */
function silent(error: ControlPlaneError, apiKey: string): ControlPlaneError {
  const said = { ...error, message: withoutToken(error.message, apiKey) };
  return 'reason' in said ? { ...said, reason: withoutToken(said.reason, apiKey) } : said;
}

/** Whether the same call may succeed a little later. */
export function isPassing(error: ControlPlaneError): boolean {
  if (error.code === 'refused') return error.why === 'busy';
  return error.code !== 'protocol_violation' && error.code !== 'too_large';
}
