/**
 * A dispatcher: the control host as an object. `openDispatcher` is where to begin; docs/embedding.md is the guide.
 * @module
 */
import { errAsync } from 'neverthrow';
import { createDispatcher, type Dispatcher } from '../../sdk/dispatcher/dispatcher.js';
import { openDispatcherContext } from '../defaults.js';
import { judgeDispatcherOptions } from '../options/open.js';
import type { OpenDispatcherOptions } from '../options/types.js';
import { resolvePorts } from '../wiring.js';

export type { CtrlExecError, ErrorCode } from '../../domain/core/errors.js';
export type { EventLevel, LogEvent } from '../../domain/core/event.js';
export type { ImportItem, ImportReport } from '../../domain/legacy/import-report.js';
export type {
  PairingDecision,
  PairingPlace,
  PairingRequest,
  PairingState,
} from '../../domain/pairing/request.js';
export type { AdvertisedScript } from '../../domain/protocol/agent-messages.js';
export {
  type Bytes,
  type HostOutput,
  type HostResult,
  type HostState,
  hostStates,
  type LeftBehind,
} from '../../domain/runs/host-result.js';
export type { Submission } from '../../domain/runs/host-words.js';
export type { HostProgress } from '../../domain/runs/progress.js';
export type { RunQuery } from '../../domain/runs/query.js';
export type { RunMode } from '../../domain/runs/record.js';
export type { HostCounts, RunOutcome, RunSummary } from '../../domain/runs/summary.js';
export type { DispatcherSettings } from '../../domain/settings/dispatcher.js';
export type { AgentEndpoint, AgentRecord, KeyPin } from '../../domain/trust/agent-record.js';
export type { AgentStanding, SerialState } from '../../domain/trust/agent-standing.js';
export type { AgentState, CertificateState } from '../../domain/trust/agent-state.js';
export type { BannedKey } from '../../domain/trust/banned-key.js';
export type { KeyType } from '../../domain/trust/certificate.js';
export type { EventLog } from '../../ports/event-log.js';
export type { Revocation } from '../../ports/revocations.js';
export type { DispatcherPorts } from '../../sdk/core/ports.js';
export type {
  Dispatcher,
  Governed,
  RotateIdentityOptions,
  RotateOptions,
} from '../../sdk/dispatcher/dispatcher.js';
export type { AgentPage, AgentQuery, ListedAgent, TargetRequest } from '../../sdk/dispatcher/fleet/agents.js';
export type { Asked, Asking } from '../../sdk/dispatcher/fleet/ask.js';
export type { Caller, Question } from '../../sdk/dispatcher/fleet/authorise.js';
export type { DiscoveredHost, Discovery, DiscoveryRequest } from '../../sdk/dispatcher/fleet/discovery.js';
export type { PinnedAgent } from '../../sdk/dispatcher/fleet/pin-agent.js';
export type { Ping, PingRequest, PingResult } from '../../sdk/dispatcher/fleet/ping.js';
export type { AgentEdit } from '../../sdk/dispatcher/fleet/registered-agents.js';
export type { CaRollover } from '../../sdk/dispatcher/maintenance/ca-rollover.js';
export type { MaintainOptions, Maintenance } from '../../sdk/dispatcher/maintenance/maintain.js';
export type { ImportOptions } from '../../sdk/dispatcher/migrate/import-state.js';
export type { Approval, RequestListing } from '../../sdk/dispatcher/pairing/decisions.js';
export type {
  IssuedJoinToken,
  JoinTokenRequest,
  JoinTokenSummary,
} from '../../sdk/dispatcher/pairing/join-tokens.js';
export type { PairingMode, PairingModeOptions } from '../../sdk/dispatcher/pairing/pairing-mode.js';
export type { Cancellation, Cancelled, CancelOptions } from '../../sdk/dispatcher/runs/cancel.js';
export type { FollowedRun, RunEvent, StreamRequest } from '../../sdk/dispatcher/runs/follow.js';
export type { OutputPiece } from '../../sdk/dispatcher/runs/following.js';
export type { RunPage } from '../../sdk/dispatcher/runs/list.js';
export type { RetryOptions, RetrySubmitOptions } from '../../sdk/dispatcher/runs/retry.js';
export type { Run, RunRequest, SubmitRequest, Submitted } from '../../sdk/dispatcher/runs/run.js';
export type { SettledRuns } from '../../sdk/dispatcher/runs/settle.js';
export type { RunStatus } from '../../sdk/dispatcher/runs/status.js';
export type { EndedHost, Waited, WaitOptions } from '../../sdk/dispatcher/runs/wait.js';
export type { WatchOptions } from '../../sdk/dispatcher/runs/watch.js';
export type {
  AgentCertificate,
  CaCertificate,
  Certificates,
  Dated,
} from '../../sdk/dispatcher/trust/certificates.js';
export type { OfferedRevocations, Untold } from '../../sdk/dispatcher/trust/pending-revocations.js';
export type { Renewal } from '../../sdk/dispatcher/trust/renewal.js';
export type { Revoked } from '../../sdk/dispatcher/trust/revoke.js';
export type { AgentSerials, Rotation, SerialStatus } from '../../sdk/dispatcher/trust/rotation.js';
export type {
  CaSummary,
  DispatcherSummary,
  SetupDispatcherOptions,
} from '../../sdk/dispatcher/trust/setup.js';
export type { OpenDispatcherOptions } from '../options/types.js';
export type { Place, PlaceOptions } from '../place.js';

/**
 * A dispatcher over the files of `home`, or with `system: true` over the system-wide ones. Reads nothing and opens nothing before
 * the first call; whatever is wrong, options included (`invalid_argument`), is the error of each call. Several may live in one
 * process.
 */
export async function openDispatcher(options: OpenDispatcherOptions): Promise<Dispatcher> {
  const judged = judgeDispatcherOptions(options);
  if (judged.error) return createDispatcher(() => errAsync(judged.error));
  const { ports = {} } = judged.options;
  return createDispatcher(() =>
    openDispatcherContext(judged.options, (factories) => {
      const given = Object.entries(ports).map(([name, port]) => [name, () => port]);
      return resolvePorts({ ...factories, ...Object.fromEntries(given) });
    }),
  );
}
