import { errAsync, ok, Result, type ResultAsync, safeTry } from 'neverthrow';
import { fromBase64url, hex } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { parseJsonObject } from '../../../domain/core/json.js';
import { type HttpAnswer, jsonAnswer } from '../../../domain/protocol/http-message.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type { RevocationList } from '../../../domain/trust/revocation-list.js';
import type { KeyStoreChange } from '../../../ports/key-store.js';
import type { AgentContext } from '../context.js';
import type { Current, Served } from '../served.js';
import { endorsedBy } from './endorsed.js';
import { type CallingDispatcher, mismatch } from './recognise.js';
import { formatLists, type ListRefusal, type ListsWith, withList } from './revocation-lists.js';

/** CAs that an agent accepts at a time. */
const maxCas = 8;

type Decided = ResultAsync<KeyStoreChange | undefined, CtrlExecError>;

/** Why an update is not taken, and with which status the peer learns it. */
const refusal = (status: 400 | 409, reason: string): CtrlExecError<'refused'> =>
  failure('refused', reason, { status, reason });

function refused(
  { events }: AgentContext,
  { id, address }: CallingDispatcher,
  path: string,
  error: CtrlExecError,
  held?: RevocationList,
): HttpAnswer {
  events.emit({
    action: 'update-refused',
    level: 'warning',
    fields: { dispatcher: id, ip: address, path, reason: error.message },
  });
  if (error.code === 'protocol_violation') return mismatch();
  return error.code === 'refused'
    ? jsonAnswer(error.status, {
        status: 'error',
        error: error.reason,
        ...(held && { crl_pem: held.pem, number: held.number }),
      })
    : jsonAnswer(500, { status: 'error', error: 'the agent could not store it' });
}

/**
 * Answers `POST /v2/crl`: holds a revocation list from now on (wire-protocol 2.4). 409, with the list that is held, when that one is
 * not to be replaced by this one; 400 when none of the CAs that are accepted here signed it.
 */
export async function updateRevocations(
  context: AgentContext,
  served: Served,
  caller: CallingDispatcher,
  body: Uint8Array,
): Promise<HttpAnswer> {
  let taken: ListsWith | undefined;
  let conflict: ListRefusal | undefined;
  const outcome = await served.change(caller, (current): Decided => {
    const parsed = parseJsonObject(body);
    const pem = parsed.isOk() ? parsed.value['crl_pem'] : undefined;
    if (typeof pem !== 'string') return errAsync(refusal(400, 'crl_pem is missing'));
    return withList(context, current, caller.id, pem)
      .map((found): KeyStoreChange | undefined => {
        taken = found;
        return found.news ? { 'agent-revocation-lists': formatLists(found.lists) } : undefined;
      })
      .mapErr((found) => {
        conflict = found;
        return refusal(found.status, found.reason);
      });
  });
  if (outcome.isErr()) return refused(context, caller, '/v2/crl', outcome.error, conflict?.held);
  const { number = 0, revoked = [] } = taken?.list ?? {};
  if (taken?.news)
    context.events.emit({
      action: 'revocations-updated',
      fields: { dispatcher: caller.id, number, revoked: revoked.length },
    });
  return jsonAnswer(200, { status: 'ok', number });
}

/** Answers `POST /v2/cas`: accepts exactly these CAs from now on (wire-protocol 2.4). */
export async function updateCas(
  context: AgentContext,
  served: Served,
  caller: CallingDispatcher,
  body: Uint8Array,
): Promise<HttpAnswer> {
  let count = 0;
  let changed = false;
  const outcome = await served.change(
    caller,
    (current): Decided =>
      safeTry(async function* () {
        const parsed = parseJsonObject(body);
        const pems: unknown = parsed.isOk() ? parsed.value['ca_pem'] : undefined;
        if (!Array.isArray(pems) || pems.length === 0 || pems.length > maxCas || !pems.every(isText))
          return errAsync(refusal(400, `ca_pem is not a list of 1 to ${maxCas} certificates`));
        const cas = yield* Result.combine(
          pems.map((pem) => context.crypto.readCertificate(pem).mapErr(({ reason }) => refusal(400, reason))),
        );
        const endorsements = signaturesIn(parsed.isOk() ? parsed.value['endorsements'] : undefined);
        const objection =
          objectionTo(context, current, caller, cas) ?? unendorsed(context, current, cas, endorsements);
        if (objection !== undefined) return errAsync(refusal(409, objection));
        count = cas.length;
        const { authorities } = current.identity;
        const known = (ca: Certificate, set: readonly Certificate[]) =>
          set.some(({ der }) => context.crypto.equal(der, ca.der));
        if (cas.length === authorities.length && cas.every((ca) => known(ca, authorities)))
          return ok(undefined);
        changed = true;
        const digests = cas.map(({ spki }) => hex(context.crypto.sha256(spki)));
        // A list of a CA that is not accepted any more could not be read again.
        const lists = current.state.revocationLists.filter((list) => digests.includes(list.issuerSpkiSha256));
        return ok<KeyStoreChange>({
          'ca-certificate': cas.map(({ pem }) => pem).join(''),
          'agent-revocation-lists': formatLists(lists),
        });
      }),
  );
  if (outcome.isErr()) return refused(context, caller, '/v2/cas', outcome.error);
  if (changed) context.events.emit({ action: 'cas-updated', fields: { dispatcher: caller.id, count } });
  return jsonAnswer(200, { status: 'ok', count });
}

/** Signatures as they travel, base64url; what is none is left out. */
const signaturesIn = (value: unknown): readonly Uint8Array[] =>
  Array.isArray(value)
    ? value.slice(0, maxCas).flatMap((text) => (isText(text) ? (fromBase64url(text) ?? []) : []))
    : [];

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

const isText = (value: unknown): value is string => typeof value === 'string';

/** Nobody may be locked out: not this host, not the caller, not another dispatcher that is trusted here. */
function objectionTo(
  { clock, crypto }: AgentContext,
  { state, identity }: Current,
  caller: CallingDispatcher,
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
