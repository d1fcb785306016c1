import { printable } from '../../../domain/core/names.js';

/** Each code of a client's error with the fields that go with it. */
export interface ClientErrorFields {
  /** The request, or an option of the client; `field` is the member that is meant, where it is known. */
  invalid_argument: { readonly field: string | undefined };
  /** No answer within `timeoutMs`. What was asked may have been done. */
  timed_out: { readonly timeoutMs: number };
  /** 401, 403: the hook said no, or a proxy on the way did. `reason` is what the API tells; `hookCode` 1 to 3, where it tells that. */
  denied: { readonly reason: string; readonly hookCode: number | undefined };
  /** 404: no such run, agent, request or route; a caller that may not know of a run gets the same. Or a proxy said so. */
  not_found: { readonly reason: string };
  /** 409: the script runs already; `conflicts` are `host:script`. */
  locked: { readonly conflicts: readonly string[] };
  /** 422: the idempotency key was used for another request; 409: with another token. `field` is what differs. */
  idempotency_mismatch: { readonly field: string | undefined };
  /** 429, 503 but for `aborted`: try later; `retryAfter` in seconds, where it is told. Nothing was done. */
  unavailable: { readonly reason: string; readonly retryAfter: number | undefined };
  /** Any other failure that the API tells: `reason` is an `ErrorCode` of the library, or `internal error`. */
  refused: { readonly status: number; readonly reason: string };
  /** No connection, or it broke off; `reason` is the system's (`ECONNREFUSED`, …), or `502`, `504` of a proxy. What was asked may have been done. */
  connection_failed: { readonly reason: string };
  /** What answered is not this API. */
  protocol_violation: { readonly status: number };
  /** The answer is larger than `maxAnswer` bytes. */
  too_large: { readonly limit: number };
  /**
   * The signal, or `close`; or 503 `aborted` of an API that ends. What was asked may have been done: a run may have begun, and the
   * same request with the same idempotency key is given the first one.
   */
  aborted: Record<never, never>;
}

/** The stable name of something that is expected to go wrong. */
export type ClientErrorCode = keyof ClientErrorFields;

/** The closed union of what a client's methods answer with when they fail. `message` is one line for a person. */
export type ClientError<Code extends ClientErrorCode = ClientErrorCode> = {
  [C in Code]: { readonly code: C; readonly message: string } & ClientErrorFields[C];
}[Code];

export function clientError<C extends ClientErrorCode>(
  code: C,
  message: string,
  fields: ClientErrorFields[C],
): ClientError<C> {
  return { code, message: printable(message, 500), ...fields } as ClientError<C>;
}

const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' ? printable(value, 300) : undefined;

const member = (body: unknown, name: string): unknown =>
  typeof body === 'object' && body !== null ? Reflect.get(body, name) : undefined;

/** What an answer is that the API did not write: a proxy on the way did, or the address is another server's. */
function foreign(status: number, from: string, retryAfter: number | undefined): ClientError {
  const reason = `${status} from ${from}, which is not the API of ctrl-exec`;
  switch (status) {
    case 401:
    case 403:
      return clientError('denied', `${reason}: a proxy asks for other credentials, or url is wrong`, {
        reason,
        hookCode: undefined,
      });
    case 404:
      return clientError('not_found', `${reason}: is url wrong, or the path that the API is mounted under?`, {
        reason,
      });
    case 429:
    case 503:
      return clientError('unavailable', `${reason}: a proxy has no API to ask`, { reason, retryAfter });
    case 502:
    case 504:
      return clientError('connection_failed', `${reason}: a proxy did not reach the API`, {
        reason: String(status),
      });
    default:
      return clientError('protocol_violation', reason, { status });
  }
}

/** Who answered, and what else the head says. */
export interface AnswerHead {
  /** For the message. */
  readonly from?: string;
  /** The header of that name. */
  readonly retryAfter?: string;
}

/** What an answer says that is not a success. */
export function failureOf(
  status: number,
  body: unknown,
  { from = 'what answered', retryAfter = '' }: AnswerHead = {},
): ClientError {
  const reason = textOf(member(body, 'error'));
  const seconds = /^\d{1,6}$/.test(retryAfter) ? Number(retryAfter) : undefined;
  if (member(body, 'ok') !== false || reason === undefined) return foreign(status, from, seconds);
  const message = textOf(member(body, 'detail')) ?? reason;
  const field = textOf(member(body, 'field'));
  const code = member(body, 'code');
  switch (status) {
    case 400:
    case 413:
    case 415:
      return clientError('invalid_argument', message, { field });
    case 401:
    case 403:
      return clientError('denied', message, {
        reason,
        hookCode: typeof code === 'number' ? code : undefined,
      });
    case 404:
      return clientError('not_found', message, { reason });
    case 422:
      return clientError('idempotency_mismatch', message, { field });
    case 429:
    case 503: {
      if (reason === 'aborted') return clientError('aborted', message, {});
      return clientError('unavailable', message, { reason, retryAfter: seconds });
    }
    default: {
      const conflicts = member(body, 'conflicts');
      if (status === 409 && reason === 'locked' && Array.isArray(conflicts)) {
        const named = conflicts.slice(0, 10_000).map((each) => textOf(each) ?? '');
        return clientError('locked', `already running: ${named.join(', ')}`, { conflicts: named });
      }
      if (status === 409 && reason === 'idempotency_mismatch') return clientError(reason, message, { field });
      return clientError('refused', message, { status, reason });
    }
  }
}
