import { err, ok, type Result, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { splitCertificates } from '../../../domain/core/pem.js';
import type { ImportLines } from '../../../domain/legacy/import-report.js';
import { type LegacyTrust, parseLegacySerial, parseLegacyTrust } from '../../../domain/legacy/trust.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import { type Certificate, whyUnusable } from '../../../domain/trust/certificate.js';
import { parseRevokedSerials } from '../../../domain/trust/revocation.js';
import { formatTrust, parseTrust } from '../../../domain/trust/trusted-dispatchers.js';
import type { AgentItem, KeyStore, KeyStoreChange, KeyStoreContents } from '../../../ports/key-store.js';
import {
  certificatesIn,
  isKeyOf,
  type KeyPair,
  readKeyPair,
  unusable,
  whyNoAuthority,
} from '../../core/migrate/key-pair.js';
import type { AgentContext } from '../context.js';
import type { AgentHostSources } from './sources.js';

const items = [
  'agent-key',
  'agent-certificate',
  'ca-certificate',
  'trusted-dispatchers',
  'revoked-serials',
] as const;
type Present = KeyStoreContents<(typeof items)[number]>;

/** What is to be written of the identity, at once. */
export interface PlannedIdentity {
  readonly change: KeyStoreChange<AgentItem>;
  /** The key lies in its place, and others may read it: it is written again, for its owner only. */
  readonly closed: string | undefined;
  /** Serial of the agent's certificate. */
  readonly serial: string;
}

type Invalid = CtrlExecError<'certificate_invalid'>;
type IdentityFailure = CtrlExecError<'certificate_invalid' | 'file_failed' | 'identity_exists'>;

/**
 * Judges what the other installation has, and compares it with what is here.
 * @param certain serial of the dispatcher's certificate, canonical, where a person has said it
 */
export function planIdentity(
  context: AgentContext,
  settings: AgentSettings,
  sources: AgentHostSources,
  certain: string | undefined,
  lines: ImportLines,
): ResultAsync<PlannedIdentity, IdentityFailure> {
  const keyStore = context.keyStore(settings);
  return safeTry<PlannedIdentity, IdentityFailure>(async function* () {
    const judged = yield* judge(context, sources, lines);
    const closed = yield* await openToOthers(context, keyStore, sources);
    const present: Present =
      closed === undefined
        ? yield* keyStore.read(items)
        : { ...(yield* keyStore.read(items.filter((item) => item !== 'agent-key'))), 'agent-key': closed };
    if (closed !== undefined)
      lines.imported.push({
        what: 'key',
        detail: `${keyStore.location('agent-key')} becomes a file that its owner alone can read`,
      });
    const own = yield* planOwn(context, settings, present, judged, sources, lines);
    const trust = own.another ? {} : planTrust(settings, present, sources, certain, lines);
    const revoked = planRevoked(settings, present, sources, lines);
    return ok({ change: { ...own.change, ...trust, ...revoked }, closed, serial: judged.certificate.serial });
  });
}

/** Where the key of the other installation is this one's own, and may not be read as it is: its text. */
async function openToOthers(
  { files }: AgentContext,
  keyStore: KeyStore<AgentItem>,
  { key, directory }: AgentHostSources,
): Promise<Result<string | undefined, CtrlExecError<'file_failed'>>> {
  const held = await keyStore.read(['agent-key']);
  if (held.isOk()) return ok(undefined);
  const place = await files.realPath(keyStore.location('agent-key'));
  const theirs = await files.realPath(key.path);
  const same = place.isOk() && theirs.isOk() && place.value === theirs.value;
  return directory.inPlace && same ? ok(key.text) : err(held.error);
}

interface Judged extends KeyPair {
  readonly cas: readonly Certificate[];
}

function judge(
  { clock, crypto }: AgentContext,
  { ca, certificate, directory, key, staged }: AgentHostSources,
  lines: ImportLines,
): Result<Judged, Invalid> {
  return safeTry<Judged, Invalid>(function* () {
    const cas: Certificate[] = [];
    for (const pem of splitCertificates(ca.text)) {
      const read = yield* crypto.readCertificate(pem).mapErr(({ reason }) => unusable(ca.path, reason));
      const why = whyNoAuthority(read, clock.now());
      if (why !== undefined) return err(unusable(ca.path, why));
      cas.push(read);
    }
    if (cas.length === 0) return err(unusable(ca.path, 'expected a certificate in PEM'));
    const issued = (pair: KeyPair) => cas.some((each) => crypto.issuedBy(pair.certificate, each));
    const present = yield* readKeyPair(crypto, key, certificate);
    if (!issued(present)) return err(unusable(certificate.path, `${ca.path} did not issue it`));
    const waiting = staged && readKeyPair(crypto, key, staged).unwrapOr(undefined);
    const newer =
      waiting && issued(waiting) && waiting.certificate.notAfter > present.certificate.notAfter
        ? waiting
        : undefined;
    if (newer && directory.inPlace)
      lines.warnings.push(
        `${staged?.path} holds a renewed certificate that is not in force: copy it over ${certificate.path}`,
      );
    const pair = newer && !directory.inPlace ? newer : present;
    const why = whyUnusable(pair.certificate, 'serverAuth', clock.now());
    if (why?.startsWith('expired'))
      lines.warnings.push(`the certificate of this agent has ${why}: readmit on the dispatcher renews it`);
    else if (why !== undefined) return err(unusable(certificate.path, why));
    return ok({ ...pair, cas });
  });
}

function planOwn(
  context: AgentContext,
  settings: AgentSettings,
  present: Present,
  { key, certificate, cas }: Judged,
  sources: AgentHostSources,
  lines: ImportLines,
): Result<{ change: KeyStoreChange<AgentItem>; another: boolean }, CtrlExecError<'identity_exists'>> {
  const { crypto } = context;
  const heldCa = present['ca-certificate'];
  const sameCa = certificatesIn(crypto, heldCa).some(({ der }) =>
    cas.some((ca) => crypto.equal(ca.der, der)),
  );
  if (heldCa !== undefined && !sameCa)
    return err(
      failure(
        'identity_exists',
        `this host is paired under another CA (${settings.ca}), and that is not overwritten: nothing was imported`,
        {
          reason: 'another CA',
        },
      ),
    );
  const heldKey = present['agent-key'];
  const heldCertificate = present['agent-certificate'];
  const [here] = certificatesIn(crypto, heldCertificate);
  const keyDiffers = heldKey !== undefined && !isKeyOf(crypto, heldKey, certificate);
  const certificateDiffers =
    heldCertificate !== undefined && !(here && crypto.equal(here.spki, certificate.spki));
  if (keyDiffers || certificateDiffers) {
    if (heldKey === undefined || heldCertificate === undefined || heldCa === undefined)
      return err(
        failure(
          'identity_exists',
          `half of another identity lies in ${settings.home}, and is not overwritten: remove it, or pair again`,
          {
            reason: 'half of another identity',
          },
        ),
      );
    lines.kept.push({
      what: 'identity',
      detail: `${settings.cert} has another key, certificate ${here?.serial ?? 'unknown'}: it was renewed or paired here since`,
    });
    return ok({ change: {}, another: true });
  }
  const change: KeyStoreChange<AgentItem> = {
    ...(heldKey === undefined && { 'agent-key': key }),
    ...(heldCertificate === undefined && { 'agent-certificate': certificate.pem }),
    ...(heldCa === undefined && { 'ca-certificate': cas.map(({ pem }) => pem).join('') }),
  };
  const name = certificate.dnsNames[0] ?? certificate.commonName ?? 'no name';
  const until = new Date(certificate.notAfter).toISOString();
  const said = `${name}, certificate ${certificate.serial}, until ${until}`;
  if (Object.keys(change).length > 0)
    lines.imported.push({
      what: 'identity',
      detail: `${settings.cert} from ${sources.certificate.path}: ${said}`,
    });
  else if (!here || crypto.equal(here.der, certificate.der))
    lines.kept.push({ what: 'identity', detail: `${settings.cert} is the same: ${said}` });
  else
    lines.kept.push({
      what: 'identity',
      detail: `${settings.cert} stays as it is: certificate ${here.serial}, until ${new Date(here.notAfter).toISOString()}. ${sources.certificate.path} has another one of the same key: ${said}${here.notAfter < certificate.notAfter ? '; that one is the newer, and a dispatcher that renewed it knows it: to take it, copy it over the other' : ''}`,
    });
  return ok({ change, another: false });
}

function planTrust(
  { trustedDispatchersPath }: AgentSettings,
  present: Present,
  { dispatchers, serial }: AgentHostSources,
  certain: string | undefined,
  lines: ImportLines,
): KeyStoreChange<AgentItem> {
  const source = dispatchers ?? serial;
  const trust: LegacyTrust = dispatchers
    ? parseLegacyTrust(dispatchers.text, certain)
    : serial
      ? parseLegacySerial(serial.text)
      : { lines: new Map(), warnings: [], doubtful: [] };
  lines.warnings.push(...trust.warnings.map((warning) => `${source?.path}: ${warning}`));
  const held = present['trusted-dispatchers'];
  const here = held === undefined ? undefined : parseTrust(held).lines;
  const missing = [...trust.lines].filter(([theirs]) => !here?.has(theirs));
  for (const { serial: doubtful, dispatcherId, other } of trust.doubtful)
    if (!here?.has(other))
      lines.warnings.push(
        `${source?.path}: serial ${doubtful} of ${dispatcherId} may stand for certificate ${doubtful} or ${other}; ${doubtful} is trusted. \`openssl x509 -noout -serial\` on the dispatcher's certificate tells: if it is ${other}, write that into ${trustedDispatchersPath}`,
      );
  if (here === undefined) {
    if (trust.lines.size === 0) {
      lines.warnings.push(
        'no trusted dispatcher was found: every dispatcher is refused until this host is paired again',
      );
      return {};
    }
    const shown = [...trust.lines].map((line) => line.join(' ')).join(', ');
    lines.imported.push({
      what: 'trusted dispatchers',
      detail: `${trustedDispatchersPath} from ${source?.path}: ${shown}`,
    });
    return { 'trusted-dispatchers': formatTrust(trust.lines) };
  }
  lines.kept.push({ what: 'trusted dispatchers', detail: `${trustedDispatchersPath} stays as it is` });
  for (const line of missing)
    lines.kept.push({
      what: 'trusted dispatchers',
      detail: `${line.join(' ')} of ${source?.path} is not trusted here; add that line if it is to be`,
    });
  return {};
}

function planRevoked(
  { revokedSerials }: AgentSettings,
  present: Present,
  { revoked }: AgentHostSources,
  lines: ImportLines,
): KeyStoreChange<AgentItem> {
  if (!revoked) return {};
  const theirs = parseRevokedSerials(revoked.text);
  const held = present['revoked-serials'];
  if (held === undefined) {
    lines.imported.push({ what: 'revoked serials', detail: `${revokedSerials} from ${revoked.path}` });
    for (const { line, text } of theirs.badLines)
      lines.warnings.push(`${revoked.path}:${line}: "${text}" is not a serial`);
    return { 'revoked-serials': revoked.text };
  }
  lines.kept.push({ what: 'revoked serials', detail: `${revokedSerials} stays as it is` });
  const here = parseRevokedSerials(held).serials;
  const more = [...theirs.serials].filter((serial) => !here.has(serial));
  if (more.length > 0)
    lines.warnings.push(`revoked in ${revoked.path}, and not in ${revokedSerials}: ${more.join(', ')}`);
  return {};
}
