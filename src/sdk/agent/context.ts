import type { Actions } from '../../domain/runs/action.js';
import type { AgentSettings } from '../../domain/settings/agent.js';
import type { Jobs } from '../../ports/jobs.js';
import type { ProcessRunner } from '../../ports/process-runner.js';
import type { AgentPlace } from '../core/place.js';
import type { AgentPorts } from '../core/ports.js';

/** Functions of this process that dispatchers may run as if they were scripts, and what executes them. */
export interface AgentActions {
  /** None: nothing of this is used. */
  readonly functions: Actions;
  /** Knows their paths only. */
  readonly runner: ProcessRunner;
  /** Opened with the state of these settings. They end with the agent. */
  jobs(settings: AgentSettings): Jobs;
}

export interface AgentContext extends AgentPorts {
  readonly actions: AgentActions;
  readonly place: AgentPlace;
  /** What this host calls itself. */
  readonly hostName: string;
  /** Version of this package, as `/ping` reports it. */
  readonly version: string;
  /** The whole environment of scripts. */
  readonly environment: Readonly<Record<string, string>>;
}
