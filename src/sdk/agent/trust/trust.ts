import { err, ok, Result, type ResultAsync, safeTry } from 'neverthrow';
import { hex } from '../../../domain/core/bytes.js';
import { contentLines } from '../../../domain/core/configuration.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { splitCertificates } from '../../../domain/core/pem.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import { parseRevokedSerials } from '../../../domain/trust/revocation.js';
import type { RevocationList } from '../../../domain/trust/revocation-list.js';
import { parseTrust, type TrustEntry } from '../../../domain/trust/trusted-dispatchers.js';
import type { Credentials } from '../../../ports/transport.js';
import type { Signer } from '../../protocol/message-signing.js';
import type { AgentContext } from '../context.js';

/** A revocation list and the dispatcher that brought it: each numbers its own. */
export interface HeldList extends RevocationList {
  /** Undefined: it was put there by somebody else. */
  readonly dispatcherId: string | undefined;
}

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
  /** Canonical serials, of the file that people write and of the revocation lists. */
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
  'revoked-serials',
  'agent-revocation-lists',
] as const;

/** Reads identity and trust anew. */
export function loadTrust(
  context: AgentContext,
  settings: AgentSettings,
): ResultAsync<{ readonly trust: AgentTrust; readonly warnings: readonly string[] }, CtrlExecError> {
  return safeTry(async function* () {
    const documents = yield* context.keyStore(settings).read(items);
    const trust = parseTrust(documents['trusted-dispatchers'] ?? '');
    const revoked = parseRevokedSerials(documents['revoked-serials'] ?? '');
    const identity = yield* readIdentity(context, {
      'agent-key': documents['agent-key'],
      'agent-certificate': documents['agent-certificate'],
      'ca-certificate': documents['ca-certificate'],
    });
    const lists = yield* readLists(context, settings, documents['agent-revocation-lists'], identity);
    const serials = [
      ...revoked.serials,
      // defence: listed-serials-are-refused
      ...lists.flatMap((list) => list.revoked.map(({ serial }) => serial)),
    ];
    return ok({
      trust: {
        trust: trust.entries,
        signing: parseSigning(documents['signing-dispatchers']),
        dispatchers: readDispatchers(context, trust.entries, documents['dispatcher-certificates']),
        revoked: new Set(serials),
        revocationLists: lists,
        identity,
      },
      warnings: [
        ...trust.warnings.map((warning) => `${settings.trustedDispatchersPath}: ${warning}`),
        ...revoked.warnings.map((warning) => `${settings.revokedSerials}: ${warning}`),
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

/** Whoever is on a list that cannot be read would be let in: that is an error, never a warning. */
function readLists(
  { keyStore, revocationLists }: AgentContext,
  settings: AgentSettings,
  text: string | undefined,
  identity: AgentIdentity | undefined,
): ResultAsync<readonly HeldList[], CtrlExecError> {
  return safeTry(async function* () {
    if (text === undefined || identity === undefined) return ok([]);
    const blocks = [...text.matchAll(listBlock)];
    const lists: HeldList[] = [];
    const whole = blocks.length > 0 && blocks.length === text.split('-----BEGIN').length - 1;
    for (const [, dispatcherId, pem = ''] of whole ? blocks : [[]]) {
      const list = yield* revocationLists.read(pem, identity.authorities).mapErr((error): CtrlExecError => {
        const where = keyStore(settings).location('agent-revocation-lists');
        const reason = `${where}: ${error.reason}`;
        return failure(
          'certificate_invalid',
          `the revocation list cannot be used: ${reason}. Restore it from a backup, or remove it: the dispatcher sends it again`,
          { field: 'revocation list', reason },
        );
      });
      lists.push({ ...list, dispatcherId });
    }
    return ok(lists);
  });
}

/** A list as it is kept: before its block a line says who brought it. */
const listBlock = /(?:^# dispatcher (\S+)\n)?(-----BEGIN [^-]+-----[^-]*-----END [^-]+-----\n?)/gm;

/** The text in which `loadTrust` finds these lists again; null for none. */
export const formatLists = (lists: readonly HeldList[]): string | null =>
  lists.length === 0
    ? null
    : lists
        .map(
          ({ dispatcherId, pem }) =>
            `${dispatcherId === undefined ? '' : `# dispatcher ${dispatcherId}\n`}${pem}`,
        )
        .join('');

/** The list of a CA that a dispatcher brought. @param issuer SHA-256 of the CA's SubjectPublicKeyInfo, hex */
export const heldFrom = (
  lists: readonly HeldList[],
  dispatcherId: string,
  issuer: string,
): HeldList | undefined => {
  const ofCa = lists.filter((list) => list.issuerSpkiSha256 === issuer);
  const from = (id: string | undefined) => ofCa.find((list) => list.dispatcherId === id);
  return from(dispatcherId) ?? /* defence: list-is-of-its-dispatcher */ from(undefined);
};

/** Number of the revocation lists that this host holds of a dispatcher: the lowest among its CAs, 0 where one has none. */
export function crlNumber(
  { crypto }: Pick<AgentContext, 'crypto'>,
  { revocationLists, identity }: AgentTrust,
  dispatcherId: string,
): number {
  const numbers = (identity?.authorities ?? []).map(
    ({ spki }) => heldFrom(revocationLists, dispatcherId, hex(crypto.sha256(spki)))?.number ?? 0,
  );
  return numbers.length === 0 ? 0 : Math.min(...numbers);
}
