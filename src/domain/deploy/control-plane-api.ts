import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from '../core/errors.js';
import { parseJsonObject } from '../core/json.js';
import { printable } from '../core/names.js';
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
}

/** An answer of the control plane, with its whole body. */
export interface ControlPlaneAnswer {
  readonly status: number;
  readonly body: Uint8Array;
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

type Judged<T> = Result<T, CtrlExecError<'refused' | 'protocol_violation'>>;

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
    csr: (certificateId: string, csrPem: string) =>
      post('csr', { csr_pem: csrPem, certificate_id: certificateId }),
    certificate: (certificateId: string) => get(`certificates/${segment(certificateId)}`),
    jobStatus: (jobId: string, status: JobStatus) => post(`jobs/${segment(jobId)}/status`, status),
    verification: (jobId: string, report: VerificationReport): ControlPlaneRequest => ({
      method: 'POST',
      path: `/api/v1/jobs/${segment(jobId)}/verify`,
      body: { ...report },
    }),
    discoveries: (report: object) => post('discoveries', report),
  };
};

/** What is told of an answer's body; all of it may be of any size. */
const maxReason = 300;

/** What to do about a refusal whatever it is of. */
const hints: ReadonlyMap<number, string> = new Map([
  [401, 'it does not accept the API key (CERTCTL_API_KEY): give the agent one that is valid'],
  [403, 'the role of the API key (CERTCTL_API_KEY) does not permit this call'],
]);

const refusals: ReadonlyMap<number, 'retired' | 'forbidden' | 'too_much'> = new Map([
  [410, 'retired'],
  [403, 'forbidden'],
  [413, 'too_much'],
]);

/** Why the control plane refused: it has retired the agent, cannot do it now, does not permit it, or was sent too much. */
export function whyRefused(
  error: CtrlExecError,
): 'retired' | 'busy' | 'forbidden' | 'too_much' | 'other' | undefined {
  if (error.code !== 'refused') return undefined;
  const { status } = error;
  if (status >= 500 || status === 429) return 'busy';
  return refusals.get(status) ?? 'other';
}

/** Err `refused` unless the answer has this status. */
export function expectStatus(answer: ControlPlaneAnswer, expected: number): Judged<void> {
  const { status } = answer;
  if (status === expected) return ok(undefined);
  const said = bodyText(answer);
  const reason = said === '' ? `status ${status} instead of ${expected}` : said;
  const hint = hints.get(status);
  const message = `the control plane answered with status ${status}${said === '' ? '' : `: ${said}`}${hint === undefined ? '' : `; ${hint}`}`;
  return err(failure('refused', message, { status, reason }));
}

/** The beginning of a body, fit for a line of a log. */
export const bodyText = ({ body }: ControlPlaneAnswer): string =>
  printable(new TextDecoder().decode(body.subarray(0, 4 * maxReason)).trim(), maxReason);

const malformed = (what: string, reason: string) =>
  failure('protocol_violation', `the control plane's ${what} cannot be understood: ${reason}`, { reason });

function jsonAnswer(
  answer: ControlPlaneAnswer,
  what: string,
  itemLimit?: number,
): Judged<Record<string, unknown>> {
  return expectStatus(answer, 200).andThen(() =>
    parseJsonObject(answer.body, itemLimit).mapErr((reason) => malformed(what, reason)),
  );
}

/** Members and elements of a list of jobs: all that 16 MiB hold of them. */
const maxItems = 2_000_000;

/** The jobs that an answer to `work` holds. */
export const judgeWork = (answer: ControlPlaneAnswer): Judged<JudgedJobs> =>
  jsonAnswer(answer, 'list of jobs', maxItems).andThen((json) =>
    judgeJobs(json).mapErr((reason) => malformed('list of jobs', reason)),
  );

const maxCertificates = 20;

/** The certificates of an answer to `certificate`, PEM, one block each, in its order. Nothing else that stands there is taken over. */
export function judgeCertificates(answer: ControlPlaneAnswer): Judged<readonly string[]> {
  const what = 'certificate';
  return jsonAnswer(answer, what).andThen(({ certificate_pem: pem }) => {
    if (typeof pem !== 'string') return err(malformed(what, 'member "certificate_pem" is not a text'));
    const certificates = pemCertificates(pem);
    if (certificates.length > maxCertificates)
      return err(malformed(what, `more than ${maxCertificates} certificates`));
    const readable = certificates.flatMap((der) => (der ? [certificatePem(der)] : []));
    if (readable.length === 0) return err(malformed(what, 'no PEM block CERTIFICATE in "certificate_pem"'));
    if (readable.length < certificates.length) return err(malformed(what, 'a PEM block that is not base64'));
    return ok(readable);
  });
}
