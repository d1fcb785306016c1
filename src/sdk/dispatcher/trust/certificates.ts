import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { type CertificateState, certificateState } from '../../../domain/trust/agent-state.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type { DispatcherContext } from '../context.js';
import { type IdentityFailure, type Presence, readDispatcherIdentity } from './identity.js';
import { fingerprint, noCaCertificate } from './setup.js';

/** A certificate, as little of it as says which and how long. */
export interface Dated {
  /** Canonical: lower-case hex, no leading zeros. */
  readonly serial: string;
  /** Epoch milliseconds. */
  readonly notAfter: number;
}

/** The certificate of a CA. */
export interface CaCertificate extends Dated {
  /** The common name. */
  readonly subject: string;
  /** SHA-256 of the DER, upper-case hex pairs with colons. */
  readonly fingerprint: string;
}

/** A certificate that was issued to an agent, and how it stands. */
export interface AgentCertificate extends Dated {
  readonly name: string;
  /** `issued`: its agent has not shown it yet. The worst of what holds: `revoked`, then `expired`. */
  readonly state: CertificateState;
}

/** Every certificate that is in force or about to be. */
export interface Certificates {
  readonly ca: CaCertificate;
  /** The CA before it, while that is being replaced. */
  readonly previousCa?: CaCertificate;
  readonly dispatcher: Dated & {
    /** Announced to agents, not yet in use. */
    readonly next?: Dated;
    /** In use before, until the overlap ends. */
    readonly previous?: Dated;
  };
  /** Sorted by name; several of an agent that is about to get another one, none of one that was not seen since it was imported. */
  readonly agents: readonly AgentCertificate[];
}

/** The certificates of the CA, of this dispatcher and of its agents, as they are kept: nobody is asked. */
export function certificates(context: DispatcherContext): ResultAsync<Certificates, IdentityFailure> {
  const { clock, registry, revocations } = context;
  return safeTry<Certificates, IdentityFailure>(async function* () {
    const { authorities, certificate, next, previous } = yield* readDispatcherIdentity(context);
    const [ca, previousCa] = authorities.map((each) => caCertificate(context, each));
    if (!ca) return err(noCaCertificate());
    const revoked = new Set((yield* revocations.current()).entries.map(({ serial }) => serial));
    const now = clock.now();
    const agents = (yield* registry.list()).flatMap(({ name, pins }) =>
      pins.map((pin) => ({
        name,
        serial: pin.serial,
        notAfter: pin.notAfter,
        state: certificateState(pin, revoked, now),
      })),
    );
    return ok({
      ca,
      ...(previousCa && { previousCa }),
      dispatcher: {
        ...dated(certificate),
        ...(next && { next: ofPresence(next) }),
        ...(previous && { previous: ofPresence(previous) }),
      },
      agents,
    });
  });
}

const dated = ({ serial, notAfter }: Certificate): Dated => ({ serial, notAfter });

const ofPresence = ({ certificate }: Presence): Dated => dated(certificate);

const caCertificate = (context: DispatcherContext, certificate: Certificate): CaCertificate => ({
  ...dated(certificate),
  subject: certificate.commonName ?? '',
  fingerprint: fingerprint(context, certificate),
});
