import { err, ok, Result, safeTry } from 'neverthrow';
import { utf8 } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { agentName, dispatcherId as idOf, legacyDispatcherId } from '../../../domain/core/names.js';
import { splitCertificates } from '../../../domain/core/pem.js';
import { type LegacyAnswer, meansSerial } from '../../../domain/legacy/pairing.js';
import {
  type Certificate,
  dispatcherUri,
  pairingUri,
  whyUnusable,
} from '../../../domain/trust/certificate.js';
import type { AgentContext } from '../context.js';
import { judgePort, type WhomToTrust } from './judgement.js';
import type { PairingTrust } from './options.js';

type Judging = Pick<AgentContext, 'clock' | 'crypto'>;
type Approval = LegacyAnswer & { readonly kind: 'approved' };

/** What this side of a pairing of version 1 knows. */
interface Version1 {
  /** The name that was asked for. */
  readonly host: string;
  /** What TLS presented. */
  readonly leaf: Certificate;
  readonly nonce: string;
  /** Of the key that was asked for a certificate for. */
  readonly spki: Uint8Array;
  readonly trust: PairingTrust;
}

interface Judged {
  readonly certificate: Certificate;
  /** As the certificate has it. */
  readonly name: string;
  readonly whom: WhomToTrust;
}

const maxCas = 8;

const invalid = (field: string, reason: string): CtrlExecError =>
  failure('certificate_invalid', `what the dispatcher sent cannot be trusted: ${field}: ${reason}`, {
    field,
    reason,
  });

/** An approval of version 1, judged as a whole: nothing of it is installed unless all of it holds. */
export const judgeVersion1 = (
  judging: Judging,
  approval: Approval,
  { host, leaf, nonce, spki, trust }: Version1,
): Result<Judged, CtrlExecError> =>
  safeTry(function* () {
    const { clock, crypto } = judging;
    // defence: version-1-approval-has-nonce
    if (!crypto.equal(utf8(approval.nonce), utf8(nonce)))
      return err(
        failure(
          'wrong_identity',
          'the approval is not for this request: it has another nonce. Nothing was installed',
          { expected: nonce, found: approval.nonce },
        ),
      );
    const cas = yield* readCas(judging, approval.caPem);
    const dispatcherId =
      approval.dispatcherId === undefined ? legacyDispatcherId : yield* idOf(approval.dispatcherId);
    const accepted =
      trust.kind === 'ca-sha256'
        ? yield* vouchedFor(judging, cas, leaf, trust.fingerprint, dispatcherId)
        : cas;

    const certificate = yield* crypto.readCertificate(approval.certificatePem);
    if (!crypto.equal(certificate.spki, spki)) return err(invalid('cert', 'not for the key of this host'));
    if (!accepted.some((ca) => crypto.issuedBy(certificate, ca)))
      return err(invalid('cert', 'not of the CA'));
    const why = whyUnusable(certificate, 'serverAuth', clock.now());
    if (why) return err(invalid('cert', why));

    const { serials, dispatchers } = yield* whoCalls(judging, approval, leaf, accepted);
    const name = agentName(certificate.commonName ?? host).unwrapOr(host);
    const whom = { dispatcherId, cas: accepted, casAreKnown: false, endorsements: [], serials, dispatchers };
    return ok({ certificate, name, whom });
  });

function readCas({ crypto }: Judging, text: string): Result<readonly Certificate[], CtrlExecError> {
  const blocks = splitCertificates(text);
  if (blocks.length === 0 || blocks.length > maxCas || blocks.length !== text.split('-----BEGIN').length - 1)
    return err(invalid('ca', `not 1 to ${maxCas} certificates`));
  return Result.combine(blocks.map((pem) => crypto.readCertificate(pem))).andThen((cas) =>
    cas.every(({ isCa }) => isCa) ? ok(cas) : err(invalid('ca', 'holds a certificate that is no CA')),
  );
}

/** The CA with this SHA-256 and no other, if it vouches for who presented `leaf` as far as version 1 lets it. */
const vouchedFor = (
  judging: Judging,
  cas: readonly Certificate[],
  leaf: Certificate,
  fingerprint: string,
  dispatcherId: string,
): Result<readonly Certificate[], CtrlExecError> =>
  judgePort(judging, { cas, dispatcherId, endorsements: [] }, leaf, fingerprint, (uris) => {
    // Certificates of legacy CAs name nobody. One that does must be a dispatcher's: an agent's is of the same CA.
    const own = [pairingUri(dispatcherId), dispatcherUri(dispatcherId)];
    return (
      /* defence: version-1-port-is-of-dispatcher */ uris.length === 0 ||
      uris.some((uri) => own.includes(uri))
    );
  });

/**
 * The serial that the dispatcher will call with. A legacy one presents its own certificate at pairing already, which says the
 * serial better than `dispatcher_serial` does, and can be kept.
 */
function whoCalls(
  { clock, crypto }: Judging,
  { serial }: Approval,
  leaf: Certificate,
  cas: readonly Certificate[],
): Result<Pick<WhomToTrust, 'serials' | 'dispatchers'>, CtrlExecError> {
  const itself =
    cas.some((ca) => crypto.issuedBy(leaf, ca)) &&
    whyUnusable(leaf, 'clientAuth', clock.now()) === undefined &&
    meansSerial(serial, leaf.serial);
  if (itself) return ok({ serials: [leaf.serial], dispatchers: [leaf] });
  return serial === undefined
    ? err(invalid('dispatcher_serial', 'missing, and TLS showed no certificate of a dispatcher'))
    : ok({ serials: [serial], dispatchers: [] });
}
