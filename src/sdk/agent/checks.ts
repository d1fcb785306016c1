import { errAsync, ok, okAsync, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { type FileTrust, faultText, type JudgedPath, refusing } from '../../domain/core/file-trust.js';
import { printable } from '../../domain/core/names.js';
import { isActionPath } from '../../domain/runs/action.js';
import {
  interpreterPlaces,
  lacksInterpreter,
  programHead,
  programPath,
} from '../../domain/runs/interpreter.js';
import type { AgentSettings } from '../../domain/settings/agent.js';
import { whyUnusable } from '../../domain/trust/certificate.js';
import { aborted } from '../core/wait.js';
import type { AgentContext } from './context.js';
import { notedPort } from './served-port.js';
import { type AgentState, loadSettings, loadState, readState, requireIdentity } from './state.js';
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

/** Why this cannot be started, and what to do about it. Of what may be executed but not read nothing more is known. */
export async function whyNotStarted(files: AgentContext['files'], path: string): Promise<string | undefined> {
  const head = await files.head(path, programHead);
  const reason = head.isErr() ? head.error.reason : undefined;
  if (reason === 'ENOENT' || reason === 'ENOTDIR')
    return `${path} does not exist: put it there, or correct its path`;
  if (reason === 'EISDIR' || reason === 'EINVAL') return `${path} is not a file: correct its path`;
  if (!(await files.isExecutable(path).unwrapOr(false)))
    return `${path} is not executable for this user: chmod +x, and look at the directories above it`;
  if (head.isErr()) return undefined;
  if (lacksInterpreter(head.value))
    return `${path} does not begin with #!: its first line must name the interpreter, like #!/bin/sh`;
  for (const { name, places } of interpreterPlaces(head.value)) {
    const found = await Promise.all(places.map((place) => files.isExecutable(place).unwrapOr(false)));
    if (!found.includes(true))
      return `${path} needs ${printable(name)}, which ${
        places.length === 1 ? 'does not exist or is not executable' : `is in no directory of ${programPath}`
      }: install it, or correct the #! line`;
  }
  return undefined;
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
  { clock, crypto, transport }: AgentContext,
  settings: AgentSettings,
  { credentials, certificate, cas }: AgentIdentity,
  givenPort: number,
  signal: AbortSignal | undefined,
): ResultAsync<SelfPing, CtrlExecError> {
  const { bind } = settings;
  const host = bind === '0.0.0.0' ? '127.0.0.1' : bind === '::' ? '::1' : bind;
  const port = givenPort;
  const started = clock.monotonic();
  let recognised = false;
  const healthy = (): SelfPing => ({ host, port, rtt: Math.round(clock.monotonic() - started) });
  return transport
    .request(
      {
        host,
        port,
        credentials,
        trust: cas,
        connectionKey: `self|${host}|${port}|${certificate.serial}`,
        judge: (peer) => {
          recognised = crypto.equal(peer.spki, certificate.spki);
          return recognised
            ? okAsync(undefined)
            : errAsync(
                failure('wrong_identity', `something else than this agent answers on ${host}:${port}`, {
                  expected: certificate.serial,
                  found: peer.serial,
                }),
              );
        },
      },
      {
        method: 'POST',
        path: '/ping',
        query: '',
        headers: [['content-type', 'application/json']],
        body: new TextEncoder().encode('{}'),
        connectTimeout: 5000,
        answerTimeout: 5000,
        maxAnswer: 65_536,
        ...(signal && { signal }),
      },
    )
    .mapErr((error): CtrlExecError => error)
    .map(healthy)
    .orElse((error) =>
      // The TLS layer refuses a certificate that is for servers only: the connection ends without an answer.
      recognised && (error.code === 'connection_failed' || error.code === 'tls_failed')
        ? ok(healthy())
        : errAsync(error),
    );
}
