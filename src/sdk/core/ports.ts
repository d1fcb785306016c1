import type { ResultAsync } from 'neverthrow';
import { callback, dictionaryOf, having, maybe, type Table, text } from '../../domain/core/border.js';
import type { CtrlExecError } from '../../domain/core/errors.js';
import type { AgentSettings } from '../../domain/settings/agent.js';
import type { PullSettings } from '../../domain/settings/pull.js';
import type { AuthHook } from '../../ports/auth-hook.js';
import type { CaddyAdmin } from '../../ports/caddy-admin.js';
import type { CertificateAuthority } from '../../ports/certificate-authority.js';
import type { CertificateRequests } from '../../ports/certificate-requests.js';
import type { Channel } from '../../ports/channel.js';
import type { Clock } from '../../ports/clock.js';
import type { ControlPlane } from '../../ports/control-plane.js';
import type { Crypto } from '../../ports/crypto.js';
import type { DeploymentFiles } from '../../ports/deployment-files.js';
import type { DeploymentJournal } from '../../ports/deployment-journal.js';
import type { EventLog } from '../../ports/event-log.js';
import type { FileSystem } from '../../ports/file-system.js';
import type { FileTree } from '../../ports/file-tree.js';
import type { Jobs } from '../../ports/jobs.js';
import type { JoinTokens } from '../../ports/join-tokens.js';
import type { AgentItem, DispatcherItem, KeyStore } from '../../ports/key-store.js';
import type { LegacyPairing } from '../../ports/legacy-pairing.js';
import type { Listener } from '../../ports/listener.js';
import type { Mutex } from '../../ports/mutex.js';
import type { Pairing } from '../../ports/pairing.js';
import type { ProcessRunner } from '../../ports/process-runner.js';
import type { PullKeys } from '../../ports/pull-keys.js';
import type { Random } from '../../ports/random.js';
import type { Registry } from '../../ports/registry.js';
import type { RevocationLists } from '../../ports/revocation-lists.js';
import type { Revocations } from '../../ports/revocations.js';
import type { RunJournal } from '../../ports/run-journal.js';
import type { RunStore } from '../../ports/run-store.js';
import type { TlsProbe } from '../../ports/tls-probe.js';

// What the published page of the ports has of them: all types but what only adapters share.
export type * from '../../ports/auth-hook.js';
export type * from '../../ports/caddy-admin.js';
export type * from '../../ports/certificate-authority.js';
export type * from '../../ports/certificate-requests.js';
export type * from '../../ports/channel.js';
export type * from '../../ports/clock.js';
export type * from '../../ports/control-plane.js';
export type * from '../../ports/crypto.js';
export type * from '../../ports/deployment-files.js';
export type * from '../../ports/deployment-journal.js';
export type * from '../../ports/event-log.js';
export type * from '../../ports/file-system.js';
export type * from '../../ports/file-tree.js';
export type { Job, JobHeader, JobKey, JobStart, JobState, Jobs, NewJob } from '../../ports/jobs.js';
export type * from '../../ports/join-tokens.js';
export type * from '../../ports/key-store.js';
export type * from '../../ports/legacy-pairing.js';
export type * from '../../ports/listener.js';
export type * from '../../ports/mutex.js';
export type {
  Observed,
  Pairing,
  PairingActivation,
  PairingBegin,
  PairingIssue,
  PairingOpening,
  Unpairing,
} from '../../ports/pairing.js';
export type * from '../../ports/process-runner.js';
export type * from '../../ports/pull-keys.js';
export type * from '../../ports/random.js';
export type * from '../../ports/registry.js';
export type * from '../../ports/revocation-lists.js';
export type * from '../../ports/revocations.js';
export type {
  AgentRunKey,
  ClaimedNonce,
  ClaimedRun,
  KnownRun,
  NewClaim,
  RunClaim,
  RunJournal,
  SettledRun,
} from '../../ports/run-journal.js';
export type * from '../../ports/run-store.js';
export type * from '../../ports/tls-probe.js';

/** Everything that a dispatcher's use cases stand on. */
export interface DispatcherPorts {
  readonly authority: CertificateAuthority;
  readonly certificateRequests: CertificateRequests;
  readonly channel: Channel;
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly events: EventLog;
  readonly files: FileSystem;
  readonly hook: AuthHook;
  readonly joinTokens: JoinTokens;
  readonly keyStore: KeyStore<DispatcherItem>;
  readonly listener: Listener;
  readonly mutex: Mutex;
  readonly pairing: Pairing;
  readonly random: Random;
  readonly registry: Registry;
  readonly revocationLists: RevocationLists;
  readonly revocations: Revocations;
  readonly runStore: RunStore;
}

/** Everything that an agent's use cases stand on. */
export interface AgentPorts {
  readonly certificateRequests: CertificateRequests;
  readonly channel: Channel;
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly events: EventLog;
  readonly files: FileSystem;
  /** The hook that these settings name. */
  hook(settings: AgentSettings): AuthHook;
  /** Opened with the state of these settings. */
  jobs(settings: AgentSettings): Jobs;
  /** Opened with the state of these settings. */
  journal(settings: AgentSettings): RunJournal;
  /** The store at the paths that these settings name. */
  keyStore(settings: AgentSettings): KeyStore<AgentItem>;
  readonly legacyPairing: LegacyPairing;
  readonly listener: Listener;
  readonly random: Random;
  readonly revocationLists: RevocationLists;
  readonly runner: ProcessRunner;
}

/** Everything that a pull agent's use cases stand on. */
export interface PullPorts {
  readonly caddyAdmin: CaddyAdmin;
  readonly certificateRequests: CertificateRequests;
  readonly clock: Clock;
  /** Of these settings. `config_invalid` where the CA bundle cannot be used. Nothing is sent yet. */
  controlPlane(settings: PullSettings): ResultAsync<ControlPlane, CtrlExecError>;
  readonly crypto: Crypto;
  readonly deploymentFiles: DeploymentFiles;
  /** Where these settings want it kept. */
  deploymentJournal(settings: PullSettings): DeploymentJournal;
  /** The whole environment of the commands but for its PATH, which is `searchDirectories`. */
  readonly environment: Readonly<Record<string, string>>;
  readonly events: EventLog;
  readonly files: FileSystem;
  /** The keys in the directory of these settings. */
  keys(settings: PullSettings): PullKeys;
  readonly random: Random;
  readonly runner: ProcessRunner;
  readonly tlsProbe: TlsProbe;
  readonly tree: FileTree;
}

const certificateRequests = maybe(having<CertificateRequests>('create', 'read'));
const clock = maybe(having<Clock>('now', 'monotonic', 'after'));
const crypto = maybe(
  having<Crypto>('sha256', 'runningSha256', 'hmacSha256', 'generateKey', 'signingKey', 'verify'),
);
const events = maybe(having<EventLog>('emit'));
const random = maybe(having<Random>('bytes'));
const runner = maybe(having<ProcessRunner>('run'));

const ofBothSides = {
  certificateRequests,
  channel: maybe(having<Channel>('connect', 'isUnknownHost', 'forget', 'close')),
  clock,
  crypto,
  events,
  files: maybe(having<FileSystem>('read', 'readText', 'list', 'replace', 'makeDirectory')),
  listener: maybe(having<Listener>('listen')),
  random,
  revocationLists: maybe(having<RevocationLists>('read')),
};

const dispatcher: Table<Partial<DispatcherPorts>> = {
  ...ofBothSides,
  authority: maybe(having('create', 'certificates', 'issue', 'revocationList', 'succeed', 'retirePrevious')),
  hook: maybe(having('ask')),
  joinTokens: maybe(having('add', 'find', 'bind', 'burnBound', 'purge')),
  keyStore: maybe(having('read', 'replace', 'location', 'checkWritable')),
  mutex: maybe(having('acquire', 'close')),
  pairing: maybe(
    having('begin', 'find', 'held', 'open', 'decide', 'issue', 'activate', 'observed', 'unpair', 'end'),
  ),
  registry: maybe(having('list', 'find', 'findByKey', 'enrol', 'activate', 'update', 'remove')),
  revocations: maybe(having('current', 'revision', 'has', 'add', 'revoke', 'bannedKeys', 'unban')),
  runStore: maybe(having('begin', 'settle', 'locks', 'release', 'find', 'list', 'purge')),
};

const agent: Table<Partial<AgentPorts>> = {
  ...ofBothSides,
  hook: maybe(callback()),
  jobs: maybe(callback()),
  journal: maybe(callback()),
  keyStore: maybe(callback()),
  legacyPairing: maybe(having('request')),
  runner,
};

const pull: Table<Partial<PullPorts>> = {
  caddyAdmin: maybe(having('read', 'replace')),
  certificateRequests,
  clock,
  controlPlane: maybe(callback()),
  crypto,
  deploymentFiles: maybe(having('hold', 'identify', 'look', 'stage', 'place', 'discard')),
  deploymentJournal: maybe(callback()),
  environment: maybe(dictionaryOf(text)),
  events,
  files: maybe(having('readText', 'faults', 'isExecutable')),
  keys: maybe(callback()),
  random,
  runner,
  tlsProbe: maybe(having('resolve', 'servedFingerprint')),
  tree: maybe(having('walk')),
};

/** What is expected of a port that is given instead of a default adapter. As the default export it is no part of the published page. */
export default { dispatcher, agent, pull };
