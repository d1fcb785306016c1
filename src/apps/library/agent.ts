/**
 * An agent: a managed host as an object. `openAgent` is where to begin.
 * @module
 */
import { errAsync, type ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../../domain/core/errors.js';
import { type Agent, createAgent } from '../../sdk/agent/agent.js';
import type { PullAgent } from '../../sdk/deploy/pull-agent.js';
import { agentFactories } from '../defaults.js';
import { judgeAgentOptions, judgePullOptions } from '../options/open.js';
import type { OpenAgentOptions, OpenPullAgentOptions } from '../options/types.js';
import { resolvePorts } from '../wiring.js';

export type { CtrlExecError, ErrorCode } from '../../domain/core/errors.js';
export type { EventLevel, LogEvent } from '../../domain/core/event.js';
export type { FileTrust } from '../../domain/core/file-trust.js';
export type { Prefix, Prefixes } from '../../domain/core/ip-prefix.js';
export type { PullPolicy } from '../../domain/deploy/policy.js';
export type { ControlPlaneUrl } from '../../domain/deploy/server-url.js';
export type { ImportItem, ImportReport } from '../../domain/legacy/import-report.js';
export type { RateLimit } from '../../domain/protocol/source-limits.js';
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
export type { AgentImportOptions } from '../../sdk/agent/migrate/import-state.js';
export type { Paired, PairingCode, PairingOptions, PairingTrust } from '../../sdk/agent/pairing/options.js';
export type { PairingReport } from '../../sdk/agent/pairing/report.js';
export type { ServeOptions, ServingAgent } from '../../sdk/agent/serve.js';
export type { TrustedSerial } from '../../sdk/agent/trust/trusted-serials.js';
export type { AgentPorts, PullPorts } from '../../sdk/core/ports.js';
export type { PullEnd } from '../../sdk/deploy/pull/loop.js';
export type { PullAgent, PullRunOptions } from '../../sdk/deploy/pull-agent.js';
export type { OpenAgentOptions, OpenPullAgentOptions } from '../options/types.js';
export type { Place, PlaceOptions } from '../place.js';

/**
 * An agent over the files of `home`, or with `system: true` over the system-wide ones. Reads nothing and opens nothing before the
 * first call; wrong options are the error (`invalid_argument`) of each call. Several may live in one process.
 */
export async function openAgent(options: OpenAgentOptions): Promise<Agent> {
  const judged = judgeAgentOptions(options);
  if (judged.error) return unopened<Agent>(judged.error, agentMethods);
  const { ports = {}, events } = judged.options;
  const given = Object.entries(ports).map(([name, port]) => [name, () => port]);
  return createAgent(
    resolvePorts({ ...agentFactories(judged.options, events, ports), ...Object.fromEntries(given) }),
  );
}

/**
 * A certificate agent of a certctl control plane. What no option says comes from the `CERTCTL_` variables of this process,
 * then from the section `[pull]` of `agent.conf`. Reads nothing and sends nothing before the first call; wrong options are the
 * error (`invalid_argument`) of each call.
 */
export async function openPullAgent(options: OpenPullAgentOptions): Promise<PullAgent> {
  const judged = judgePullOptions(options);
  if (judged.error) return unopened<PullAgent>(judged.error, { configuration: true, run: true });
  const [{ pullFactories }, { createPullAgent }] = await Promise.all([
    import('../pull-defaults.js'),
    import('../../sdk/deploy/pull-agent.js'),
  ]);
  const { events = { emit: () => undefined }, ports = {} } = judged.options;
  const given = Object.entries(ports).map(([name, port]) => [name, () => port]);
  return createPullAgent(
    resolvePorts({ ...pullFactories(judged.options, judged.options, events), ...Object.fromEntries(given) }),
  );
}

/** The methods of T that answer with a result. */
type Answering<T> = {
  readonly [K in keyof T as T[K] extends (...given: never[]) => ResultAsync<unknown, CtrlExecError>
    ? K
    : never]: true;
};

const agentMethods: Answering<Agent> = {
  configuration: true,
  importState: true,
  pair: true,
  pairingStatus: true,
  pairingReport: true,
  reportPairing: true,
  serve: true,
  trustedSerials: true,
  keepSerial: true,
  acceptUnsigned: true,
  selfPing: true,
};

/** What was opened with wrong options: each method answers with the error. */
function unopened<T extends object>(error: CtrlExecError, methods: Answering<T>): T {
  const answers = Object.keys(methods).map((name) => [name, () => errAsync(error)]);
  const close = async () => undefined;
  return {
    ...Object.fromEntries(answers),
    selfCheck: async () => [{ name: 'options', ok: false, detail: error.message }],
    close,
    [Symbol.asyncDispose]: close,
  };
}
