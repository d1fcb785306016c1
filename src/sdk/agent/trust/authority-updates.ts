import { err, ok, Result, type ResultAsync, safeTry } from 'neverthrow';
import { fromBase64url, hex } from '../../../domain/core/bytes.js';
import { failure } from '../../../domain/core/errors.js';
import type { CaUpdate, ListUpdate, Objection } from '../../../domain/protocol/agent-messages.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type { AgentItem, KeyStoreChange } from '../../../ports/key-store.js';
import type { OutcomeOf, Refusal } from '../../protocol/endpoint.js';
import type * as endpoints from '../../protocol/endpoints.js';
import type { Caller } from '../../protocol/handler.js';
import type { AgentContext } from '../context.js';
import type { Current, ServedTrust } from './current.js';
import { endorsedBy } from './endorsed.js';
import { mismatch } from './recognise.js';
import { formatLists, type ListRefusal, type ListsWith, withList } from './revocation-lists.js';

type Answer = OutcomeOf<typeof endpoints.list | typeof endpoints.authorities> | Refusal;

/** Why an update is not taken. */
type Why = Pick<ListRefusal, 'outcome' | 'reason'> & Pick<Objection, 'held'>;

/** Writes what `decide` makes of the present; undefined: it is done. */
async function change(
  { events }: AgentContext,
  served: ServedTrust,
  caller: Caller,
  path: string,
  decide: (current: Current) => ResultAsync<KeyStoreChange<AgentItem> | undefined, Why>,
): Promise<Exclude<Answer, { outcome: 'ok' }> | undefined> {
  let why: Why | undefined;
  const outcome = await served.change(caller, (current) =>
    decide(current).mapErr((refusal) => {
      why = refusal;
      return failure('protocol_violation', refusal.reason, { reason: refusal.reason });
    }),
  );
  if (outcome.isOk()) return undefined;
  const { code, message: reason } = outcome.error;
  events.emit({
    action: 'update-refused',
    level: 'warning',
    fields: { dispatcher: caller.id, ip: caller.address, path, reason },
  });
  if (why) return { outcome: why.outcome, error: why.reason, held: why.held };
  return code === 'protocol_violation'
    ? mismatch
    : { outcome: 'failed', error: 'the agent could not store it' };
}

/**
 * Answers `POST /v2/crl`: holds a revocation list from now on (wire-protocol 2.4). `conflict`, with the list that is held, when that
 * one is not to be replaced by this one; `invalid` when none of the CAs that are accepted here signed it.
 */
export async function updateRevocations(
  context: AgentContext,
  served: ServedTrust,
  caller: Caller,
  { pem }: ListUpdate,
): Promise<Answer> {
  let taken: ListsWith | undefined;
  const refused = await change(context, served, caller, '/v2/crl', (current) =>
    withList(context, current, caller.id, pem).map((found) => {
      taken = found;
      return found.news ? { 'agent-revocation-lists': formatLists(found.lists) } : undefined;
    }),
  );
  if (refused) return refused;
  const { number = 0, revoked = [] } = taken?.list ?? {};
  if (taken?.news)
    context.events.emit({
      action: 'revocations-updated',
      fields: { dispatcher: caller.id, number, revoked: revoked.length },
    });
  return { outcome: 'ok', number };
}

/** Answers `POST /v2/cas`: accepts exactly these CAs from now on (wire-protocol 2.4). */
export async function updateCas(
  context: AgentContext,
  served: ServedTrust,
  caller: Caller,
  { pems, endorsements: given }: CaUpdate,
): Promise<Answer> {
  const count = pems.length;
  let changed = false;
  const refused = await change(context, served, caller, '/v2/cas', (current) =>
    safeTry<KeyStoreChange<AgentItem> | undefined, Why>(async function* () {
      const cas = yield* Result.combine(
        pems.map((pem) =>
          context.crypto.readCertificate(pem).mapErr(({ reason }): Why => ({ outcome: 'invalid', reason })),
        ),
      );
      const endorsements = given.flatMap((text) => fromBase64url(text) ?? []);
      const objection =
        objectionTo(context, current, caller, cas) ?? unendorsed(context, current, cas, endorsements);
      if (objection !== undefined) return err<never, Why>({ outcome: 'conflict', reason: objection });
      const { authorities } = current.identity;
      const known = (ca: Certificate, set: readonly Certificate[]) =>
        set.some(({ der }) => context.crypto.equal(der, ca.der));
      if (cas.length === authorities.length && cas.every((ca) => known(ca, authorities)))
        return ok(undefined);
      changed = true;
      const digests = cas.map(({ spki }) => hex(context.crypto.sha256(spki)));
      // A list of a CA that is not accepted any more could not be read again.
      const lists = current.state.revocationLists.filter((list) => digests.includes(list.issuerSpkiSha256));
      return ok({
        'ca-certificate': cas.map(({ pem }) => pem).join(''),
        'agent-revocation-lists': formatLists(lists),
      });
    }),
  );
  if (refused) return refused;
  if (changed) context.events.emit({ action: 'cas-updated', fields: { dispatcher: caller.id, count } });
  return { outcome: 'ok', count };
}

/**
 * A new CA must be vouched for by the key of one that is in force: the key of a dispatcher alone, which may have been stolen,
 * brings in none of its own.
 */
function unendorsed(
  { crypto }: AgentContext,
  { identity }: Current,
  cas: readonly Certificate[],
  endorsements: readonly Uint8Array[],
): string | undefined {
  const vouched = endorsedBy(crypto, identity.authorities, cas, endorsements);
  const foreign = cas.find((ca) => !vouched.includes(ca));
  return (
    /* defence: new-ca-is-vouched-for */ foreign &&
    `no CA that is accepted here vouches for the new one (serial ${foreign.serial})`
  );
}

/** Nobody may be locked out: not this host, not the caller, not another dispatcher that is trusted here. */
function objectionTo(
  { clock, crypto }: AgentContext,
  { state, identity }: Current,
  caller: Caller,
  cas: readonly Certificate[],
): string | undefined {
  const now = clock.now();
  const covered = (certificate: Certificate) => cas.some((ca) => crypto.issuedBy(certificate, ca));
  if (!cas.every(({ isCa }) => isCa)) return 'one of them is not the certificate of a CA';
  if (cas.some(({ notAfter }) => notAfter < now)) return 'one of them has expired';
  if (!covered(caller.certificate)) return 'the certificate of the caller would be of none of them';
  if (!covered(identity.certificate)) return 'the certificate of this agent would be of none of them';
  const kept = identity.authorities.every((former) => cas.some(({ der }) => crypto.equal(der, former.der)));
  const lost = [...state.trust].find(([serial, dispatcherId]) => {
    if (dispatcherId === caller.id || state.revoked.has(serial)) return false;
    const certificate = state.dispatchers.get(serial);
    // Of which CA one is that has not been seen yet, nobody knows; with one that has expired nobody comes.
    return certificate ? certificate.notAfter >= now && !covered(certificate) : !kept;
  });
  return /* defence: nobody-is-locked-out */ lost && `dispatcher ${lost[1]} would be locked out`;
}
