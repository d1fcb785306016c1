import type { Actions } from '../../domain/runs/action.js';
import type { PullOptions } from '../../domain/settings/pull.js';
import type { EventLog } from '../../ports/event-log.js';
import type { AgentPorts, DispatcherPorts, PullPorts } from '../../sdk/core/ports.js';
import type { PlaceOptions } from '../place.js';

/** Where the dispatcher is, and what it is made of. */
export type OpenDispatcherOptions = PlaceOptions & {
  /** Where events go. Default: nowhere. */
  readonly events?: EventLog | undefined;
  /** Ports of one's own, instead of the default adapters; see `ctrl-exec/ports`. */
  readonly ports?: Partial<DispatcherPorts> | undefined;
};

/** Where the agent is, and what it is made of. */
export type OpenAgentOptions = PlaceOptions & {
  /**
   * Functions of this process that dispatchers may run by these names, beside the scripts of the allowlist and like them:
   * only for trusted dispatchers, past the hook, within the limits. A name that `scripts.conf` has, too, is
   * `config_invalid` from `serve` and everything else that reads the allowlist. Taken over as they are now; a reload
   * keeps them.
   */
  readonly actions?: Actions | undefined;
  /**
   * The file `dist/job-supervisor.js` of this package, for a bundled program: async runs of scripts need it. Default: beside this code,
   * or in the package `ctrl-exec` that this program can require. Not found, `submit` of a script fails (`spawn_failed`).
   */
  readonly jobSupervisor?: string | undefined;
  /** Where events go. Default: nowhere. */
  readonly events?: EventLog | undefined;
  /** Ports of one's own, instead of the default adapters; see `ctrl-exec/ports`. With `jobs` the runs of actions are kept in memory. */
  readonly ports?: Partial<AgentPorts> | undefined;
};

/** Where the pull agent's configuration is, what is said here instead of there, and what it is made of. */
export type OpenPullAgentOptions = PlaceOptions &
  PullOptions & {
    /** Where events go. Default: nowhere. */
    readonly events?: EventLog | undefined;
    /** Ports of one's own, instead of the default adapters; see `ctrl-exec/ports`. */
    readonly ports?: Partial<PullPorts> | undefined;
  };
