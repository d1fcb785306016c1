/**
 * An agent: a managed host as an object. `openAgent` is where to begin.
 * @module
 */
import type { Actions } from '../../domain/runs/action.js';
import type { PullOptions } from '../../domain/settings/pull.js';
import type { EventLog } from '../../ports/event-log.js';
import { type Agent, createAgent } from '../../sdk/agent/agent.js';
import type { AgentPorts } from '../../sdk/agent/context.js';
import type { PullPorts } from '../../sdk/deploy/pull/context.js';
import type { PullAgent } from '../../sdk/deploy/pull-agent.js';
import { agentFactories } from '../defaults.js';
import type { PlaceOptions } from '../place.js';
import { resolvePorts } from '../wiring.js';

export type { CtrlExecError, ErrorCode } from '../../domain/core/errors.js';
export type { EventLevel, LogEvent } from '../../domain/core/event.js';
export type { FileTrust } from '../../domain/core/file-trust.js';
export type { Prefix, Prefixes } from '../../domain/core/ip-prefix.js';
export type { RateLimit } from '../../domain/core/rate-limit.js';
export type { PullPolicy } from '../../domain/deploy/policy.js';
export type { ControlPlaneUrl } from '../../domain/deploy/server-url.js';
export type { ImportItem, ImportReport } from '../../domain/legacy/import-report.js';
export type {
  ActionContext,
  ActionFunction,
  ActionOutput,
  ActionResult,
  Actions,
  DescribedAction,
} from '../../domain/runs/action.js';
export type { AgentSettings } from '../../domain/settings/agent.js';
export type { EventLogSetting } from '../../domain/settings/event-log.js';
export type { PullLogLevel, PullOptions, PullSettings } from '../../domain/settings/pull.js';
export type { SettingsAndWarnings } from '../../domain/settings/reader.js';
export type { EventLog } from '../../ports/event-log.js';
export type { Agent } from '../../sdk/agent/agent.js';
export type { Check, PairingStatus, SelfPing, SelfPingOptions } from '../../sdk/agent/checks.js';
export type { AgentPorts } from '../../sdk/agent/context.js';
export type { AgentImportOptions } from '../../sdk/agent/migrate/import-state.js';
export type { Paired, PairingCode, PairingOptions, PairingTrust } from '../../sdk/agent/pairing/options.js';
export type { PairingReport } from '../../sdk/agent/pairing/report.js';
export type { ServeOptions, ServingAgent } from '../../sdk/agent/serve.js';
export type { TrustedSerial } from '../../sdk/agent/trust/trusted-serials.js';
export type { PullPorts } from '../../sdk/deploy/pull/context.js';
export type { PullEnd } from '../../sdk/deploy/pull/loop.js';
export type { PullAgent, PullRunOptions } from '../../sdk/deploy/pull-agent.js';
export type { PlaceOptions } from '../place.js';

export interface OpenAgentOptions extends PlaceOptions {
  /**
   * Functions of this process that dispatchers may run by these names, beside the scripts of the allowlist and like them:
   * only for trusted dispatchers, past the hook, within the limits. A name that `scripts.conf` has, too, is
   * `config_invalid` from `serve` and everything else that reads the allowlist. Taken over as they are now; a reload
   * keeps them.
   */
  readonly actions?: Actions;
  /** Where events go. Default: nowhere. */
  readonly events?: EventLog;
  /** Ports of one's own, instead of the default adapters; see `ctrl-exec/ports`. */
  readonly ports?: Partial<AgentPorts>;
}

/**
 * An agent over the files of `home` (or the system-wide ones). Reads nothing and opens nothing before the first call.
 * Several may live in one process.
 */
export async function openAgent(options: OpenAgentOptions = {}): Promise<Agent> {
  const given = Object.entries(options.ports ?? {}).map(([name, port]) => [name, () => port]);
  return createAgent(
    resolvePorts({ ...agentFactories(options, options.events, options.ports), ...Object.fromEntries(given) }),
  );
}

export interface OpenPullAgentOptions extends PlaceOptions, PullOptions {
  /** Where events go. Default: nowhere. */
  readonly events?: EventLog;
  /** Ports of one's own, instead of the default adapters; see `ctrl-exec/ports`. */
  readonly ports?: Partial<PullPorts>;
}

/**
 * A certificate agent of a certctl control plane. What no option says comes from the `CERTCTL_` variables of this process,
 * then from the section `[pull]` of `agent.conf`. Reads nothing and sends nothing before the first call.
 */
export async function openPullAgent(options: OpenPullAgentOptions = {}): Promise<PullAgent> {
  const [{ pullFactories }, { createPullAgent }] = await Promise.all([
    import('../pull-defaults.js'),
    import('../../sdk/deploy/pull-agent.js'),
  ]);
  const { events = { emit: () => undefined }, ports = {} } = options;
  const given = Object.entries(ports).map(([name, port]) => [name, () => port]);
  return createPullAgent(
    resolvePorts({ ...pullFactories(options, options, events), ...Object.fromEntries(given) }),
  );
}
