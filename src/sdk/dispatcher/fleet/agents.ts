import { err, ok, okAsync, type Result, type ResultAsync, safeTry } from 'neverthrow';
import { base64url, fromBase64url, utf8 } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import { type AgentState, agentState } from '../../../domain/trust/agent-state.js';
import type { DispatcherContext } from '../context.js';
import { unrevoked } from '../trust/revoked.js';
import { type Asked, type Asking, mayAsk } from './ask.js';

type Tags = Readonly<Record<string, string>>;

const invalid = (field: string, reason: string): CtrlExecError<'invalid_argument'> =>
  failure('invalid_argument', `${field}: ${reason}`, { field, reason });

/** Agents by tag; nothing that is meant for a group of hosts is meant for a revoked one. */
export function agentsWith(
  context: DispatcherContext,
  tags: Tags,
): ResultAsync<readonly AgentRecord[], CtrlExecError<'store_failed'>> {
  return context.registry
    .list({ tags })
    .andThen((matching) =>
      Object.keys(tags).length === 0
        ? okAsync(matching)
        : /* defence: revoked-agent-has-no-tags */ unrevoked(context, matching),
    );
}

/** Which agents are listed. */
export interface AgentQuery {
  /** Only agents whose cached tags have all of these values; with any, agents that are revoked are left out. */
  readonly tags?: Tags;
  /** Default: all. */
  readonly limit?: number;
  /** `nextCursor` of the page before; the rest of the query should be the same. */
  readonly cursor?: string;
}

/** An agent, and how it stands by its certificates. */
export interface ListedAgent {
  readonly record: AgentRecord;
  readonly state: AgentState;
}

/** One page of the list of agents. */
export interface AgentPage {
  /** Sorted by name. */
  readonly agents: readonly ListedAgent[];
  /** Where there are more: what gives the next page. */
  readonly nextCursor?: string;
}

/** The name behind which a page begins; empty: at the beginning. */
function nameBehind(cursor: string | undefined): Result<string, CtrlExecError<'invalid_argument'>> {
  if (cursor === undefined) return ok('');
  const bytes = fromBase64url(cursor);
  return bytes && bytes.length > 0
    ? ok(new TextDecoder().decode(bytes))
    : err(invalid('cursor', 'one that came with another page is expected'));
}

/** The registry by name, page by page. */
export function agentPage(
  context: DispatcherContext,
  { tags = {}, limit = Number.POSITIVE_INFINITY, cursor }: AgentQuery = {},
): ResultAsync<AgentPage, CtrlExecError<'invalid_argument' | 'store_failed'>> {
  return safeTry(async function* () {
    const after = yield* nameBehind(cursor);
    const isTagged = Object.keys(tags).length > 0;
    // One more than the page says whether there is another. Of agents with tags those that are revoked are left out afterwards.
    const rest = isTagged
      ? (yield* agentsWith(context, tags)).filter(({ name }) => name > after)
      : yield* context.registry.list({ after, ...(Number.isFinite(limit) && { limit: limit + 1 }) });
    const page = rest.slice(0, limit);
    const revoked = new Set((yield* context.revocations.current()).entries.map(({ serial }) => serial));
    const now = context.clock.now();
    const agents = page.map((record) => ({ record, state: agentState(record, revoked, now) }));
    const last = rest.length > page.length ? page.at(-1) : undefined;
    return ok({ agents, ...(last && { nextCursor: base64url(utf8(last.name)) }) });
  });
}

/** Which hosts a request means: `hosts`, or all agents with all of `tags`. */
export interface TargetRequest extends Pick<Asking, 'caller' | 'withoutHook'> {
  readonly hosts?: readonly string[];
  readonly tags?: Tags;
  /** Every registered agent, where neither is given. Default false: `invalid_argument`. */
  readonly all?: boolean;
  /** What the hook is asked before somebody learns that no agent has these tags. Default: nothing. */
  readonly question?: Asked;
}

/**
 * The hosts that a request means. `invalid_argument`: of `hosts`, where hosts and tags are given or neither; of `tags`, where no agent
 * has all of them.
 */
export function targets(
  context: DispatcherContext,
  { hosts, tags, all = false, question, ...asking }: TargetRequest,
): ResultAsync<readonly string[], CtrlExecError> {
  return safeTry<readonly string[], CtrlExecError>(async function* () {
    if (hosts && !tags) return ok(hosts);
    const everybody = all && !hosts && !tags;
    if (!everybody && (hosts || !tags || Object.keys(tags).length === 0))
      return err(invalid('hosts', 'expected either hosts or tags, not empty'));
    const records = yield* agentsWith(context, tags ?? {});
    if (records.length > 0 || everybody) return ok(records.map(({ name }) => name));
    if (question) yield* mayAsk(context, question, asking);
    return err(
      failure('invalid_argument', 'tags: no agent has all of these', { field: 'tags', reason: 'no agent' }),
    );
  });
}
