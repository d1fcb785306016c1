import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { errAsync, okAsync, ResultAsync } from 'neverthrow';
import { processAuthHook } from '../adapters/child-process/auth-hook.js';
import { homeDirectory } from '../adapters/child-process/home.js';
import { supervisedJobs } from '../adapters/child-process/jobs/supervised.js';
import { childProcessRunner } from '../adapters/child-process/runner.js';
import { nodeFileSystem } from '../adapters/files/file-system.js';
import { fileKeyStore } from '../adapters/files/identity/key-store.js';
import { fileJobs } from '../adapters/files/jobs/jobs.js';
import { fileRunJournal } from '../adapters/files/journal/run-journal.js';
import { actionRunner } from '../adapters/in-process/runner.js';
import { memoryJobs } from '../adapters/memory/jobs.js';
import { nodeCrypto } from '../adapters/node-crypto/crypto.js';
import { systemRandom } from '../adapters/node-crypto/random.js';
import { tlsChannel } from '../adapters/node-tls/channel.js';
import { tlsLegacyPairing } from '../adapters/node-tls/legacy-pairing.js';
import { tlsListener } from '../adapters/node-tls/listener.js';
import { systemClock } from '../adapters/system/clock.js';
import { osPrincipal } from '../adapters/system/principal.js';
import { type CtrlExecError, failure } from '../domain/core/errors.js';
import type { Actions } from '../domain/runs/action.js';
import type { AgentSettings } from '../domain/settings/agent.js';
import { type DispatcherSettings, dispatcherSettings } from '../domain/settings/dispatcher.js';
import type { AuthHook } from '../ports/auth-hook.js';
import type { CertificateAuthority } from '../ports/certificate-authority.js';
import type { CertificateRequests } from '../ports/certificate-requests.js';
import type { EventLog } from '../ports/event-log.js';
import type { Jobs } from '../ports/jobs.js';
import type { AgentItem, DispatcherItem, KeyStore } from '../ports/key-store.js';
import type { RevocationLists } from '../ports/revocation-lists.js';
import type { AgentActions, AgentContext } from '../sdk/agent/context.js';
import { loadSettings } from '../sdk/agent/state/state.js';
import { readConfiguration } from '../sdk/core/configuration.js';
import { once } from '../sdk/core/parallel.js';
import type { AgentPorts } from '../sdk/core/ports.js';
import type { DispatcherContext } from '../sdk/dispatcher/context.js';
import type { OpenedDispatcher } from '../sdk/dispatcher/dispatcher.js';
import { type JudgedDispatcher, trustDispatcher } from '../sdk/dispatcher/migrate/file-trust.js';
import { jobSupervisorFile } from './job-supervisor-file.js';
import type { OpenAgentOptions } from './options/types.js';
import { agentPlace, dispatcherPlace, type PlaceOptions } from './place.js';
import { programEnvironment } from './program-environment.js';
import { version } from './version.js';
import { deferred, type Factories, memo } from './wiring.js';

export const x509Authority = (
  ports: Pick<DispatcherContext, 'crypto' | 'keyStore' | 'random'>,
): CertificateAuthority =>
  deferred(
    memo(() =>
      ResultAsync.fromSafePromise(
        import('../adapters/x509/certificate-authority.js').then((adapter) =>
          adapter.x509CertificateAuthority(ports),
        ),
      ),
    ),
  );

export const x509Requests = (): CertificateRequests =>
  deferred(
    memo(() =>
      ResultAsync.fromSafePromise(
        import('../adapters/x509/certificate-requests.js').then((adapter) =>
          adapter.x509CertificateRequests(),
        ),
      ),
    ),
  );

export const x509Lists = (ports: Pick<DispatcherContext, 'crypto'>): RevocationLists =>
  deferred(
    memo(() =>
      ResultAsync.fromSafePromise(
        import('../adapters/x509/revocation-lists.js').then((adapter) => adapter.x509RevocationLists(ports)),
      ),
    ),
  );

/** What a daemon does first for the programs that it will run; a library must not do it to its host's process. */
export { prepareDaemon } from '../adapters/child-process/inherited-descriptors.js';
/** What a TLS server is made of, if key and certificate can be used. */
export { serverContext } from '../adapters/node-tls/secure-context.js';
/** The clock of daemons. */
export { systemClock } from '../adapters/system/clock.js';

const authHook = (settings: AgentSettings | DispatcherSettings): AuthHook =>
  processAuthHook({
    path: settings.authHook,
    timeoutSeconds: settings.authHookTimeout,
    trust: settings.fileTrust,
    files: nodeFileSystem(),
  });

/** A log that nobody reads. */
const noEventLog: EventLog = { emit: () => undefined };

/** Where a dispatcher's documents are kept. */
function dispatcherPaths(settings: DispatcherSettings): Record<DispatcherItem, string> {
  const inHome = (name: string) => join(settings.home, name);
  return {
    'ca-key': settings.caKey,
    'ca-certificate': settings.ca,
    'ca-previous-key': inHome('ca-previous.key'),
    'dispatcher-key': settings.key,
    'dispatcher-certificate': settings.cert,
    'dispatcher-next-key': inHome('ctrl-exec-next.key'),
    'dispatcher-next-certificate': inHome('ctrl-exec-next.crt'),
    'dispatcher-previous-key': inHome('ctrl-exec-previous.key'),
    'dispatcher-previous-certificate': inHome('ctrl-exec-previous.crt'),
    // Not rotation.json: the older version keeps something else under that name, in the same directory.
    rotation: join(settings.stateDir, 'successions.json'),
    'pairing-key': settings.pairingKey,
    'pairing-certificate': settings.pairingCert,
  };
}

/** Where an agent's documents are kept. */
function agentPaths(settings: AgentSettings): Record<AgentItem, string> {
  const inState = (name: string) => join(settings.stateDir, name);
  return {
    'ca-certificate': settings.ca,
    'agent-key': settings.key,
    'agent-certificate': settings.cert,
    'trusted-dispatchers': settings.trustedDispatchersPath,
    'dispatcher-certificates': inState('dispatcher-certificates.pem'),
    'trust-origins': inState('trust-origins'),
    'signing-dispatchers': inState('signing-dispatchers'),
    'agent-revocation-lists': inState('crl.pem'),
    'revoked-serials': settings.revokedSerials,
    'refused-serials': inState('refused-serials'),
  };
}

/** The settings of the dispatcher at a place. */
export function loadDispatcherSettings(
  options: PlaceOptions,
): ResultAsync<{ settings: DispatcherSettings; warnings: readonly string[] }, CtrlExecError> {
  const { configurationRequired: required, ...place } = dispatcherPlace(options);
  return readConfiguration(nodeFileSystem(), { ...place, required }).andThen((parsed) =>
    dispatcherSettings(parsed, place),
  );
}

/** The default adapters of a dispatcher. `close` is given what is to be closed at the end. */
function dispatcherFactories(
  settings: DispatcherSettings,
  onClose: (close: () => Promise<void>) => void,
  events: EventLog = noEventLog,
): Factories<DispatcherContext> {
  const stores = once(() => {
    const opened = ResultAsync.fromSafePromise(import('../adapters/sql/sqlite/stores.js')).andThen(
      (adapter) =>
        adapter.openSqliteStores({
          path: storeFile(settings),
          sessionsDirectory: join(settings.stateDir, 'locks'),
        }),
    );
    onClose(async () => {
      const outcome = await opened;
      if (outcome.isOk()) await outcome.value.close();
    });
    return opened;
  });
  const ownRegistry = memo(() => deferred(() => stores().map(({ registry }) => registry)));
  const ownJoinTokens = memo(() => deferred(() => stores().map(({ joinTokens }) => joinTokens)));
  const ownRuns = memo(() => deferred(() => stores().map(({ runStore }) => runStore)));
  return {
    authority: x509Authority,
    certificateRequests: x509Requests,
    channel: (ports) => {
      const channel = tlsChannel(ports);
      onClose(() => channel.close());
      return channel;
    },
    clock: systemClock,
    configurationFile: () => settings.file,
    crypto: nodeCrypto,
    events: () => events,
    files: nodeFileSystem,
    hook: () => authHook(settings),
    joinTokens: ownJoinTokens,
    keyStore: () => dispatcherKeys(settings),
    listener: tlsListener,
    mutex: () => deferred(() => stores().map(({ mutex }) => mutex)),
    principal: osPrincipal,
    pairing: (ports) =>
      deferred(() =>
        stores().andThen(({ pairing, pairingRequests: requests }) => {
          const { registry, joinTokens, runStore } = ports;
          if (registry === ownRegistry() && joinTokens === ownJoinTokens() && runStore === ownRuns())
            return okAsync(pairing);
          return ResultAsync.fromSafePromise(import('../adapters/memory/separate-pairing.js')).map(
            (adapter) => adapter.separatePairing({ requests, registry, joinTokens, runStore }),
          );
        }),
      ),
    random: systemRandom,
    registry: ownRegistry,
    revocationLists: x509Lists,
    revocations: () => deferred(() => stores().map(({ revocations }) => revocations)),
    runStore: ownRuns,
    settings: () => settings,
  };
}

const dispatcherKeys = (settings: DispatcherSettings): KeyStore<DispatcherItem> =>
  fileKeyStore({ paths: dispatcherPaths(settings), journal: join(settings.stateDir, 'identity.journal') });

const storeFile = ({ stateDir }: DispatcherSettings): string => join(stateDir, 'ctrl-exec.db');

/** The settings of the dispatcher at a place, and what there is against its files. */
function judgedSettings(options: PlaceOptions): ResultAsync<JudgedDispatcher, CtrlExecError> {
  const files = nodeFileSystem();
  return loadDispatcherSettings(options).andThen(({ settings, warnings }) =>
    trustDispatcher({ files, keyStore: dispatcherKeys(settings) }, settings, {
      path: storeFile(settings),
      isOlder: async () =>
        (await import('../adapters/sql/sqlite/older-store.js')).isOlderStore(storeFile(settings)),
    }).map((judged) => ({ ...judged, warnings: [...warnings, ...judged.warnings] })),
  );
}

/** Opens a dispatcher's context; `resolve` makes it out of the factories. */
export function openDispatcherContext(
  options: PlaceOptions & { readonly events?: EventLog | undefined },
  resolve: (factories: Factories<DispatcherContext>) => DispatcherContext,
): ResultAsync<OpenedDispatcher, CtrlExecError> {
  return judgedSettings(options).map(({ settings, warnings, distrust }) => {
    const closers: (() => Promise<void>)[] = [];
    const context = resolve(dispatcherFactories(settings, (close) => closers.unshift(close), options.events));
    const close = async () => {
      for (const each of closers.splice(0)) await each();
    };
    return { context, warnings, distrust, close };
  });
}

/** The settings of the agent at a place. */
export const loadAgentSettings = (options: PlaceOptions): ReturnType<typeof loadSettings> =>
  loadSettings({ files: nodeFileSystem(), place: agentPlace(options) });

/** Functions, and what executes them: a copy, so that nobody changes it afterwards. */
function agentActions(given: Actions, events: EventLog, inMemory: boolean): AgentActions {
  const functions: Actions = { ...given };
  const runner = actionRunner({ actions: functions, events });
  return {
    functions,
    runner,
    jobs: (settings) =>
      inMemory
        ? memoryJobs({ runner })
        : fileJobs({ directory: join(settings.asyncRunsDir, 'actions'), runner }),
  };
}

/** The jobs of scripts. Without the program that watches over them none is begun; those that there are can be asked about. */
function scriptJobs({ asyncRunsDir }: AgentSettings, supervisor: string | undefined): Jobs {
  const path = supervisor ?? 'job-supervisor.js';
  const jobs = supervisedJobs({ directory: join(asyncRunsDir, 'jobs'), supervisor: path });
  const reason =
    'not found: install ctrl-exec where this program can require it, or set jobSupervisor of openAgent to dist/job-supervisor.js of the package';
  const start: Jobs['start'] = () =>
    errAsync(failure('spawn_failed', `${path}: ${reason}`, { path, reason }));
  return supervisor !== undefined && existsSync(supervisor) ? jobs : { ...jobs, start };
}

/** The default adapters of an agent. */
export function agentFactories(
  options: PlaceOptions & Pick<OpenAgentOptions, 'actions' | 'jobSupervisor'>,
  events: EventLog = noEventLog,
  given: Partial<AgentPorts> = {},
): Factories<AgentContext> {
  const { actions = {} } = options;
  return {
    // Where the jobs of scripts are not kept in files, those of actions are not either.
    actions: (ports) =>
      agentActions(actions, { emit: (event) => ports.events.emit(event) }, given.jobs !== undefined),
    certificateRequests: x509Requests,
    clock: systemClock,
    crypto: nodeCrypto,
    environment: () => programEnvironment(process.env, homeDirectory(process.env)),
    events: () => events,
    files: nodeFileSystem,
    hook: () => authHook,
    jobs: () => (settings) => scriptJobs(settings, options.jobSupervisor ?? jobSupervisorFile()),
    journal: () => (settings) =>
      fileRunJournal({ directory: settings.asyncRunsDir, former: join(settings.stateDir, 'replay') }),
    keyStore: () => (settings) =>
      fileKeyStore({ paths: agentPaths(settings), journal: join(settings.stateDir, 'identity.journal') }),
    hostName: () => hostname(),
    legacyPairing: tlsLegacyPairing,
    listener: tlsListener,
    place: () => agentPlace(options),
    random: systemRandom,
    revocationLists: x509Lists,
    runner: () => childProcessRunner(),
    channel: tlsChannel,
    version: () => version,
  };
}
