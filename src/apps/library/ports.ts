export type { AgentRunKey, AgentRuns, KnownRun, RunClaim } from '../../ports/agent-runs.js';
export type { AuthHook } from '../../ports/auth-hook.js';
export type { CertificateAuthority, Issuer, Validity } from '../../ports/certificate-authority.js';
export type { CertificateRequest, CertificateRequests } from '../../ports/certificate-requests.js';
export type { Clock } from '../../ports/clock.js';
export type { ControlPlane, ControlPlaneError } from '../../ports/control-plane.js';
export type { Crypto, SignatureAlgorithm, SigningKey } from '../../ports/crypto.js';
export type { EventLog } from '../../ports/event-log.js';
export type { FileSystem } from '../../ports/file-system.js';
export type { FileTree, TreeEntry, TreeWalk } from '../../ports/file-tree.js';
export type { Job, JobHeader, JobKey, JobStart, JobState, Jobs } from '../../ports/jobs.js';
export type { JoinTokens } from '../../ports/join-tokens.js';
export type { KeyStore, KeyStoreChange, KeyStoreContents, KeyStoreItem } from '../../ports/key-store.js';
export type {
  LegacyExchange,
  LegacyPairing,
  LegacyPairingError,
  LegacyPairingRequest,
} from '../../ports/legacy-pairing.js';
export type {
  ConnectionPeer,
  IncomingRequest,
  Listener,
  ListenerAnswer,
  Listening,
  ListenOptions,
} from '../../ports/listener.js';
export type { HeldLock, LockKey, Locks } from '../../ports/locks.js';
export type { PairingQueue } from '../../ports/pairing-queue.js';
export type {
  CapturedStream,
  OutputSink,
  OutputStream,
  ProcessEnd,
  ProcessOutcome,
  ProcessRequest,
  ProcessRunner,
  Program,
} from '../../ports/process-runner.js';
export type { PullKeys } from '../../ports/pull-keys.js';
export type { Random } from '../../ports/random.js';
export type { AgentChange, Enrolment, Registry } from '../../ports/registry.js';
export type { ReplayCache, ReplayEntry, ReplayVerdict } from '../../ports/replay-cache.js';
export type { RevocationLists } from '../../ports/revocation-lists.js';
export type { Revocation, Revocations } from '../../ports/revocations.js';
export type { PurgeLimits, RunNews, RunStore } from '../../ports/run-store.js';
export type {
  AnswerHead,
  BodyConsumer,
  Credentials,
  Transport,
  TransportAnswer,
  TransportError,
  TransportRequest,
  TransportTarget,
} from '../../ports/transport.js';
