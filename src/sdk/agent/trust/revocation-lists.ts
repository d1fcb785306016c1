import { ok, type ResultAsync, safeTry } from 'neverthrow';
import { hex } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type { RevocationList } from '../../../domain/trust/revocation-list.js';
import type { AgentContext } from '../context.js';

/** A revocation list and the dispatcher that brought it: each numbers its own. */
export interface HeldList extends RevocationList {
  /** Undefined: it was put there by somebody else. */
  readonly dispatcherId: string | undefined;
}

/** Whoever is on a list that cannot be read would be let in: that is an error, never a warning. */
export function readLists(
  { keyStore, revocationLists }: AgentContext,
  settings: AgentSettings,
  text: string | undefined,
  identity: { readonly authorities: readonly Certificate[] } | undefined,
): ResultAsync<readonly HeldList[], CtrlExecError> {
  return safeTry(async function* () {
    if (text === undefined || identity === undefined) return ok([]);
    const blocks = [...text.matchAll(listBlock)];
    const lists: HeldList[] = [];
    const whole = blocks.length > 0 && blocks.length === text.split('-----BEGIN').length - 1;
    for (const [, dispatcherId, pem = ''] of whole ? blocks : [[]]) {
      const list = yield* revocationLists.read(pem, identity.authorities).mapErr((error): CtrlExecError => {
        const where = keyStore(settings).location('agent-revocation-lists');
        const reason = `${where}: ${error.reason}`;
        return failure(
          'certificate_invalid',
          `the revocation list cannot be used: ${reason}. Restore it from a backup, or remove it: the dispatcher sends it again`,
          { field: 'revocation list', reason },
        );
      });
      lists.push({ ...list, dispatcherId });
    }
    return ok(lists);
  });
}

/** A list as it is kept: before its block a line says who brought it. */
const listBlock = /(?:^# dispatcher (\S+)\n)?(-----BEGIN [^-]+-----[^-]*-----END [^-]+-----\n?)/gm;

/** The text in which `loadTrust` finds these lists again; null for none. */
export const formatLists = (lists: readonly HeldList[]): string | null =>
  lists.length === 0
    ? null
    : lists
        .map(
          ({ dispatcherId, pem }) =>
            `${dispatcherId === undefined ? '' : `# dispatcher ${dispatcherId}\n`}${pem}`,
        )
        .join('');

/** The list of a CA that a dispatcher brought. @param issuer SHA-256 of the CA's SubjectPublicKeyInfo, hex */
export const heldFrom = (
  lists: readonly HeldList[],
  dispatcherId: string,
  issuer: string,
): HeldList | undefined => {
  const ofCa = lists.filter((list) => list.issuerSpkiSha256 === issuer);
  const from = (id: string | undefined) => ofCa.find((list) => list.dispatcherId === id);
  return from(dispatcherId) ?? /* defence: list-is-of-its-dispatcher */ from(undefined);
};

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
  const numbers = (identity?.authorities ?? []).map(
    ({ spki }) => heldFrom(revocationLists, dispatcherId, hex(crypto.sha256(spki)))?.number ?? 0,
  );
  return numbers.length === 0 ? 0 : Math.min(...numbers);
}
