import { err, ok, Result, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { splitCertificates } from '../../../domain/core/pem.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type { HeldList } from '../../../domain/trust/held-lists.js';
import type { TrustLines } from '../../../domain/trust/trusted-dispatchers.js';
import type { Credentials } from '../../../ports/channel.js';
import type { Signer } from '../../protocol/message-signing.js';
import type { AgentContext } from '../context.js';
import { type DenyList, readDenyList } from './deny-list.js';
import { readLists } from './revocation-lists.js';
import { isProven, livingLines, readTrustLines, type StoredTrust, trustItems } from './trust-lines.js';

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
export interface AgentTrust extends StoredTrust {
  /**
   * The lines that count: all but those that a serial brought without a proof which is revoked meanwhile. Revoked serials are
   * among them.
   */
  readonly trust: TrustLines;
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
  ...trustItems,
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
    const { warnings, ...stored } = readTrustLines(context, documents);
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
    const isRevoked = new Set(serials);
    return ok({
      trust: {
        ...stored,
        trust: livingLines(stored, isRevoked),
        denied,
        revoked: isRevoked,
        revocationLists: lists,
        identity,
      },
      warnings: [
        ...warnings.map((warning) => `${settings.trustedDispatchersPath}: ${warning}`),
        ...denied.warnings,
        ...doubtsAbout(stored, isRevoked),
      ],
    });
  });
}

/** What a person should look at: lines that a request brought without a proof. */
function doubtsAbout(stored: StoredTrust, revoked: ReadonlySet<string>): readonly string[] {
  const living = livingLines(stored, revoked);
  return [...stored.lines].flatMap(([serial, id]) => {
    const by = stored.origins.get(serial);
    if (by === undefined || revoked.has(serial) || isProven(stored, serial)) return [];
    const keep = `\`ctrl-exec-agent trust --keep ${serial}\``;
    return living.has(serial)
      ? `serial ${serial} of dispatcher ${id} is unproven: serial ${by} brought it without its certificate. If you know that it is right: ${keep}. If not, write ${by} into revoked-serials`
      : `serial ${serial} of dispatcher ${id} is not trusted any more: serial ${by} brought it, and that one, or what it came from, is revoked. If you know that it is right: ${keep}`;
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
