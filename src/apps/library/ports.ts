/**
 * The ports: what the package asks of its surroundings, each an interface with a contract that can be fulfilled by
 * an adapter of your own. `ctrl-exec/testing/contracts` has a suite for most of them.
 * @module
 */

export type { EventRecord } from '../../domain/core/event.js';
export type { FileFault } from '../../domain/core/file-trust.js';
export type { CertificateId } from '../../domain/deploy/certificate-id.js';
export type { Command } from '../../domain/deploy/command.js';
export type { ControlPlaneAnswer, ControlPlaneRequest } from '../../domain/deploy/control-plane-api.js';
export type { SubjectNames } from '../../domain/deploy/csr.js';
export type { CertificateDescription } from '../../domain/deploy/discovery.js';
export type { FileState } from '../../domain/deploy/plan.js';
export type { JoinTokenRecord } from '../../domain/pairing/join-token.js';
export type { Observation } from '../../domain/pairing/observation.js';
export type { Admission, PlaceLimits } from '../../domain/pairing/request.js';
export type { HeaderList, HttpAnswer } from '../../domain/protocol/http-message.js';
export type { RunningDigest } from '../../domain/protocol/output-stream.js';
export type { HookContext, HookOutcome } from '../../domain/runs/auth-hook.js';
export type { Idempotency, RunRecord } from '../../domain/runs/record.js';
export type { AgentEndpoint, AgentRecord, KeyPin } from '../../domain/trust/agent-record.js';
export { type AgentStanding, type StandingChange, worthKeeping } from '../../domain/trust/agent-standing.js';
export type { BannedKey } from '../../domain/trust/banned-key.js';
export type { Certificate, CertificateProfile, Usage } from '../../domain/trust/certificate.js';
export type { IssuedCertificate } from '../../domain/trust/issued-certificate.js';
export type { RevocationList, RevokedCertificate } from '../../domain/trust/revocation-list.js';
export type { AuthHook } from '../../ports/auth-hook.js';
export type { CaddyAdmin, CaddyConfiguration, CaddyFailure, CaddyPlace } from '../../ports/caddy-admin.js';
export type { CertificateAuthority, Issuer, Validity } from '../../ports/certificate-authority.js';
export type { CertificateRequest, CertificateRequests } from '../../ports/certificate-requests.js';
export type {
  AnswerHead,
  BodyConsumer,
  Channel,
  ChannelAnswer,
  ChannelError,
  ChannelTarget,
  Connection,
  ConnectOptions,
  Credentials,
  Exchange,
  ExchangeError,
} from '../../ports/channel.js';
export type { Clock } from '../../ports/clock.js';
export type { ControlPlane, ControlPlaneError } from '../../ports/control-plane.js';
export type { Crypto, SignatureAlgorithm, SigningKey } from '../../ports/crypto.js';
export type {
  DeploymentFiles,
  FoundFile,
  HeldFiles,
  NewFile,
  StagedFile,
} from '../../ports/deployment-files.js';
export type {
  DeploymentJournal,
  DeploymentRecord,
  PendingDeployment,
  RecordedFile,
  UnusableDeployment,
} from '../../ports/deployment-journal.js';
export type { EventLog } from '../../ports/event-log.js';
export type { FileSystem } from '../../ports/file-system.js';
export type { FileTree, TreeEntry, TreeWalk } from '../../ports/file-tree.js';
export type { Job, JobHeader, JobKey, JobStart, JobState, Jobs, NewJob } from '../../ports/jobs.js';
export type { JoinTokens } from '../../ports/join-tokens.js';
export type {
  AgentItem,
  CaItem,
  DispatcherItem,
  KeyStore,
  KeyStoreChange,
  KeyStoreContents,
  KeyStoreItem,
} from '../../ports/key-store.js';
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
  Preferred,
} from '../../ports/listener.js';
export type { Held, Mutex } from '../../ports/mutex.js';
export type {
  Observed,
  Pairing,
  PairingActivation,
  PairingBegin,
  PairingIssue,
  PairingOpening,
  Unpairing,
} from '../../ports/pairing.js';
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
export type {
  Adoption,
  AgentChange,
  AgentListing,
  Enrolment,
  EnrolmentRefusal,
  Registry,
} from '../../ports/registry.js';
export type { RevocationLists } from '../../ports/revocation-lists.js';
export type { Revocation, Revocations, RevokedNow, Revoking } from '../../ports/revocations.js';
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
export type {
  HostStart,
  PurgeLimits,
  RunBegin,
  RunListing,
  RunStart,
  RunStore,
} from '../../ports/run-store.js';
export type { ProbeAddress, ProbedEndpoint, TlsProbe } from '../../ports/tls-probe.js';
export type {
  Transport,
  TransportAnswer,
  TransportError,
  TransportRequest,
  TransportTarget,
} from '../../ports/transport.js';
