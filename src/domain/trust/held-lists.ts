import { err, ok, type Result } from 'neverthrow';
import type { RevocationList, RevokedCertificate } from './revocation-list.js';

/** A revocation list that an agent holds. */
export interface HeldList extends RevocationList {
  /** The dispatcher that brought it: a list that names no dispatcher counts as its. Undefined: nobody knows. */
  readonly broughtBy: string | undefined;
}

/** Why a list is not taken; `held` is the one that stays in its place. */
export interface ListConflict {
  readonly reason: string;
  readonly held?: HeldList;
}

/** Lists without a dispatcher's name of one CA. */
export const maxNameless = 8;

/** An entry that was revoked so long before a list was made may be missing in it, milliseconds. */
const year = 365 * 86_400_000;

const serialsOf = (lists: readonly RevocationList[]): ReadonlySet<string> =>
  new Set(lists.flatMap(({ revoked }) => revoked.map(({ serial }) => serial)));

/** What `held` says and `list` does not. */
function missingIn(list: RevocationList, held: RevocationList): readonly RevokedCertificate[] {
  const serials = serialsOf([list]);
  return held.revoked.filter(({ serial }) => !serials.has(serial));
}

/**
 * The lists that are held once one more has come (wire-protocol 2.4); the same array where nothing changes. A list counts as the
 * one of the dispatcher that it names and of its CA, whoever brings it. One that names nobody only adds entries.
 */
export function withOneMore(
  lists: readonly HeldList[],
  list: HeldList,
): Result<readonly HeldList[], ListConflict> {
  return list.dispatcherId === undefined ? withNameless(lists, list) : withNamed(lists, list);
}

function withNamed(lists: readonly HeldList[], list: HeldList): Result<readonly HeldList[], ListConflict> {
  const held = lists.find(
    (each) =>
      each.issuerSpkiSha256 === list.issuerSpkiSha256 &&
      /* defence: list-is-of-its-dispatcher */ each.dispatcherId === list.dispatcherId,
  );
  if (held === undefined) return ok(pruned([...lists, list]));
  const missing = missingIn(list, held);
  if (held.number === list.number && missing.length === 0 && missingIn(held, list).length === 0)
    return ok(lists);
  const reason = whyNotAfter(held, list, missing);
  return reason === undefined
    ? ok(pruned([...lists.filter((each) => each !== held), list]))
    : err({ reason, held });
}

/** Why a list does not take the place of the one that is held of the same dispatcher and CA. */
function whyNotAfter(
  held: HeldList,
  list: RevocationList,
  missing: readonly RevokedCertificate[],
): string | undefined {
  // defence: list-is-newer
  if (list.number < held.number) return `list ${list.number} is older than the one held, ${held.number}`;
  if (list.number === held.number && missing.length > 0)
    return `another list of number ${list.number} is held`;
  const lost = missing.find(({ revokedAt }) => revokedAt > list.thisUpdate - year);
  return (
    /* defence: list-loses-no-entry */ lost &&
    `list ${list.number} lacks serial ${lost.serial} of the one held`
  );
}

function withNameless(lists: readonly HeldList[], list: HeldList): Result<readonly HeldList[], ListConflict> {
  const ofSameCa = ofCa(lists, list.issuerSpkiSha256);
  if (newestNameless(ofSameCa, list.broughtBy)?.pem === list.pem) return ok(lists);
  const others = lists.filter((each) => each.pem !== list.pem || each.broughtBy !== list.broughtBy);
  const next = pruned([...others, list]);
  const count = (all: readonly HeldList[]) => ofCa(all, list.issuerSpkiSha256).filter(isNameless).length;
  return count(next) > maxNameless && count(next) > count(lists)
    ? err({ reason: `${maxNameless} lists that name no dispatcher are held: none can be added` })
    : ok(next);
}

const isNameless = ({ dispatcherId }: RevocationList) => dispatcherId === undefined;

const ofCa = (lists: readonly HeldList[], issuer: string) =>
  lists.filter(({ issuerSpkiSha256 }) => issuerSpkiSha256 === issuer);

/** The last one comes last. */
const newestNameless = (lists: readonly HeldList[], broughtBy: string | undefined): HeldList | undefined =>
  broughtBy === undefined
    ? undefined
    : lists.findLast((each) => isNameless(each) && each.broughtBy === broughtBy);

/**
 * Without the nameless lists that say nothing of their own. The last one of a dispatcher that has no named list stays: its number
 * tells that dispatcher that there is nothing to bring.
 */
function pruned(lists: readonly HeldList[]): readonly HeldList[] {
  let kept = lists;
  for (const list of lists.filter(isNameless)) {
    const ofSameCa = ofCa(kept, list.issuerSpkiSha256);
    const named = ofSameCa.some(
      ({ dispatcherId }) => dispatcherId !== undefined && dispatcherId === list.broughtBy,
    );
    if (!named && newestNameless(ofSameCa, list.broughtBy) === list) continue;
    const said = serialsOf(ofSameCa.filter((each) => each !== list));
    // defence: nameless-list-stays
    if (list.revoked.some(({ serial }) => !said.has(serial))) continue;
    kept = kept.filter((each) => each !== list);
  }
  return kept;
}

/**
 * The number of the list that counts for a dispatcher, 0 for none: of the one that names it, else of the last nameless one that it
 * brought.
 * @param issuer SHA-256 of the CA's SubjectPublicKeyInfo, hex
 */
export function listNumber(lists: readonly HeldList[], dispatcherId: string, issuer: string): number {
  const ofSameCa = ofCa(lists, issuer);
  const own =
    ofSameCa.find((list) => list.dispatcherId === dispatcherId) ?? newestNameless(ofSameCa, dispatcherId);
  return own?.number ?? 0;
}
