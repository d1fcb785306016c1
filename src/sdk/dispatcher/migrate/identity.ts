import { err, ok, type Result, type ResultAsync, safeTry } from 'neverthrow';
import { hex } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import type { ImportLines } from '../../../domain/legacy/import-report.js';
import { legacySerialForm } from '../../../domain/legacy/serial.js';
import { type Certificate, whyUnusable } from '../../../domain/trust/certificate.js';
import { parseRotation } from '../../../domain/trust/rotation.js';
import type { DispatcherItem, KeyStoreChange, KeyStoreContents } from '../../../ports/key-store.js';
import {
  certificatesIn,
  isKeyOf,
  type KeyPair,
  readKeyPair,
  unusable,
  whyNoAuthority,
} from '../../core/migrate/key-pair.js';
import type { DispatcherContext } from '../context.js';
import { fingerprint } from '../trust/setup.js';
import type { ControlHostSources } from './sources.js';

const items = [
  'ca-key',
  'ca-certificate',
  'dispatcher-key',
  'dispatcher-certificate',
  'pairing-certificate',
  'rotation',
] as const;
type Present = KeyStoreContents<(typeof items)[number]>;

/** What is to be written of CA and identity, in this order. */
export interface PlannedIdentity {
  readonly ca: KeyStoreChange<DispatcherItem>;
  readonly identity: KeyStoreChange<DispatcherItem>;
  /** Whether the pairing port gets an identity, under the CA that is then there. */
  readonly pairing: boolean;
  /** The identity of the other installation; undefined: it had none. */
  readonly own: Certificate | undefined;
  /** An earlier one of it whose key was still there. */
  readonly former: KeyPair | undefined;
  /** Whether this dispatcher had begun to work here already, so that there may be agents in its registry. */
  readonly begun: boolean;
}

type IdentityFailure = CtrlExecError<'ca_exists' | 'certificate_invalid' | 'file_failed' | 'identity_exists'>;

/** Judges keys and certificates of the other installation, and compares them with what is here. */
export function planIdentity(
  context: DispatcherContext,
  sources: ControlHostSources,
  lines: ImportLines,
): ResultAsync<PlannedIdentity, IdentityFailure> {
  const { clock, crypto, keyStore } = context;
  return safeTry<PlannedIdentity, IdentityFailure>(async function* () {
    const ca = yield* readKeyPair(crypto, sources.caKey, sources.ca);
    const why = whyNoAuthority(ca.certificate, clock.now());
    if (why !== undefined) return err(unusable(sources.ca.path, why));
    const present = yield* keyStore.read(items);
    const caChange = yield* planCa(context, sources, present, ca, lines);
    if (!sources.identity) {
      lines.warnings.push(
        `there is no identity of a dispatcher in ${sources.directory.path}: run setup-ctrl-exec afterwards; agents that trust a former one have to be paired again`,
      );
      const begun = present['pairing-certificate'] !== undefined;
      return ok({ ca: caChange, identity: {}, pairing: false, own: undefined, former: undefined, begun });
    }
    const pair = yield* readKeyPair(crypto, sources.identity.key, sources.identity.certificate);
    const issued = yield* requireIssued(context, pair, ca.certificate, sources.identity.certificate.path);
    const identity = yield* planOwn(context, sources, present, pair, lines);
    const pairing = present['pairing-certificate'] === undefined;
    if (pairing)
      lines.imported.push({
        what: 'pairing identity',
        detail: 'made anew under this CA: the port has its own here',
      });
    const former = formerOf(context, sources, ca.certificate, issued);
    return ok({ ca: caChange, identity, pairing, own: issued, former, begun: !pairing });
  });
}

function planCa(
  context: DispatcherContext,
  { ca: source }: ControlHostSources,
  present: Present,
  { key, certificate }: KeyPair,
  lines: ImportLines,
): Result<KeyStoreChange<DispatcherItem>, CtrlExecError<'ca_exists'>> {
  const { crypto, keyStore } = context;
  const here = certificatesIn(crypto, present['ca-certificate']);
  const among = here.findIndex(({ der }) => crypto.equal(der, certificate.der));
  const heldKey = present['ca-key'];
  const otherCa = present['ca-certificate'] !== undefined && among < 0;
  const otherKey = heldKey !== undefined && among <= 0 && !isKeyOf(crypto, heldKey, certificate);
  const where = keyStore.location('ca-certificate');
  if (otherCa || otherKey)
    return err(
      failure(
        'ca_exists',
        `there is another CA here, and it is not overwritten: ${where}; nothing was imported`,
        {
          path: where,
        },
      ),
    );
  const change: KeyStoreChange<DispatcherItem> = {
    ...(heldKey === undefined && among <= 0 && { 'ca-key': key }),
    ...(here.length === 0 && { 'ca-certificate': certificate.pem }),
  };
  const detail = `SHA-256 ${fingerprint(context, certificate)}, until ${new Date(certificate.notAfter).toISOString()}`;
  if (Object.keys(change).length > 0)
    lines.imported.push({ what: 'CA', detail: `${where} from ${source.path}, ${detail}` });
  else lines.kept.push({ what: 'CA', detail: `${where} is the same, ${detail}` });
  return ok(change);
}

function requireIssued(
  { crypto, clock }: DispatcherContext,
  { certificate }: KeyPair,
  ca: Certificate,
  path: string,
): Result<Certificate, CtrlExecError<'certificate_invalid'>> {
  if (!crypto.issuedBy(certificate, ca)) return err(unusable(path, 'the CA did not issue it'));
  const why = whyUnusable(certificate, 'clientAuth', clock.now());
  return why === undefined || why.startsWith('expired') ? ok(certificate) : err(unusable(path, why));
}

function planOwn(
  { clock, crypto, keyStore }: DispatcherContext,
  { identity: source }: ControlHostSources,
  present: Present,
  { key, certificate }: KeyPair,
  lines: ImportLines,
): Result<KeyStoreChange<DispatcherItem>, CtrlExecError<'identity_exists'>> {
  const where = keyStore.location('dispatcher-certificate');
  const detail = `certificate ${certificate.serial}, until ${new Date(certificate.notAfter).toISOString()}`;
  const held = present['dispatcher-certificate'];
  const here = held === undefined ? undefined : crypto.readCertificate(held).unwrapOr(undefined);
  const heldKey = present['dispatcher-key'];
  const successor = parseRotation(present.rotation)
    .map(({ successions }) => successions.some(({ old }) => old === certificate.serial))
    .unwrapOr(false);
  if (here && successor) {
    lines.kept.push({
      what: 'identity',
      detail: `${where} has followed it since: certificate ${here.serial}`,
    });
    return ok({});
  }
  const otherCertificate = held !== undefined && !(here && crypto.equal(here.der, certificate.der));
  const otherKey = heldKey !== undefined && !isKeyOf(crypto, heldKey, certificate);
  if (otherCertificate || otherKey)
    return err(
      failure(
        'identity_exists',
        `this dispatcher has another identity already, and it is not overwritten: ${where}; nothing was imported`,
        { reason: 'another identity' },
      ),
    );
  if (certificate.notAfter < clock.now())
    lines.warnings.push(
      `the certificate of the dispatcher has expired, and agents refuse it: ${source?.certificate.path}`,
    );
  const change: KeyStoreChange<DispatcherItem> = {
    ...(heldKey === undefined && { 'dispatcher-key': key }),
    ...(held === undefined && { 'dispatcher-certificate': certificate.pem }),
  };
  if (Object.keys(change).length > 0)
    lines.imported.push({ what: 'identity', detail: `${where} from ${source?.certificate.path}, ${detail}` });
  else lines.kept.push({ what: 'identity', detail: `${where} is the same, ${detail}` });
  return ok(change);
}

/** An identity of before whose key the other installation still had: it reaches agents that never learnt of the present one. */
function formerOf(
  { clock, crypto }: DispatcherContext,
  { former }: ControlHostSources,
  ca: Certificate,
  own: Certificate,
): KeyPair | undefined {
  return former
    .flatMap(({ key, certificate }) => readKeyPair(crypto, key, certificate).unwrapOr([]))
    .find(
      ({ certificate }) =>
        hex(certificate.der) !== hex(own.der) &&
        legacySerialForm(certificate.serial) !== legacySerialForm(own.serial) &&
        crypto.issuedBy(certificate, ca) &&
        whyUnusable(certificate, 'clientAuth', clock.now()) === undefined,
    );
}
