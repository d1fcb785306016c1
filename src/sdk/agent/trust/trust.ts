import { err, ok, Result, type ResultAsync, safeTry } from 'neverthrow';
import { contentLines } from '../../../domain/core/configuration.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { splitCertificates } from '../../../domain/core/pem.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type { HeldList } from '../../../domain/trust/held-lists.js';
import { parseTrust, type TrustEntry } from '../../../domain/trust/trusted-dispatchers.js';
import type { Credentials } from '../../../ports/transport.js';
import type { Signer } from '../../protocol/message-signing.js';
import type { AgentContext } from '../context.js';
import { type DenyList, readDenyList } from './deny-list.js';
import { readLists } from './revocation-lists.js';

export interface AgentIdentity {
  readonly credentials: Credentials;
  readonly certificate: Certificate;
  readonly signer: Signer;
  /** CA certificates that dispatchers must chain to, PEM. */
  readonly cas: readonly string[];
  /** The same, read. */
  readonly authorities: readonly Certificate[];
}

/** Who this host is, and whom it trusts; replaced as a whole. */
export interface AgentTrust {
  readonly trust: readonly TrustEntry[];
  /** Certificates of trusted dispatchers as far as they are known, by serial. */
  readonly dispatchers: ReadonlyMap<string, Certificate>;
  /** Ids of dispatchers that have signed a request: they must from then on. */
  readonly signing: ReadonlySet<string>;
  /** What people wrote into the file of revoked serials. */
  readonly denied: DenyList;
  /** Canonical serials, of that file and of the revocation lists. */
  readonly revoked: ReadonlySet<string>;
  readonly revocationLists: readonly HeldList[];
  /** Undefined: not paired. */
  readonly identity: AgentIdentity | undefined;
}

const items = [
  'agent-key',
  'agent-certificate',
  'ca-certificate',
  'trusted-dispatchers',
  'dispatcher-certificates',
  'signing-dispatchers',
  'agent-revocation-lists',
] as const;

/**
 * Reads identity and trust anew.
 * @param before what people had written into the file of revoked serials when it was read last
 */
export function loadTrust(
  context: AgentContext,
  settings: AgentSettings,
  before?: DenyList,
): ResultAsync<{ readonly trust: AgentTrust; readonly warnings: readonly string[] }, CtrlExecError> {
  return safeTry(async function* () {
    const documents = yield* context.keyStore(settings).read(items);
    const trust = parseTrust(documents['trusted-dispatchers'] ?? '');
    const denied = yield* readDenyList(context, settings, before?.serials);
    const identity = yield* readIdentity(context, {
      'agent-key': documents['agent-key'],
      'agent-certificate': documents['agent-certificate'],
      'ca-certificate': documents['ca-certificate'],
    });
    const lists = yield* readLists(context, settings, documents['agent-revocation-lists'], identity);
    const serials = [
      ...denied.serials,
      // defence: listed-serials-are-refused
      ...lists.flatMap((list) => list.revoked.map(({ serial }) => serial)),
    ];
    return ok({
      trust: {
        trust: trust.entries,
        signing: parseSigning(documents['signing-dispatchers']),
        dispatchers: readDispatchers(context, trust.entries, documents['dispatcher-certificates']),
        denied,
        revoked: new Set(serials),
        revocationLists: lists,
        identity,
      },
      warnings: [
        ...trust.warnings.map((warning) => `${settings.trustedDispatchersPath}: ${warning}`),
        ...denied.warnings,
      ],
    });
  });
}

/** The agent's own key and certificate, if they are there and belong together. */
function readIdentity(
  { crypto }: AgentContext,
  documents: Readonly<Record<'agent-key' | 'agent-certificate' | 'ca-certificate', string | undefined>>,
): Result<AgentIdentity | undefined, CtrlExecError> {
  const missing = Object.entries(documents).flatMap(([item, text]) => (text === undefined ? [item] : []));
  const { 'agent-key': key, 'agent-certificate': pem, 'ca-certificate': ca } = documents;
  const unusable = (field: string, reason: string) =>
    err(
      failure('certificate_invalid', `the identity of this agent cannot be used: ${reason}: pair again`, {
        field,
        reason,
      }),
    );
  if (key === undefined || pem === undefined || ca === undefined)
    return missing.length === 3 ? ok(undefined) : unusable('identity', `${missing.join(' and ')} is missing`);
  return safeTry(function* () {
    const certificate = yield* crypto.readCertificate(pem);
    const signing = yield* crypto.signingKey(key);
    if (!crypto.equal(signing.spki, certificate.spki))
      return unusable('agent-certificate', 'key and certificate do not belong together');
    const cas = splitCertificates(ca);
    if (cas.length === 0) return unusable('ca-certificate', 'it holds no CA certificate');
    const authorities = yield* Result.combine(cas.map((each) => crypto.readCertificate(each)));
    const signer = { key: signing, certificate };
    return ok({ credentials: { key, certificate: pem }, certificate, signer, cas, authorities });
  });
}

/** Ids, one a line. */
export const parseSigning = (text: string | undefined): ReadonlySet<string> =>
  new Set(contentLines(text ?? '').map((line) => line.text));

/** With one id more. */
export const formatSigning = (signing: ReadonlySet<string>, id: string): string =>
  [...signing, id].map((each) => `${each}\n`).join('');

/** What cannot be read is no harm: it is learnt again at that dispatcher's next contact. */
function readDispatchers(
  { crypto }: AgentContext,
  trust: readonly TrustEntry[],
  text: string | undefined,
): ReadonlyMap<string, Certificate> {
  const known = splitCertificates(text ?? '').flatMap((pem) =>
    crypto.readCertificate(pem).match(
      (certificate) => [certificate],
      () => [],
    ),
  );
  return new Map(
    known
      .filter(({ serial }) => trust.some((entry) => entry.serial === serial))
      .map((certificate) => [certificate.serial, certificate]),
  );
}
