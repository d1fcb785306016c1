import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { hex } from '../../../domain/core/bytes.js';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { Introduction } from '../../../domain/pairing/effects.js';
import { type Refusal, refusal } from '../../../domain/pairing/session.js';
import { keyBanned } from '../../../domain/trust/banned-key.js';
import type { CertificateRequest } from '../../../ports/certificate-requests.js';
import type { DispatcherContext } from '../context.js';
import { identityMissing, loadIdentity } from '../trust/identity.js';

/** Why a message is not answered; a failure of this side is told to nobody but the log. */
export type SessionFailure = Refusal | CtrlExecError;

/** What the pairing port is opened with. Without an identity and a CA there is nobody to pair with. */
export function loadPairing(context: DispatcherContext) {
  const { keyStore, crypto } = context;
  return introduced(context)
    .andThen(() => keyStore.read(['pairing-key', 'pairing-certificate']))
    .andThen((documents) => {
      const key = documents['pairing-key'];
      const certificate = documents['pairing-certificate'];
      if (key === undefined || certificate === undefined) return err(identityMissing());
      return crypto
        .readCertificate(certificate)
        .map(({ spki }) => ({ credentials: { key, certificate }, tlsSpki: spki }));
    });
}

/** Whom an agent that pairs now is to trust: the CAs in force, and this dispatcher's present and next certificates. */
export const introduced = (context: DispatcherContext) =>
  loadIdentity(context).andThen((dispatcher) =>
    context.authority.certificates().map(
      (cas): Introduction => ({
        cas,
        dispatchers: [dispatcher, dispatcher.next].flatMap((each) => (each ? [each.certificate] : [])),
      }),
    ),
  );

/** A key that was revoked may be in other hands: it is not paired again. */
export function notRevoked(
  { crypto, revocations }: DispatcherContext,
  { spki }: CertificateRequest,
): ResultAsync<void, SessionFailure> {
  const digest = hex(crypto.sha256(spki));
  return safeTry<void, SessionFailure>(async function* () {
    const banned = yield* revocations.banOf(digest);
    // defence: banned-key-does-not-pair
    if (banned !== undefined) return err(refusal('invalid', keyBanned(banned).message));
    return ok(undefined);
  });
}
