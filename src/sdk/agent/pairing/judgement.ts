import { err, ok, Result } from 'neverthrow';
import { fromHex, hex } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { agentName } from '../../../domain/core/names.js';
import type { StartedMessage } from '../../../domain/pairing/messages.js';
import {
  agentUri,
  type Certificate,
  dispatcherUri,
  pairingUri,
  whyUnusable,
} from '../../../domain/trust/certificate.js';
import type { AgentContext } from '../context.js';
import { endorsedBy } from '../trust/endorsed.js';

type Judging = Pick<AgentContext, 'clock' | 'crypto'>;

/** The dispatcher that this host is to trust. */
export interface WhomToTrust {
  readonly dispatcherId: string;
  /** The CAs that may be accepted here. */
  readonly cas: readonly Certificate[];
  /**
   * Whether a fingerprint vouches for each of `cas`: then all of them are accepted. Else those that issued something that is
   * installed here.
   */
  readonly casAreKnown: boolean;
  /** Signatures by which one CA vouches for another, as they were sent. */
  readonly endorsements: readonly Uint8Array[];
  /** Canonical. */
  readonly serials: readonly string[];
  /** The certificates behind the serials, as far as they are known. */
  readonly dispatchers: readonly Certificate[];
}

/** Who a dispatcher claims to be (M2), its certificates read and fitting together; not yet proven. */
export interface DispatcherIntroduction extends WhomToTrust {
  readonly session: Uint8Array;
  readonly commit: Uint8Array;
}

const invalid = (field: string, reason: string): CtrlExecError =>
  failure('certificate_invalid', `what the dispatcher sent cannot be trusted: ${field}: ${reason}`, {
    field,
    reason,
  });

export function judgeIntroduction(
  { clock, crypto }: Judging,
  message: StartedMessage,
): Result<DispatcherIntroduction, CtrlExecError> {
  const read = (pems: readonly string[]) => Result.combine(pems.map((pem) => crypto.readCertificate(pem)));
  return read(message.ca_pem).andThen((cas) =>
    read(message.dispatcher_pem).andThen((dispatchers): Result<DispatcherIntroduction, CtrlExecError> => {
      if (!cas.every(({ isCa }) => isCa)) return err(invalid('ca_pem', 'holds a certificate that is no CA'));
      for (const certificate of dispatchers) {
        const why = whyUnusable(certificate, 'clientAuth', clock.now());
        if (why) return err(invalid('dispatcher_pem', why));
        if (!cas.some((ca) => crypto.issuedBy(certificate, ca)))
          return err(invalid('dispatcher_pem', 'not issued by a CA of ca_pem'));
        if (certificate.uris.length > 0 && !certificate.uris.includes(dispatcherUri(message.dispatcher_id)))
          return err(invalid('dispatcher_pem', `not a certificate of ${message.dispatcher_id}`));
      }
      const { session, commit, dispatcher_id: dispatcherId, ca_endorsements: endorsements = [] } = message;
      const serials = dispatchers.map(({ serial }) => serial);
      const whom = { dispatcherId, cas, casAreKnown: false, endorsements, dispatchers, serials };
      return ok({ ...whom, session, commit });
    }),
  );
}

/** SHA-256 as people write it: 64 hex digits, colons optional, also with openssl's `SHA256 Fingerprint=` before them. */
export function readFingerprint(text: string): Result<Uint8Array, CtrlExecError<'invalid_argument'>> {
  const bytes = fromHex(
    text
      .trim()
      .replace(/^sha-?256 fingerprint\s*=\s*/i, '')
      .replaceAll(':', ''),
  );
  if (bytes?.length === 32) return ok(bytes);
  return err(
    failure(
      'invalid_argument',
      '--ca-sha256: 64 hex digits are expected, with or without colons, or what openssl prints: SHA256 Fingerprint=AA:BB…',
      {
        field: 'ca-sha256',
        reason: 'not 64 hex digits',
      },
    ),
  );
}

/**
 * The CA with this SHA-256, and those of `cas` that it vouches for, if one of them issued what the pairing port presents, which
 * is usable as a server's now.
 * @param speaksFor whether the URIs of that certificate are those of the dispatcher
 */
export function judgePort(
  { clock, crypto }: Judging,
  { cas, dispatcherId, endorsements }: Pick<WhomToTrust, 'cas' | 'dispatcherId' | 'endorsements'>,
  leaf: Certificate,
  fingerprint: string,
  speaksFor: (uris: readonly string[]) => boolean,
): Result<readonly Certificate[], CtrlExecError> {
  return readFingerprint(fingerprint).andThen((expected): Result<readonly Certificate[], CtrlExecError> => {
    const wrong = (reason: string) =>
      err(
        failure('wrong_identity', `this is not the expected dispatcher: ${reason}. Nothing was installed`, {
          expected: hex(expected),
          found: cas.map(({ der }) => hex(crypto.sha256(der))).join(','),
        }),
      );
    const ca = /* defence: pairing-compares-ca-fingerprint */ cas.find(({ der }) =>
      crypto.equal(crypto.sha256(der), expected),
    );
    if (!ca) return wrong('its CA has another fingerprint');
    const known = /* defence: fingerprint-vouches-for-cas */ endorsedBy(crypto, [ca], cas, endorsements);
    const why = whyUnusable(leaf, 'serverAuth', clock.now());
    if (why) return wrong(`the certificate of its pairing port ${why}`);
    // defence: pairing-port-is-of-known-ca
    if (!known.some((each) => crypto.issuedBy(leaf, each)))
      return wrong('the certificate of its pairing port is not of that CA');
    return speaksFor(leaf.uris) ? ok(known) : wrong(`its pairing port is not the one of ${dispatcherId}`);
  });
}

/**
 * What is believed where the CA has this SHA-256 (`--ca-sha256`): it vouches for the pairing port, for every dispatcher
 * certificate, and for each CA that is left in the result.
 */
export const judgeFingerprint = (
  judging: Judging,
  introduction: DispatcherIntroduction,
  leaf: Certificate,
  fingerprint: string,
): Result<DispatcherIntroduction, CtrlExecError> =>
  judgePort(judging, introduction, leaf, fingerprint, (uris) =>
    uris.includes(pairingUri(introduction.dispatcherId)),
  ).andThen((cas) =>
    introduction.dispatchers.every((each) => cas.some((ca) => judging.crypto.issuedBy(each, ca)))
      ? ok({ ...introduction, cas, casAreKnown: true })
      : err(
          invalid(
            'dispatcher_pem',
            'of a CA that the one with the fingerprint does not vouch for: while a CA is being replaced, give the fingerprint of the former one. Nothing was installed',
          ),
        ),
  );

/** The certificate that was issued is for this key and name, of the CA in the transcript, and usable. */
export function judgeIssued(
  { clock, crypto }: Judging,
  { cas }: DispatcherIntroduction,
  spki: Uint8Array,
  issued: { readonly name: string; readonly cert_pem: string },
): Result<Certificate, CtrlExecError> {
  return crypto
    .readCertificate(issued.cert_pem)
    .andThen((certificate): Result<Certificate, CtrlExecError> => {
      const name = agentName(issued.name);
      if (name.isErr() || name.value !== issued.name) return err(invalid('name', 'not a valid name'));
      if (!crypto.equal(certificate.spki, spki))
        return err(invalid('cert_pem', 'not for the key of this host'));
      if (!cas.some((ca) => crypto.issuedBy(certificate, ca)))
        return err(invalid('cert_pem', 'not of the CA'));
      if (!certificate.uris.includes(agentUri(issued.name)) || !certificate.dnsNames.includes(issued.name))
        return err(invalid('cert_pem', `not for the name ${issued.name}`));
      const why = whyUnusable(certificate, 'serverAuth', clock.now());
      return why ? err(invalid('cert_pem', why)) : ok(certificate);
    });
}
