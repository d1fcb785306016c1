import { err, errAsync, ok, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { type FileTrust, faultText, type JudgedPath, refusing } from '../../domain/core/file-trust.js';
import { isActionPath } from '../../domain/runs/action.js';
import type { AgentSettings } from '../../domain/settings/agent.js';
import { type Certificate, whyUnusable } from '../../domain/trust/certificate.js';
import { aborted } from '../core/wait.js';
import { callAnonymously } from '../protocol/anonymous.js';
import { ping } from '../protocol/endpoints.js';
import type { AgentContext } from './context.js';
import { notedPort } from './served-port.js';
import { whyNotStarted } from './state/scripts.js';
import { type AgentState, loadSettings, loadState, readState, requireIdentity } from './state/state.js';
import type { AgentIdentity } from './trust/trust.js';
import { judgeFiles } from './trust/trusted-files.js';

/** One line of a self-check. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** It is worth a look, although it stops nothing. */
  readonly warning?: true;
  readonly detail: string;
}

/** How this host is paired. */
export interface PairingStatus {
  readonly paired: boolean;
  /** The name in the certificate. */
  readonly name: string | undefined;
  readonly serial: string | undefined;
  /** Epoch milliseconds. */
  readonly notAfter: number | undefined;
  /** Ids of the dispatchers that may call. */
  readonly dispatchers: readonly string[];
}

export function pairingStatus(context: AgentContext): ResultAsync<PairingStatus, CtrlExecError> {
  return loadState(context).map(({ identity, trust }) => ({
    paired: identity !== undefined,
    name: identity?.certificate.dnsNames[0] ?? identity?.certificate.commonName,
    serial: identity?.certificate.serial,
    notAfter: identity?.certificate.notAfter,
    dispatchers: [...new Set(trust.values())],
  }));
}

/** Looks at configuration, allowlist, hook and certificates; every finding is a line, nothing stops at the first. */
export async function selfCheck(context: AgentContext): Promise<readonly Check[]> {
  const failed = ({ message }: CtrlExecError) => [{ name: 'configuration', ok: false, detail: message }];
  const configured = await loadSettings(context);
  if (configured.isErr()) return failed(configured.error);
  const { settings } = configured.value;
  const judged = await judgeFiles(context, settings, true);
  if (judged.isErr()) return failed(judged.error);
  const files = checkFiles(judged.value, settings.fileTrust);
  // Whoever decides about the files: what is wrong beside that is worth knowing at once.
  const loaded = await readState(context, { ...configured.value, distrusted: [] });
  if (loaded.isErr()) return [...files, ...failed(loaded.error)];
  const state = loaded.value;
  return [
    await checkConfiguration(context),
    ...files,
    ...(state.denied.problem
      ? [{ name: 'revoked serials', ok: false, detail: state.denied.problem.message }]
      : []),
    ...[...new Set([...state.warnings, ...configured.value.doubts])]
      .filter((warning) => !files.some(({ detail }) => detail === warning))
      .map((warning) => warned('warning', warning, !warning.includes(': skipped,'))),
    ...(await checkScripts(context, state)),
    ...(await checkHook(context, state.settings)),
    ...checkIdentity(context, state),
  ];
}

/** What is wrong with files that decide, each fault once. */
function checkFiles(judged: readonly JudgedPath[], trust: FileTrust): readonly Check[] {
  const faults = new Map(judged.flatMap((path) => path.faults).map((fault) => [faultText(fault), fault]));
  return [...faults].map(([detail, fault]) =>
    warned('file trust', detail, refusing([fault], trust) === undefined),
  );
}

const warned = (name: string, detail: string, ok: boolean): Check => ({
  name,
  ok,
  ...(ok && { warning: true }),
  detail,
});

/** It could be read, or there is none: then the defaults hold. */
async function checkConfiguration({ files, place: { configurationFile } }: AgentContext): Promise<Check> {
  const exists = (await files.realPath(configurationFile)).isOk();
  const detail = exists ? configurationFile : `${configurationFile} does not exist, the defaults hold`;
  return { name: 'configuration', ok: true, detail };
}

const checkScripts = ({ files }: AgentContext, { scripts }: AgentState): Promise<readonly Check[]> =>
  Promise.all(
    [...scripts.values()].map(async ({ name, path }) => {
      if (isActionPath(path))
        return { name: `action ${name}`, ok: true, detail: 'a function of this process' };
      const why = await whyNotStarted(files, path);
      return { name: `script ${name}`, ok: why === undefined, detail: why ?? path };
    }),
  );

async function checkHook({ files }: AgentContext, { authHook }: AgentSettings): Promise<readonly Check[]> {
  if (authHook === undefined) return [];
  const why = await whyNotStarted(files, authHook);
  return [{ name: 'auth hook', ok: why === undefined, detail: why ?? authHook }];
}

function checkIdentity(
  { clock, crypto }: AgentContext,
  { dispatchers, identity, revoked, settings, trust }: AgentState,
): readonly Check[] {
  if (!identity)
    return [{ name: 'certificate', ok: false, detail: 'this agent is not paired: request-pairing' }];
  const { certificate, cas } = identity;
  const why = whyUnusable(certificate, 'serverAuth', clock.now());
  const until = new Date(certificate.notAfter).toISOString();
  const issued = cas.some((pem) =>
    crypto.readCertificate(pem).match(
      (ca) => crypto.issuedBy(certificate, ca),
      () => false,
    ),
  );
  const living = [...trust].filter(([serial]) => !revoked.has(serial));
  const accepts = settings.acceptLegacyDispatchers;
  const may = living
    .filter(([serial]) => !dispatchers.has(serial))
    .map(([serial, id]) => `${serial} (${id})`);
  const unsignedFrom = `accepted without a signature (accept_legacy_dispatchers): ${may.join(', ') || 'none, all have signed'}`;
  return [
    { name: 'certificate', ok: why === undefined, detail: why ?? `valid until ${until}` },
    {
      name: 'certificate authority',
      ok: issued,
      detail: issued ? 'issued the certificate' : 'did not issue the certificate',
    },
    {
      name: 'trusted dispatchers',
      ok: living.length > 0,
      detail: [...new Set(living.map(([, id]) => id))].join(', ') || 'none: every dispatcher is refused',
    },
    ...(accepts ? [{ name: 'legacy dispatchers', ok: true, detail: unsignedFrom }] : []),
  ];
}

/** What a self-ping found: how the agent answered to its own certificate, which it must refuse. */
export interface SelfPing {
  readonly host: string;
  readonly port: number;
  /** Whole milliseconds. */
  readonly rtt: number;
}

/** How long a self-ping may take. */
export interface SelfPingOptions {
  /** Aborted: `aborted`. Without it ten seconds are the most that it takes. */
  readonly signal?: AbortSignal;
}

/**
 * A real TLS round trip to the agent that serves on this host. The certificate that answers must be the agent's own; that
 * the agent then refuses us, whose certificate is no dispatcher's, is the healthy answer.
 */
export function selfPing(
  context: AgentContext,
  port?: number,
  { signal }: SelfPingOptions = {},
): ResultAsync<SelfPing, CtrlExecError> {
  if (signal?.aborted) return errAsync(aborted());
  return safeTry(async function* () {
    const state = yield* loadState(context);
    const identity = yield* requireIdentity(state);
    const { settings } = state;
    const known = port ?? (yield* notedPort(context, settings)) ?? settings.port;
    return pingSelf(context, settings, identity, known, signal);
  });
}

function pingSelf(
  context: AgentContext,
  settings: AgentSettings,
  { credentials, certificate, cas }: AgentIdentity,
  port: number,
  signal: AbortSignal | undefined,
): ResultAsync<SelfPing, CtrlExecError> {
  const { clock, crypto } = context;
  const { bind } = settings;
  const host = bind === '0.0.0.0' ? '127.0.0.1' : bind === '::' ? '::1' : bind;
  const started = clock.monotonic();
  let recognised = false;
  const healthy = (): SelfPing => ({ host, port, rtt: Math.round(clock.monotonic() - started) });
  const meets = (peer: Certificate) => {
    recognised = crypto.equal(peer.spki, certificate.spki);
    const message = `something else than this agent answers on ${host}:${port}`;
    const said = { expected: certificate.serial, found: peer.serial };
    return recognised ? ok(undefined) : err(failure('wrong_identity', message, said));
  };
  const key = `self|${host}|${port}|${certificate.serial}`;
  return callAnonymously(context, ping, { host, port, credentials, trust: cas, key }, {}, { meets, signal })
    .map(healthy)
    .orElse((error) =>
      // It refuses whoever is no dispatcher; the TLS layer does where the certificate is for servers only.
      recognised &&
      (error.code === 'refused' || error.code === 'connection_failed' || error.code === 'tls_failed')
        ? ok(healthy())
        : err<SelfPing, CtrlExecError>(error),
    );
}
