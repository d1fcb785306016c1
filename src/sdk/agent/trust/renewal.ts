import { errAsync, ok, okAsync, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { type Certificate, whyUnusable } from '../../../domain/trust/certificate.js';
import type { TrustLines } from '../../../domain/trust/trusted-dispatchers.js';
import type { AgentItem, KeyStoreChange } from '../../../ports/key-store.js';
import type * as endpoints from '../../protocol/endpoints.js';
import type { Caller, Handler } from '../../protocol/handler.js';
import type { AgentContext } from '../context.js';
import type { Current, ServedTrust } from './current.js';

/** Dispatchers whose renewals wait at a time. */
const maxPending = 32;

/** Milliseconds that a new certificate must hold, where the present one does not end before. */
const leastLife = 7 * 86_400_000;

/** Milliseconds that clocks may differ by (wire-protocol 2.3). */
const skew = 30_000;

/** A renewal that waits for its certificate. The key is not stored before there is one: interrupted, nothing remains. */
interface Pending {
  readonly key: string;
  readonly spki: Uint8Array;
  /** SubjectPublicKeyInfo of this host when it was begun. */
  readonly instead: Uint8Array;
}

/** Renewals of this host's certificate over the live connection (wire-protocol 2.4). */
export interface Renewals {
  /** Answers `POST /renew` with a CSR. */
  readonly begin: Handler<typeof endpoints.renew>;
  /** Answers `POST /renew-complete`: takes the certificate over at once. */
  readonly complete: Handler<typeof endpoints.renewed>;
}

const refusal = (reason: string): CtrlExecError<'protocol_violation'> =>
  failure('protocol_violation', reason, { reason });

export function renewals(context: AgentContext, served: ServedTrust): Renewals {
  const { certificateRequests, crypto, events } = context;
  /** By dispatcher id: nobody takes the place of another. The one that was begun last is the last one. */
  const pending = new Map<string, Pending>();

  const wait = (id: string, renewal: Pending) => {
    /* defence: renewals-are-of-each-dispatcher */ pending.delete(id);
    pending.set(id, renewal);
    const [oldest = id] = pending.keys();
    if (pending.size > maxPending) pending.delete(oldest);
  };

  const refused = (caller: Caller, path: string, error: CtrlExecError) => {
    const reason = error.message;
    events.emit({
      action: 'update-refused',
      level: 'warning',
      fields: { dispatcher: caller.id, ip: caller.address, path, reason },
    });
    const words = error.code === 'protocol_violation' ? error.reason : 'the agent could not store it';
    return { outcome: 'refused', error: words } as const;
  };

  return {
    async begin(caller, { reqid, freshKey }) {
      const begun = safeTry<string, CtrlExecError>(async function* () {
        const { state, identity } = served.current();
        const fresh = freshKey && mayChangeKey(state.trust);
        const key = fresh ? yield* crypto.generateKey('p256') : identity.credentials.key;
        const csr = yield* certificateRequests.create(key, nameOf(identity.certificate));
        const { spki } = yield* crypto.signingKey(key);
        wait(caller.id, { key, spki, instead: identity.certificate.spki });
        return ok(csr);
      });
      return begun.match(
        (csr) => ({ outcome: 'csr' as const, csr, reqid }),
        (error) => refused(caller, '/renew', error),
      );
    },

    async complete(caller, { cert, reqid }) {
      let taken: { certificate: Certificate; was: Certificate } | undefined;
      const outcome = await served.change(caller, (current) => {
        const read = crypto.readCertificate(cert);
        if (read.isErr()) return errAsync(refusal('cert is not a certificate'));
        const certificate = read.value;
        const { identity } = current;
        const mine = pending.get(caller.id);
        // Asked again because the answer was lost.
        if (crypto.equal(certificate.der, identity.certificate.der)) return okAsync(undefined);
        return judged(context, current, caller, mine, certificate).map((change) => {
          taken = { certificate, was: identity.certificate };
          return change;
        });
      });
      if (outcome.isErr()) return refused(caller, '/renew-complete', outcome.error);
      if (taken) {
        pending.delete(caller.id);
        const { certificate, was } = taken;
        const until = new Date(certificate.notAfter).toISOString();
        events.emit({
          action: 'certificate-renewed',
          fields: { dispatcher: caller.id, serial: certificate.serial, was: was.serial, until },
        });
      }
      // It is in force, and waits for no restart.
      return { outcome: 'ok', reqid, staged: false };
    },
  };
}

/** With several dispatchers the key stays: each of them has it pinned, and only one of them is renewing. */
const mayChangeKey = (trust: TrustLines) => new Set(trust.values()).size <= 1;

const nameOf = ({ dnsNames, commonName }: Certificate) => dnsNames[0] ?? commonName ?? 'agent';

const sameNames = (a: Certificate, b: Certificate): boolean =>
  [...a.dnsNames].sort().join() === [...b.dnsNames].sort().join() &&
  [...a.uris].sort().join() === [...b.uris].sort().join();

/**
 * A dispatcher that is trusted here and shows no certificate of the CA that the new one is of: it would not accept it. While
 * nothing changes, nobody is asked.
 */
function whoCouldNotVerify(
  { clock, crypto }: Pick<AgentContext, 'clock' | 'crypto'>,
  { trust, dispatchers, revoked }: Current['state'],
  { authorities, certificate: present }: Current['identity'],
  next: Certificate,
): string | undefined {
  const issuer = authorities.find((ca) => crypto.issuedBy(next, ca));
  if (!issuer || crypto.issuedBy(present, issuer)) return undefined;
  const shown = [...trust].flatMap(([serial, dispatcherId]) => {
    const certificate = dispatchers.get(serial);
    // With one that has expired nobody comes any more.
    const inUse = certificate && !revoked.has(serial) && certificate.notAfter >= clock.now();
    return inUse ? [{ dispatcherId, certificate }] : [];
  });
  const has = (id: string) =>
    shown.some(
      ({ dispatcherId, certificate }) => dispatcherId === id && crypto.issuedBy(certificate, issuer),
    );
  const ids = [...new Set(shown.map(({ dispatcherId }) => dispatcherId))];
  return ids.length > 1 ? ids.find((id) => !has(id)) : undefined;
}

/**
 * Why a certificate would be a step back: it was issued earlier than the present one, or ends soon. One that was issued by a clock
 * that was ahead counts for nothing, or nobody could renew it; and a lifetime that was made shorter is no step back.
 */
function whyBackwards(present: Certificate, next: Certificate, now: number): string | undefined {
  if (next.notBefore < present.notBefore && present.notBefore <= now + skew)
    return 'was issued before the present one';
  return next.notAfter + skew < Math.min(present.notAfter, now + leastLife)
    ? 'ends sooner than the present one, and within 7 days'
    : undefined;
}

/** The new certificate is for the key of the renewal, in the same names, of a CA that is accepted, and usable now. */
function judged(
  { clock, crypto }: AgentContext,
  { state, identity }: Current,
  caller: Caller,
  pending: Pending | undefined,
  certificate: Certificate,
): ResultAsync<KeyStoreChange<AgentItem>, CtrlExecError> {
  const refuse = (reason: string) => errAsync(refusal(reason));
  if (!pending) return refuse('no renewal is under way');
  const present = identity.certificate;
  if (!crypto.equal(certificate.spki, pending.spki)) return refuse('cert is not for the key of the CSR');
  if (/* defence: renewal-is-of-present-key */ !crypto.equal(pending.instead, present.spki))
    return refuse('this host was given another key meanwhile: begin again');
  const sameKey = crypto.equal(certificate.spki, present.spki);
  if (!sameKey && !mayChangeKey(state.trust))
    return refuse('another dispatcher was paired meanwhile: begin again');
  if (!identity.authorities.some((ca) => crypto.issuedBy(certificate, ca)))
    return refuse('cert is not of a CA that is accepted here');
  const stranger = whoCouldNotVerify({ clock, crypto }, state, identity, certificate);
  if (stranger !== undefined) return refuse(`dispatcher ${stranger} does not have the CA of cert yet`);
  const now = clock.now();
  const why = whyUnusable(
    certificate,
    'serverAuth',
    Math.max(now, Math.min(certificate.notBefore, now + skew)),
  );
  if (why) return refuse(`cert ${why}`);
  const backwards = whyBackwards(present, certificate, now);
  if (/* defence: renewal-goes-forward */ backwards) return refuse(`cert ${backwards}`);
  // A certificate of an imported CA may have no names at all; the one that follows it brings them.
  const named = present.uris.length > 0;
  // One that a legacy CA issues has nothing but the common name of the CSR.
  const bare =
    !caller.guarantees.namesHosts && certificate.uris.length === 0 && certificate.dnsNames.length === 0;
  const same = bare ? certificate.commonName === nameOf(present) : !named || sameNames(certificate, present);
  // defence: renewed-certificate-has-same-name
  if (!same) return refuse('cert is in another name');
  return okAsync({ 'agent-key': pending.key, 'agent-certificate': certificate.pem });
}
