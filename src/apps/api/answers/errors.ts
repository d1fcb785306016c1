import type { CtrlExecError, ErrorCode } from '../../../domain/core/errors.js';

/** The HTTP status of every expected failure; see also `otherCaller`. */
export const httpStatus: Readonly<Record<ErrorCode, number>> = {
  invalid_argument: 400,
  target_unknown: 400,
  denied: 403,
  agent_unknown: 404,
  run_unknown: 404,
  pairing_unknown: 404,
  agent_exists: 409,
  ca_exists: 409,
  codes_differ: 409,
  downgrade_refused: 409,
  identity_exists: 409,
  key_banned: 409,
  held: 409,
  locked: 409,
  busy: 409,
  cancelled: 409,
  pairing_denied: 409,
  id_ambiguous: 409,
  not_ready: 409,
  unpinned: 409,
  pairing_expired: 410,
  too_large: 413,
  idempotency_mismatch: 422,
  config_invalid: 500,
  certificate_invalid: 500,
  crypto_failed: 500,
  file_failed: 500,
  listen_failed: 500,
  spawn_failed: 500,
  store_failed: 500,
  connection_failed: 502,
  connection_refused: 502,
  host_unresolved: 502,
  protocol_violation: 502,
  refused: 502,
  revoked: 502,
  tls_failed: 502,
  unverified: 502,
  agent_denied: 502,
  forgotten: 502,
  lost: 502,
  not_allowlisted: 502,
  overloaded: 502,
  replayed: 502,
  script_failed: 502,
  script_timed_out: 502,
  signature_refused: 502,
  silent: 502,
  skipped: 502,
  wrong_identity: 502,
  deployment_failed: 502,
  aborted: 503,
  ca_missing: 503,
  identity_missing: 503,
  timed_out: 504,
};

/** The status of an idempotency key that another caller has used. */
export const otherCaller = 409;

const statusOf = (error: CtrlExecError): number =>
  error.code === 'idempotency_mismatch' && error.field === 'caller' ? otherCaller : httpStatus[error.code];

/** The locks in the way as every interface has them. */
const conflictsOf = ({ conflicts }: CtrlExecError<'locked'>): readonly string[] => [
  ...new Set(conflicts.map(({ host, script }) => `${host}:${script}`)),
];

/** The body of every answer that is not a success. */
export interface FailureBody {
  readonly ok: false;
  /** What a program goes by: a code of the library, a word of deployed servers, or the hook's reason. */
  readonly error: string;
  /** One line for a person. */
  readonly detail?: string;
  /** 1 to 3: how the hook denied it. 4: a lock is held. */
  readonly code?: number;
  /** The member, parameter or header that is meant. */
  readonly field?: string;
  /** The locks that are held, `<host>:<script>`. */
  readonly conflicts?: readonly string[];
}

export interface Refusal {
  readonly status: number;
  readonly body: FailureBody;
  /** What the log says of it. Default: of a 403 its `detail`, else nothing. */
  readonly reason?: string;
}

/** Whether deployed clients may know a route by this path; what is newer is below `/v1/`. */
export const isDeployed = (path: string): boolean => !path.startsWith('/v1/');

/** What deployed clients look for in `error`. */
const deployedWords: Readonly<Record<number, string>> = { 400: 'bad request', 404: 'not found' };

/** A refusal in the words of the route that is asked for: those of the library below `/v1/`, else those of deployed servers. */
export function inWordsOf(path: string, refusal: Refusal): Refusal {
  const word = isDeployed(path) ? deployedWords[refusal.status] : undefined;
  return word === undefined ? refusal : { ...refusal, body: { ...refusal.body, error: word } };
}

/** An error as HTTP has it. @param generic denials say no more than `forbidden` */
export function refusalOf(error: CtrlExecError, generic: boolean): Refusal {
  const status = statusOf(error);
  switch (error.code) {
    case 'denied':
      return { status, body: generic ? forbidden : denial(error), reason: error.reason };
    case 'locked':
      return { status, body: { ok: false, error: 'locked', code: 4, conflicts: conflictsOf(error) } };
    case 'invalid_argument':
    case 'idempotency_mismatch':
      return {
        status,
        body: { ok: false, error: error.code, detail: error.message, field: error.field },
      };
    // The names near it are those of agents that the hook was not asked about.
    case 'agent_unknown':
      return {
        status,
        body: { ok: false, error: error.code, detail: `no agent of that name is registered: ${error.name}` },
      };
    case 'target_unknown':
      return { status, body: { ok: false, error: 'bad request', detail: `unknown host ${error.word}` } };
    case 'aborted':
      return { status, body: { ok: false, error: error.code, detail: ending } };
    case 'store_failed':
    case 'file_failed':
    case 'config_invalid':
      return {
        status,
        body: { ok: false, error: error.code, detail: ownFailures[error.code] },
        reason: error.message,
      };
    default:
      return { status, body: { ok: false, error: error.code, detail: error.message } };
  }
}

/** Who asks is told so by one cause alone: whose own connection ends hears nothing more. */
const ending =
  'the API is ending: what was asked may have been begun, and goes on; the same request with the same Idempotency-Key begins nothing twice';

/** What concerns the dispatcher's own files, whose paths are nothing for clients. */
const ownFailures = {
  store_failed: 'the store of the dispatcher failed',
  file_failed: 'a file of the dispatcher could not be used',
  config_invalid: 'the configuration of the dispatcher is not valid',
} as const;

const forbidden: FailureBody = { ok: false, error: 'forbidden' };

const denial = ({ reason, hookCode }: CtrlExecError<'denied'>): FailureBody => ({
  ok: false,
  error: reason,
  ...(hookCode !== undefined && { code: hookCode }),
});

export const refusal = (status: number, error: string, detail?: string): Refusal => ({
  status,
  body: { ok: false, error, ...(detail !== undefined && { detail }) },
});
