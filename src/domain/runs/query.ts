import { err, ok, type Result } from 'neverthrow';
import { base64url, fromBase64url, utf8 } from '../core/bytes.js';
import { type CtrlExecError, failure } from '../core/errors.js';
import { type HostState, hostStates } from './host-result.js';
import type { RunRecord } from './record.js';

/** Which runs are wanted: those that meet all that is given. */
export interface RunQuery {
  /** A registered name, or a host argument as it was given. */
  readonly host?: string;
  readonly script?: string;
  /** Who asked, as claimed to the hook. */
  readonly username?: string;
  /** A host of it is in this state. */
  readonly outcome?: HostState;
  /** Epoch milliseconds: started then or later. */
  readonly startedAfter?: number;
  /** Epoch milliseconds: started earlier. */
  readonly startedBefore?: number;
  /** 1 to 200. Default: 50. */
  readonly limit?: number;
  /** `nextCursor` of the page before; the rest of the query should be the same. */
  readonly cursor?: string;
}

const defaultLimit = 50;
const maxLimit = 200;

type Position = Pick<RunRecord, 'startedAt' | 'reqid'>;

const invalid = (field: string, expected: string) =>
  err(failure('invalid_argument', `${field}: ${expected}`, { field, reason: expected }));

const isMoment = (value: number | undefined) => value === undefined || Number.isSafeInteger(value);

/** What could stand in a record: a longer text, or one that no store keeps, is in none. */
const isWord = (value: string | undefined) =>
  value === undefined ||
  (typeof value === 'string' && value.length <= 1024 && !/\0|\p{Surrogate}/u.test(value));

const outcomes: readonly (string | undefined)[] = [undefined, ...hostStates];

/** The form of a query, and where its page begins. */
export function readRunQuery(
  query: RunQuery,
): Result<
  { readonly limit: number; readonly behind: Position | undefined },
  CtrlExecError<'invalid_argument'>
> {
  const { limit = defaultLimit, cursor } = query;
  if (!Number.isInteger(limit) || limit < 1 || limit > maxLimit)
    return invalid('limit', `a whole number from 1 to ${maxLimit} is expected`);
  for (const field of ['startedAfter', 'startedBefore'] as const)
    if (!isMoment(query[field])) return invalid(field, 'whole epoch milliseconds are expected');
  for (const field of ['host', 'script', 'username'] as const)
    if (!isWord(query[field])) return invalid(field, 'a text of at most 1024 characters is expected');
  if (!outcomes.includes(query.outcome))
    return invalid('outcome', `one of ${hostStates.join(', ')} is expected`);
  if (cursor === undefined) return ok({ limit, behind: undefined });
  const behind = readCursor(cursor);
  return behind ? ok({ limit, behind }) : invalid('cursor', 'one that came with another page is expected');
}

/** Where the page behind this run begins. Opaque to callers: a place in the list, and nothing that allows anything. */
export const cursorBehind = ({ startedAt, reqid }: Position): string =>
  base64url(utf8(`${startedAt} ${reqid}`));

function readCursor(cursor: string): Position | undefined {
  if (typeof cursor !== 'string' || cursor.length > 64) return undefined;
  const text = String.fromCharCode(...(fromBase64url(cursor) ?? []));
  const [, at, reqid] = /^(\d{1,15}) ([0-9a-f]{16})$/.exec(text) ?? [];
  return at === undefined || reqid === undefined ? undefined : { startedAt: Number(at), reqid };
}
