import { err, ok, type Result } from 'neverthrow';
import { decodeObject, isJsonObject, list, optional, text } from '../core/decode.js';
import { isPathSegment, printable } from '../core/names.js';

/** What the control plane wants done. Nothing in it was judged beyond its form. */
export type PullJob = CsrJob | DeploymentJob;

/** Make a key, and ask for a certificate. */
export interface CsrJob {
  readonly kind: 'csr';
  readonly id: string;
  readonly certificateId: string;
  readonly commonName: string;
  readonly sans: readonly string[];
}

/** Put a certificate where a service uses it. */
export interface DeploymentJob {
  readonly kind: 'deployment';
  readonly id: string;
  readonly certificateId: string;
  /** Undefined: the job is about no target of its own. */
  readonly targetId: string | undefined;
  readonly targetType: string;
  readonly targetConfig: unknown;
}

/** What one entry of an answer turned out to be. */
export type JudgedJob =
  | { readonly kind: 'job'; readonly job: PullJob }
  /** Nothing that this agent does. */
  | { readonly kind: 'ignored'; readonly id: string; readonly reason: string }
  /** It should be done, and cannot be understood. */
  | { readonly kind: 'malformed'; readonly id: string; readonly reason: string };

/** Go leaves empty members out, or writes null. */
const nothing = (value: unknown) => value === null || value === undefined;

const members = {
  certificate_id: text(4096),
  common_name: optional(text(4096)),
  sans: optional(list(text(4096), 0, 10_000)),
  target_id: optional(text(4096)),
  target_type: optional(text(256)),
};

/** Entries of one answer that are looked at; the others come with the next. */
const maxJobs = 10_000;

/** What an answer to a poll holds. */
export interface JudgedJobs {
  /** In the order of the answer. */
  readonly jobs: readonly JudgedJob[];
  /** So many more there were, which were not looked at. */
  readonly left: number;
}

/** The jobs of an answer to a poll, each judged by itself. The error: there is no list of jobs. */
export function judgeJobs(answer: Readonly<Record<string, unknown>>): Result<JudgedJobs, string> {
  const jobs = answer['jobs'];
  if (nothing(jobs)) return ok({ jobs: [], left: 0 });
  if (!Array.isArray(jobs)) return err('member "jobs" is not a list');
  // defence: pull-jobs-of-one-answer
  const taken = jobs.slice(0, maxJobs);
  return ok({ jobs: taken.map(judgeJob), left: jobs.length - taken.length });
}

function judgeJob(entry: unknown): JudgedJob {
  if (!isJsonObject(entry)) return { kind: 'ignored', id: '', reason: 'not a JSON object' };
  const given = Object.fromEntries(Object.entries(entry).filter(([, value]) => !nothing(value)));
  const { id, type, status, target_config: targetConfig } = given;
  if (typeof id !== 'string' || !isPathSegment(id))
    return { kind: 'ignored', id: '', reason: 'its id is not a text of 1 to 128 visible characters' };
  const kind = status === 'AwaitingCSR' ? 'csr' : type === 'Deployment' ? 'deployment' : undefined;
  if (kind === undefined)
    return {
      kind: 'ignored',
      id,
      reason: `type ${shown(type)} with status ${shown(status)} is not known here`,
    };

  const decoded = decodeObject(given, members, { open: true });
  if (decoded.isErr()) return { kind: 'malformed', id, reason: `malformed job: ${decoded.error}` };
  const job = decoded.value;
  const certificateId = job.certificate_id;
  if (kind === 'csr') {
    const csr = { kind, id, certificateId, commonName: job.common_name ?? '', sans: job.sans ?? [] } as const;
    return { kind: 'job', job: csr };
  }
  const targetId = job.target_id === '' ? undefined : job.target_id;
  const targetType = job.target_type ?? '';
  return { kind: 'job', job: { kind, id, certificateId, targetId, targetType, targetConfig } };
}

const shown = (value: unknown) =>
  typeof value === 'string' ? `"${printable(value, 40)}"` : 'that is not a text';

/**
 * Jobs of one lane are done one after the other, those of different lanes side by side: deployments by their target, CSRs by
 * their certificate. Undefined: the job waits for no other. That deployments share a file is found out when they are done.
 */
export function laneOf(job: PullJob): string | undefined {
  if (job.kind === 'csr') return `certificate ${job.certificateId}`;
  return job.targetId === undefined ? undefined : `target ${job.targetId}`;
}
