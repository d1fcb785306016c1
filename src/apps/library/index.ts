/**
 * A dispatcher: the control host as an object. `openDispatcher` is where to begin; docs/embedding.md is the guide.
 * @module
 */
import type { EventLog } from '../../ports/event-log.js';
import type { DispatcherPorts } from '../../sdk/dispatcher/context.js';
import { createDispatcher, type Dispatcher } from '../../sdk/dispatcher.js';
import { openDispatcherContext } from '../defaults.js';
import type { PlaceOptions } from '../place.js';
import { resolvePorts } from '../wiring.js';

export type { CtrlExecError, ErrorCode } from '../../domain/core/errors.js';
export type { EventLevel, LogEvent } from '../../domain/core/event.js';
export type { ImportItem, ImportReport } from '../../domain/legacy/import-report.js';
export type { PairingDecision, PairingRequest, PairingState } from '../../domain/pairing/request.js';
export type { AdvertisedScript } from '../../domain/protocol/agent-protocol.js';
export type { RunQuery } from '../../domain/runs/query.js';
export type { HostResult, HostState, HostStatus, RunMode, Submission } from '../../domain/runs/record.js';
export type { RunOutcome, RunSummary } from '../../domain/runs/summary.js';
export type { DispatcherSettings } from '../../domain/settings/dispatcher.js';
export type { AgentEndpoint, AgentRecord, KeyPin } from '../../domain/trust/agent-record.js';
export type { AgentStanding, SerialState } from '../../domain/trust/agent-standing.js';
export type { KeyType } from '../../domain/trust/certificate.js';
export type { EventLog } from '../../ports/event-log.js';
export type { HeldLock } from '../../ports/locks.js';
export type { Revocation } from '../../ports/revocations.js';
export type { Asked, Asking } from '../../sdk/dispatcher/ask.js';
export type { Caller, Question } from '../../sdk/dispatcher/authorise.js';
export type { CaRollover } from '../../sdk/dispatcher/ca-rollover.js';
export type { Cancellation, Cancelled, CancelOptions } from '../../sdk/dispatcher/cancel.js';
export type {
  AgentCertificate,
  CaCertificate,
  Certificates,
  Dated,
} from '../../sdk/dispatcher/certificates.js';
export type { DispatcherPorts } from '../../sdk/dispatcher/context.js';
export type { DiscoveredHost, Discovery, DiscoveryRequest } from '../../sdk/dispatcher/discovery.js';
export type { OutputPiece } from '../../sdk/dispatcher/follow.js';
export type { ImportOptions } from '../../sdk/dispatcher/import-state.js';
export type { IssuedJoinToken, JoinTokenRequest } from '../../sdk/dispatcher/join-tokens.js';
export type { RunPage } from '../../sdk/dispatcher/list-runs.js';
export type { MaintainOptions, Maintenance } from '../../sdk/dispatcher/maintain.js';
export type { Approval } from '../../sdk/dispatcher/pairing-decisions.js';
export type { PairingMode, PairingModeOptions } from '../../sdk/dispatcher/pairing-mode.js';
export type { PinnedAgent } from '../../sdk/dispatcher/pin-agent.js';
export type { Ping, PingRequest, PingResult } from '../../sdk/dispatcher/ping.js';
export type { AgentEdit } from '../../sdk/dispatcher/registered-agents.js';
export type { Renewal } from '../../sdk/dispatcher/renewal.js';
export type { RetryOptions, RetrySubmitOptions } from '../../sdk/dispatcher/retry.js';
export type { Revoked } from '../../sdk/dispatcher/revoke.js';
export type { AgentSerials, Rotation, SerialStatus, Untold } from '../../sdk/dispatcher/rotation.js';
export type { Run, RunRequest } from '../../sdk/dispatcher/run.js';
export type { SettledRuns } from '../../sdk/dispatcher/settle-runs.js';
export type { CaSummary, DispatcherSummary, SetupDispatcherOptions } from '../../sdk/dispatcher/setup.js';
export type { RunStatus } from '../../sdk/dispatcher/status.js';
export type { FollowedRun, RunEvent, StreamRequest } from '../../sdk/dispatcher/stream.js';
export type { SubmitRequest, Submitted } from '../../sdk/dispatcher/submit.js';
export type { EndedHost, Waited, WaitOptions } from '../../sdk/dispatcher/wait-for-run.js';
export type { Dispatcher, Governed, RotateOptions } from '../../sdk/dispatcher.js';
export type { PlaceOptions } from '../place.js';

export interface OpenDispatcherOptions extends PlaceOptions {
  /** Where events go. Default: nowhere. */
  readonly events?: EventLog;
  /** Ports of one's own, instead of the default adapters; see `ctrl-exec/ports`. */
  readonly ports?: Partial<DispatcherPorts>;
}

/**
 * A dispatcher over the files of `home` (or the system-wide ones). Reads nothing and opens nothing before the first
 * call; whatever is wrong then is the error of that call. Several may live in one process.
 */
export async function openDispatcher(options: OpenDispatcherOptions = {}): Promise<Dispatcher> {
  const { ports } = options;
  return createDispatcher(() =>
    openDispatcherContext(options, (factories) => {
      const given = Object.entries(ports ?? {}).map(([name, port]) => [name, () => port]);
      return resolvePorts({ ...factories, ...Object.fromEntries(given) });
    }),
  );
}
