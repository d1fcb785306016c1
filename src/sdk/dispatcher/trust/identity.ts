import { err, ok, Result, type ResultAsync, safeTry } from 'neverthrow';
import { hex } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { splitCertificates } from '../../../domain/core/pem.js';
import type { AgentRecord, KeyPin } from '../../../domain/trust/agent-record.js';
import type { OwnSerials } from '../../../domain/trust/agent-standing.js';
import { type Certificate, dispatcherUri, whyUnusable } from '../../../domain/trust/certificate.js';
import { caSetDigest, overlapEnd } from '../../../domain/trust/lifecycle.js';
import { parseRotation, type RotationState } from '../../../domain/trust/rotation.js';
import type { Credentials } from '../../../ports/channel.js';
import type { Signer } from '../../protocol/message-signing.js';
import type { DispatcherContext } from '../context.js';
import { backdate } from './validity.js';

/** A key, its certificate, and what signs with it. */
export interface Presence {
  readonly credentials: Credentials;
  readonly certificate: Certificate;
  readonly signer: Signer;
}

/** Who this dispatcher is, and what it needs to know to speak with its agents. */
export interface DispatcherIdentity extends Presence {
  /** CA certificates that agents must chain to, PEM, the current one first. */
  readonly cas: readonly string[];
  /** The same, read. */
  readonly authorities: readonly Certificate[];
  /** What tells this set of CAs from another. */
  readonly caSet: string;
  readonly own: OwnSerials;
  /** Announced to agents, not yet in use. */
  readonly next: Presence | undefined;
  /** In use before, until the overlap ends. */
  readonly previous: Presence | undefined;
  readonly rotation: RotationState;
  /** Revision of what was revoked. */
  readonly revision: number;
}

export type IdentityFailure = CtrlExecError<
  'identity_missing' | 'ca_missing' | 'certificate_invalid' | 'file_failed' | 'store_failed'
>;

const items = [
  'ca-certificate',
  'dispatcher-key',
  'dispatcher-certificate',
  'dispatcher-next-key',
  'dispatcher-next-certificate',
  'dispatcher-previous-key',
  'dispatcher-previous-certificate',
  'rotation',
] as const;

/**
 * Certificates of this dispatcher that are known here: those of its identity and of all rotations, and the ones that it had
 * for agents which knew the CA before the present one alone. Without `notAfter`: only the serial is known.
 */
export function ownCertificates(
  { crypto, revocations, settings }: DispatcherContext,
  { certificate, next, previous, rotation }: DispatcherIdentity,
): ResultAsync<readonly { readonly serial: string; readonly notAfter?: number }[], IdentityFailure> {
  const read = rotation.successions.flatMap(({ newPem }) =>
    crypto
      .readCertificate(newPem)
      .map((each) => [each])
      .unwrapOr([]),
  );
  const whole = [certificate, next?.certificate, previous?.certificate, ...read].flatMap(
    (each) => each ?? [],
  );
  return revocations.issued({ name: dispatcherUri(settings.dispatcherId) }).map((bridges) => {
    const dated = [...whole, ...bridges].map(({ serial, notAfter }) => ({ serial, notAfter }));
    const known = new Map<string, { readonly serial: string; readonly notAfter?: number }>();
    for (const each of [...dated, ...rotation.successions.map(({ old }) => ({ serial: old }))])
      if (!known.has(each.serial)) known.set(each.serial, each);
    return [...known.values()];
  });
}

const invalid = (field: string, reason: string, message: string) =>
  failure('certificate_invalid', message, { field, reason });

/** The dispatcher's own keys and certificates, and the CAs in force. An identity that is out of date is an error. */
export const loadIdentity = (context: DispatcherContext): ResultAsync<DispatcherIdentity, IdentityFailure> =>
  readDispatcherIdentity(context).andThen((identity) => {
    const reason = whyUnusable(identity.certificate, 'clientAuth', context.clock.now());
    return reason === undefined
      ? ok(identity)
      : err(
          invalid(
            'dispatcher-certificate',
            reason,
            `the certificate of this dispatcher cannot be used: ${reason}: see that the clock of this host is right, run \`ctrl-exec rotate-cert\`, then \`ctrl-exec readmit NAME\` for an agent whose own certificate cannot be used`,
          ),
        );
  });

/** The same, also where the certificate is out of date: for whoever is about to replace it. */
export function readDispatcherIdentity(
  context: DispatcherContext,
): ResultAsync<DispatcherIdentity, IdentityFailure> {
  const { clock, crypto, keyStore, revocations, settings } = context;
  return safeTry<DispatcherIdentity, IdentityFailure>(async function* () {
    const documents = yield* keyStore.read(items);
    const { 'ca-certificate': ca, 'dispatcher-key': key, 'dispatcher-certificate': pem } = documents;
    if (ca === undefined) return err(caMissing());
    if (key === undefined || pem === undefined) return err(identityMissing());
    const presence = yield* read(context, key, pem);
    const cas = splitCertificates(ca);
    const authorities = yield* Result.combine(cas.map((each) => crypto.readCertificate(each)));
    const rotation = yield* parseRotation(documents.rotation).mapErr((reason) => {
      const where = keyStore.location('rotation');
      return invalid('rotation', reason, `${where} cannot be used: ${reason}; restore it from a backup`);
    });
    const next = yield* maybe(
      context,
      documents['dispatcher-next-key'],
      documents['dispatcher-next-certificate'],
    );
    const before = yield* maybe(
      context,
      documents['dispatcher-previous-key'],
      documents['dispatcher-previous-certificate'],
    );
    const now = clock.now();
    const lasts =
      rotation.switchedAt !== undefined && now < overlapEnd(rotation.switchedAt, settings.certOverlapDays);
    const previous = lasts ? before : undefined;
    return ok({
      ...presence,
      cas,
      authorities,
      caSet: caSetDigest(authorities.map(({ der }) => hex(crypto.sha256(der)))),
      own: {
        current: presence.certificate.serial,
        next: next?.certificate.serial,
        previous: previous?.certificate.serial,
      },
      next,
      previous,
      rotation,
      revision: yield* revocations.revision(),
    });
  });
}

/** When the present CA took over, while it is replacing another; every certificate of before is to be issued anew. */
function caSince({ authorities }: DispatcherIdentity): number | undefined {
  const [current, previous] = authorities;
  return current && previous ? current.notBefore + backdate : undefined;
}

/**
 * Agents whose certificate was issued before the present CA was there.
 * @param states which certificates count. Default: the active ones
 */
export function underPreviousCa(
  identity: DispatcherIdentity,
  records: readonly AgentRecord[],
  states: readonly KeyPin['state'][] = ['active'],
): readonly AgentRecord[] {
  const since = caSince(identity);
  if (since === undefined) return [];
  return records.filter(({ pins }) =>
    pins.some(({ state, issuedAt }) => states.includes(state) && issuedAt < since),
  );
}

function read(
  { crypto }: DispatcherContext,
  key: string,
  certificate: string,
): Result<Presence, CtrlExecError<'certificate_invalid'>> {
  return crypto.readCertificate(certificate).andThen((parsed) =>
    crypto.signingKey(key).map((signing) => ({
      credentials: { key, certificate },
      certificate: parsed,
      signer: { key: signing, certificate: parsed },
    })),
  );
}

const maybe = (
  context: DispatcherContext,
  key: string | undefined,
  certificate: string | undefined,
): Result<Presence | undefined, CtrlExecError<'certificate_invalid'>> =>
  key === undefined || certificate === undefined ? ok(undefined) : read(context, key, certificate);

const caMissing = (): CtrlExecError<'ca_missing'> =>
  failure('ca_missing', 'there is no CA yet: run `ctrl-exec setup-ca` first', {});

export const identityMissing = (): CtrlExecError<'identity_missing'> =>
  failure('identity_missing', 'this dispatcher has no identity yet: run `ctrl-exec setup-ctrl-exec` first', {
    role: 'dispatcher',
  });
