import { err, ok, okAsync, Result, type ResultAsync, safeTry } from 'neverthrow';
import type { AgentSettings } from '../../domain/agent-settings.js';
import { agentSettings } from '../../domain/agent-settings.js';
import { parseAllowlist } from '../../domain/allowlist.js';
import type { Certificate } from '../../domain/certificate.js';
import { parseConfiguration } from '../../domain/configuration.js';
import { type CtrlExecError, failure } from '../../domain/errors.js';
import { splitCertificates } from '../../domain/pem.js';
import { parseRevokedSerials } from '../../domain/revocation.js';
import { parseTrust, type TrustEntry } from '../../domain/trust.js';
import type { Credentials } from '../../ports/transport.js';
import type { AgentContext } from './context.js';
import { readScripts, type Script } from './scripts.js';

/** Bytes of a configuration file or allowlist that are read. */
const maxFile = 4 * 1024 * 1024;

export interface AgentIdentity {
  readonly credentials: Credentials;
  readonly certificate: Certificate;
  /** CA certificates that dispatchers must chain to, PEM. */
  readonly cas: readonly string[];
}

/** Everything that an agent decides by; replaced as a whole by a reload. */
export interface AgentState {
  readonly settings: AgentSettings;
  /** By name. */
  readonly scripts: ReadonlyMap<string, Script>;
  readonly trust: readonly TrustEntry[];
  /** Canonical serials. */
  readonly revoked: ReadonlySet<string>;
  /** Undefined: not paired. */
  readonly identity: AgentIdentity | undefined;
  /** One line each. */
  readonly warnings: readonly string[];
}

/** Reads the configuration alone. */
export function loadSettings(
  context: Pick<AgentContext, 'files' | 'place'>,
): ResultAsync<{ settings: AgentSettings; warnings: readonly string[] }, CtrlExecError> {
  const { files, place } = context;
  const file = place.configurationFile;
  return files
    .readText(file, maxFile)
    .mapErr((error): CtrlExecError => error)
    .andThen((text): Result<{ settings: AgentSettings; warnings: readonly string[] }, CtrlExecError> => {
      const base = { home: place.home, stateDir: place.stateDir, file };
      if (text !== undefined)
        return parseConfiguration(text, file).andThen((parsed) => agentSettings(parsed, base));
      if (!place.configurationRequired) return agentSettings(undefined, base);
      return err(
        failure('config_invalid', `${file}: the configuration file does not exist`, {
          file,
          reason: 'missing',
        }),
      );
    });
}

/** Reads everything anew. Err: nothing may change; the caller keeps what it had. */
export function loadState(context: AgentContext): ResultAsync<AgentState, CtrlExecError> {
  return safeTry(async function* () {
    const { settings, warnings } = yield* loadSettings(context);
    const documents = yield* context
      .keyStore(settings)
      .read(['agent-key', 'agent-certificate', 'ca-certificate', 'trusted-dispatchers', 'revoked-serials']);
    const text = yield* context.files.readText(settings.scriptsConf, maxFile);
    const allowlist = parseAllowlist(text ?? '', settings.scriptsConf);
    const loaded = await readScripts(context, settings, [...allowlist.entries.values()]);
    const trust = parseTrust(documents['trusted-dispatchers'] ?? '');
    const revoked = parseRevokedSerials(documents['revoked-serials'] ?? '');
    const { 'agent-key': key, 'agent-certificate': certificate, 'ca-certificate': ca } = documents;
    const identity = yield* readIdentity(context, {
      'agent-key': key,
      'agent-certificate': certificate,
      'ca-certificate': ca,
    });
    return ok({
      settings,
      scripts: loaded.scripts,
      trust: trust.entries,
      revoked: revoked.serials,
      identity,
      warnings: [
        ...warnings,
        ...(text === undefined ? [`${settings.scriptsConf} does not exist: no script is allowed`] : []),
        ...allowlist.warnings,
        ...loaded.warnings,
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
    yield* Result.combine(cas.map((each) => crypto.readCertificate(each)));
    return ok({ credentials: { key, certificate: pem }, certificate, cas });
  });
}

const notPaired = (): CtrlExecError<'identity_missing'> =>
  failure(
    'identity_missing',
    'this agent is not paired: run `ctrl-exec-agent request-pairing --dispatcher HOST` while the dispatcher is in pairing mode',
    { role: 'agent' },
  );

/** The identity, or why there is none. */
export const requireIdentity = (
  state: AgentState,
): ResultAsync<AgentIdentity, CtrlExecError<'identity_missing'>> =>
  okAsync(state.identity).andThen((identity) => (identity ? ok(identity) : err(notPaired())));
