import type { CtrlExecError, ErrorCode } from '../../../domain/core/errors.js';

/** The body of every answer that is not a success. */
interface FailureBody {
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

/** How one error of the library is answered. */
interface ErrorAnswer<C extends ErrorCode> {
  readonly status: number;
  /** What a client is told. Default: the code, and the message. */
  readonly body?: (error: CtrlExecError<C>) => FailureBody;
  /** What the log says of it. */
  readonly reason?: (error: CtrlExecError<C>) => string;
  /** As the document shows it, or its `detail` there. */
  readonly example?: FailureBody | string;
}

const endingBody: FailureBody = {
  ok: false,
  error: 'aborted',
  detail:
    'the API is ending: what was asked may have been begun, and goes on; the same request with the same Idempotency-Key begins nothing twice',
};

/** What concerns the dispatcher's own files, whose paths are nothing for clients. */
const ofOwn = (error: ErrorCode, detail: string) => ({
  status: 500,
  body: (): FailureBody => ({ ok: false, error, detail }),
  reason: ({ message }: CtrlExecError) => message,
});

/** How every expected failure is answered. */
export const errorAnswers: { readonly [C in ErrorCode]: ErrorAnswer<C> } = {
  invalid_argument: {
    status: 400,
    body: ({ code, message, field }) => ({ ok: false, error: code, detail: message, field }),
    example: 'hosts: expected array, received string',
  },
  target_unknown: {
    status: 400,
    body: ({ word }) => ({ ok: false, error: 'bad request', detail: `unknown host ${word}` }),
    example: { ok: false, error: 'bad request', detail: 'unknown host slow' },
  },
  denied: {
    status: 403,
    body: ({ reason, hookCode }) => ({
      ok: false,
      error: reason,
      ...(hookCode !== undefined && { code: hookCode }),
    }),
    reason: ({ reason }) => reason,
  },
  // The names near it are those of agents that the hook was not asked about.
  agent_unknown: {
    status: 404,
    body: ({ code, name }) => ({
      ok: false,
      error: code,
      detail: `no agent of that name is registered: ${name}`,
    }),
    example: 'no agent of that name is registered: web-1',
  },
  run_unknown: { status: 404 },
  pairing_unknown: { status: 404, example: 'no pairing request 0f1e2d3c is waiting' },
  agent_exists: { status: 409, example: 'an agent of that name is registered already: web-02' },
  ca_exists: { status: 409 },
  codes_differ: { status: 409 },
  downgrade_refused: { status: 409 },
  identity_exists: { status: 409 },
  key_banned: { status: 409 },
  held: { status: 409 },
  locked: {
    status: 409,
    body: ({ conflicts }) => ({
      ok: false,
      error: 'locked',
      code: 4,
      conflicts: [...new Set(conflicts.map(({ host, script }) => `${host}:${script}`))],
    }),
    example: { ok: false, error: 'locked', code: 4, conflicts: ['web-01:backup'] },
  },
  busy: { status: 409 },
  cancelled: { status: 409 },
  pairing_denied: { status: 409 },
  id_ambiguous: { status: 409 },
  not_ready: { status: 409 },
  unpinned: { status: 409 },
  pairing_expired: { status: 410 },
  too_large: { status: 413 },
  // Another status where another caller has used the key.
  idempotency_mismatch: {
    status: 422,
    body: ({ code, message, field }) => ({ ok: false, error: code, detail: message, field }),
  },
  config_invalid: ofOwn('config_invalid', 'the configuration of the dispatcher is not valid'),
  certificate_invalid: { status: 500 },
  crypto_failed: { status: 500 },
  file_failed: ofOwn('file_failed', 'a file of the dispatcher could not be used'),
  listen_failed: { status: 500 },
  spawn_failed: { status: 500 },
  store_failed: ofOwn('store_failed', 'the store of the dispatcher failed'),
  connection_failed: { status: 502 },
  connection_refused: { status: 502 },
  host_unresolved: { status: 502 },
  protocol_violation: { status: 502 },
  refused: { status: 502 },
  revoked: { status: 502 },
  tls_failed: { status: 502 },
  unverified: { status: 502 },
  agent_denied: { status: 502 },
  forgotten: { status: 502 },
  lost: { status: 502 },
  not_allowlisted: { status: 502 },
  overloaded: { status: 502 },
  replayed: { status: 502 },
  script_failed: { status: 502 },
  script_timed_out: { status: 502 },
  signature_refused: { status: 502 },
  silent: { status: 502 },
  skipped: { status: 502 },
  wrong_identity: { status: 502 },
  deployment_failed: { status: 502 },
  // Who asks is told so by one cause alone: whose own connection ends hears nothing more.
  aborted: { status: 503, body: () => endingBody, example: endingBody },
  ca_missing: { status: 503 },
  identity_missing: { status: 503 },
  timed_out: { status: 504 },
};

/**
 * Every refusal that is no error of the library: its status, its word and an example of its detail. `of`: which routes may answer it.
 * `server`: all, before it is known what is asked for. `admitted`: all but those that are open to all. `new`: those below `/v1/`.
 */
const refusals = {
  rate: {
    status: 429,
    error: 'too many requests',
    of: 'server',
    example: '192.0.2.1 made more than 600 requests in 60 s',
  },
  headers: {
    status: 431,
    error: 'too many headers',
    of: 'server',
    example: 'at most 64 header lines are taken',
  },
  invalidJson: { status: 400, error: 'invalid JSON', of: 'admitted', example: 'the body: not valid JSON' },
  generic: { status: 403, error: 'forbidden', of: 'admitted' },
  tooLarge: {
    status: 413,
    error: 'too_large',
    of: 'admitted',
    example: 'the body is larger than 1048576 bytes',
  },
  compressed: {
    status: 415,
    error: 'unsupported media type',
    of: 'admitted',
    example: 'the body must not be compressed',
  },
  tooSlow: {
    status: 408,
    error: 'request timeout',
    of: 'admitted',
    example: 'the body was not whole within 5000 ms',
  },
  internal: { status: 500, error: 'internal error', of: 'admitted' },
  busy: {
    status: 503,
    error: 'busy',
    of: 'admitted',
    example: '64 requests are under way, more are not taken',
  },
  method: { status: 405, error: 'method not allowed', of: 'new', example: 'expected GET' },
  crossOrigin: { status: 403, error: 'forbidden', example: 'requests of other sites are not answered' },
  rebinding: { status: 403, error: 'forbidden' },
  notFound: { status: 404, error: 'not found' },
  undecodable: { status: 400, error: 'invalid_argument' },
  incomplete: { status: 400, error: 'incomplete request' },
  noHttp: { status: 400, error: 'invalid request' },
  headerBytes: { status: 431, error: 'request header fields too large' },
  chunkBytes: { status: 413, error: 'payload too large' },
} as const satisfies Record<string, RefusalRow>;

interface RefusalRow {
  readonly status: number;
  readonly error: string;
  readonly of?: 'server' | 'admitted' | 'new';
  readonly example?: string;
}

/** One of the refusals, with what is to be said of this one. */
export function refusal(name: keyof typeof refusals, detail?: string): Refusal {
  const { status, error } = refusals[name];
  return { status, body: { ok: false, error, ...(detail !== undefined && { detail }) } };
}

/** What each status of a refusal means. */
export const statusTexts: Readonly<Record<number, string>> = {
  400: 'The request is not understood: the body is missing, no JSON, or of another shape.',
  403: 'The auth hook denied it, or a browser has asked for the page of another site.',
  404: 'There is no such thing.',
  405: 'Another method is expected: `Allow` names those.',
  408: 'The body did not come in time.',
  409: 'It cannot be as things are now.',
  410: 'It is over.',
  413: 'The body is too large.',
  415: 'The body comes in a form that is not read.',
  422: 'The idempotency key was used for another request.',
  429: 'Too many requests have come from this address: `Retry-After` has the seconds to wait.',
  431: 'The header is too large.',
  500: 'The dispatcher failed.',
  502: 'An agent failed.',
  503: 'The dispatcher cannot do it now (with `Retry-After` there are too many requests under way), or is not set up. `aborted`: the API is ending, and what was asked may have been begun; ask again with the same `Idempotency-Key`.',
  504: 'An agent did not answer in time.',
};

/** The status of an idempotency key that another caller has used. */
const otherCaller = 409;

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
export function refusalOf<C extends ErrorCode>(error: CtrlExecError<C>, generic: boolean): Refusal {
  const code: C = error.code;
  const { status, body, reason }: ErrorAnswer<C> = errorAnswers[code];
  const ofAnother = error.code === 'idempotency_mismatch' && 'field' in error && error.field === 'caller';
  const told = body?.(error) ?? { ok: false, error: code, detail: error.message };
  return {
    status: ofAnother ? otherCaller : status,
    body: generic && error.code === 'denied' ? refusal('generic').body : told,
    ...(reason && { reason: reason(error) }),
  };
}

/** A refusal as the document shows it. */
export interface ShownRefusal {
  readonly status: number;
  readonly name: string;
  readonly body: FailureBody;
}

const shownError = (code: ErrorCode): ShownRefusal => {
  const { status, example = 'what was wrong, in one line' } = errorAnswers[code];
  const body = typeof example === 'object' ? example : { ok: false as const, error: code, detail: example };
  return { status, name: code, body };
};

const shownRefusals = (of: RefusalRow['of']): readonly ShownRefusal[] =>
  Object.entries<RefusalRow>(refusals)
    .filter(([, row]) => row.of === of)
    .map(([name, { status, error, example }]) => ({
      status,
      name,
      body: { ok: false, error, ...(example !== undefined && { detail: example }) },
    }));

const shownDenial: ShownRefusal = {
  status: 403,
  name: 'denied',
  body: { ok: false, error: 'bad credentials', code: 2 },
};

/** The refusals that a route may answer. @param codes its errors; undefined: it is open to all */
export function refusalsOf(path: string, codes: readonly ErrorCode[] | undefined): readonly ShownRefusal[] {
  const errors = codes?.map(shownError) ?? [];
  const ofAnother = errors.filter(({ name }) => name === 'idempotency_mismatch');
  const admitted = codes
    ? [shownDenial, ...shownRefusals('admitted'), ...(isDeployed(path) ? [] : shownRefusals('new'))]
    : [];
  return [
    ...shownRefusals('server'),
    ...admitted,
    ...errors,
    ...ofAnother.map((each) => ({ ...each, status: otherCaller, body: { ...each.body, field: 'caller' } })),
  ].map((each) => ({ ...each, ...inWordsOf(path, each) }));
}
