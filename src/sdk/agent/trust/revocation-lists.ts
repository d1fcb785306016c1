import { ok, type ResultAsync, safeTry } from 'neverthrow';
import { hex } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { readPem } from '../../../domain/core/pem.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import { type HeldList, listNumber, withOneMore } from '../../../domain/trust/held-lists.js';
import type { RevocationList } from '../../../domain/trust/revocation-list.js';
import type { AgentContext } from '../context.js';

/** Whoever is on a list that cannot be read would be let in: that is an error, never a warning. */
export function readLists(
  { keyStore, revocationLists }: AgentContext,
  settings: AgentSettings,
  text: string | undefined,
  identity: { readonly authorities: readonly Certificate[] } | undefined,
): ResultAsync<readonly HeldList[], CtrlExecError> {
  return safeTry(async function* () {
    if (text === undefined || identity === undefined) return ok([]);
    const { blocks, behind } = readPem(text);
    const lists: HeldList[] = [];
    const around = [...blocks.flatMap(({ before }) => before), ...behind];
    const whole = blocks.length > 0 && !around.some((line) => line.startsWith('-----'));
    for (const { text: pem, before } of whole ? blocks : [{ text: '', before: [] }]) {
      const broughtBy = ownerLine.exec(before.at(-1) ?? '')?.[1];
      const list = yield* revocationLists.read(pem, identity.authorities).mapErr((error): CtrlExecError => {
        const where = keyStore(settings).location('agent-revocation-lists');
        const reason = `${where}: ${error.reason}`;
        return failure(
          'certificate_invalid',
          `the revocation list cannot be used: ${reason}. Restore it from a backup, or remove it: the dispatcher sends it again`,
          { field: 'revocation list', reason },
        );
      });
      lists.push({ ...list, broughtBy });
    }
    return ok(lists);
  });
}

/** A list as it is kept: before its block a line says whose it is. */
const ownerLine = /^# dispatcher (\S+)$/;

/** The text in which `loadTrust` finds these lists again; null for none. */
export const formatLists = (lists: readonly HeldList[]): string | null =>
  lists.length === 0
    ? null
    : lists
        .map(({ dispatcherId, broughtBy, pem }) => {
          const of = dispatcherId ?? broughtBy;
          return `${of === undefined ? '' : `# dispatcher ${of}\n`}${pem}`;
        })
        .join('');

/** Why a list is not taken; where it conflicts, with the list that stays in its place. */
export interface ListRefusal {
  readonly outcome: 'invalid' | 'conflict';
  readonly reason: string;
  readonly held?: HeldList;
}

/** What a list changes of those that are held; without `news` nothing. */
export interface ListsWith {
  readonly lists: readonly HeldList[];
  /** The list as it was read. */
  readonly list: RevocationList;
  readonly news: boolean;
}

/** The part of what an agent answers by that a further list is judged by. */
interface HoldingLists {
  readonly state: { readonly revocationLists: readonly HeldList[] };
  readonly identity: { readonly authorities: readonly Certificate[] };
}

/**
 * What a list that a trusted dispatcher brings changes of those that are held (wire-protocol 2.4). To be stored as
 * `{ 'agent-revocation-lists': formatLists(lists) }`.
 * @param broughtBy the id of the dispatcher
 */
export function withList(
  { revocationLists }: Pick<AgentContext, 'revocationLists'>,
  { state, identity }: HoldingLists,
  broughtBy: string,
  pem: string,
): ResultAsync<ListsWith, ListRefusal> {
  return revocationLists
    .read(pem, identity.authorities)
    .mapErr(({ reason }): ListRefusal => ({ outcome: 'invalid', reason }))
    .andThen((list) =>
      withOneMore(state.revocationLists, { ...list, broughtBy })
        .map((lists) => ({ lists, list, news: lists !== state.revocationLists }))
        .mapErr((conflict): ListRefusal => ({ outcome: 'conflict', ...conflict })),
    );
}

/** The part of what an agent trusts that its lists depend on. */
interface Holding {
  readonly revocationLists: readonly HeldList[];
  readonly identity: { readonly authorities: readonly Certificate[] } | undefined;
}

/** Number of the revocation lists that this host holds of a dispatcher: the lowest among its CAs, 0 where one has none. */
export function crlNumber(
  { crypto }: Pick<AgentContext, 'crypto'>,
  { revocationLists, identity }: Holding,
  dispatcherId: string,
): number {
  const numbers = (identity?.authorities ?? []).map(({ spki }) =>
    listNumber(revocationLists, dispatcherId, hex(crypto.sha256(spki))),
  );
  return numbers.length === 0 ? 0 : Math.min(...numbers);
}
