import { err, ok, type Result } from 'neverthrow';
import { anyText, decodeObject } from '../core/decode.js';
import { type CtrlExecError, failure } from '../core/errors.js';
import { parseJsonObject } from '../core/json.js';
import { certificatePem } from '../core/pem.js';
import { pemCertificates } from './discovery.js';
import { type JudgedJobs, judgeJobs } from './jobs.js';

/** One call of the control plane's API. */
export interface ControlPlaneRequest {
  readonly method: 'GET' | 'POST';
  /** Escaped; without the base path of the server's URL. */
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: Readonly<Record<string, unknown>>;
  /** It succeeds by being taken on, and is done later. Default: it succeeds by being done. */
  readonly later?: true;
}

/** What a host says of itself with each heartbeat. */
export interface Heartbeat {
  readonly version: string;
  readonly hostname: string;
  /** In Go's words. */
  readonly os: string;
  readonly architecture: string;
  /** Empty where it is not known. */
  readonly ip_address: string;
}

export type JobStatus =
  | { readonly status: 'Running' | 'Completed' }
  | { readonly status: 'Failed'; readonly error: string };

/** A TLS handshake after a deployment, as the control plane is told of it. */
export interface VerificationReport {
  readonly target_id: string;
  readonly expected_fingerprint: string;
  readonly actual_fingerprint: string;
  readonly verified: boolean;
  readonly error: string;
}

type Judged<T> = Result<T, CtrlExecError<'protocol_violation'>>;

const segment = encodeURIComponent;
const agentPath = (agentId: string, rest: string) => `/api/v1/agents/${segment(agentId)}/${rest}`;

/** The calls of an agent, as requests. */
export const pullRequests = (agentId: string) => {
  const post = (rest: string, body: object): ControlPlaneRequest => ({
    method: 'POST',
    path: agentPath(agentId, rest),
    body: { ...body },
  });
  const get = (rest: string): ControlPlaneRequest => ({ method: 'GET', path: agentPath(agentId, rest) });
  return {
    heartbeat: (heartbeat: Heartbeat) => post('heartbeat', heartbeat),
    work: () => get('work'),
    csr: (certificateId: string, csrPem: string): ControlPlaneRequest => ({
      ...post('csr', { csr_pem: csrPem, certificate_id: certificateId }),
      later: true,
    }),
    certificate: (certificateId: string) => get(`certificates/${segment(certificateId)}`),
    jobStatus: (jobId: string, status: JobStatus) => post(`jobs/${segment(jobId)}/status`, status),
    verification: (jobId: string, report: VerificationReport): ControlPlaneRequest => ({
      method: 'POST',
      path: `/api/v1/jobs/${segment(jobId)}/verify`,
      body: { ...report },
    }),
    discoveries: (report: object): ControlPlaneRequest => ({ ...post('discoveries', report), later: true }),
  };
};

const malformed = (what: string, reason: string) =>
  failure('protocol_violation', `the control plane's ${what} cannot be understood: ${reason}`, { reason });

const jsonOf = (body: Uint8Array, what: string, itemLimit?: number): Judged<Record<string, unknown>> =>
  parseJsonObject(body, itemLimit).mapErr((reason) => malformed(what, reason));

/** Members and elements of a list of jobs: all that 16 MiB hold of them. */
const maxItems = 2_000_000;

/** The jobs in the body of an answer to `work`. */
export const judgeWork = (body: Uint8Array): Judged<JudgedJobs> =>
  jsonOf(body, 'list of jobs', maxItems).andThen((json) =>
    judgeJobs(json).mapErr((reason) => malformed('list of jobs', reason)),
  );

const maxCertificates = 20;

/** The certificates of an answer to `certificate`, PEM, one block each, in its order. Nothing else that stands there is taken over. */
export function judgeCertificates(body: Uint8Array): Judged<readonly string[]> {
  const what = 'certificate';
  const read = jsonOf(body, what).andThen((json) =>
    decodeObject(json, { certificate_pem: anyText }, { open: true }).mapErr((reason) =>
      malformed(what, reason),
    ),
  );
  return read.andThen(({ certificate_pem: pem }) => {
    const certificates = pemCertificates(pem);
    if (certificates.length > maxCertificates)
      return err(malformed(what, `more than ${maxCertificates} certificates`));
    const readable = certificates.flatMap((der) => (der ? [certificatePem(der)] : []));
    if (readable.length === 0) return err(malformed(what, 'no PEM block CERTIFICATE in "certificate_pem"'));
    if (readable.length < certificates.length) return err(malformed(what, 'a PEM block that is not base64'));
    return ok(readable);
  });
}
