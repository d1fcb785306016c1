import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import type { FileTrust } from '../domain/core/file-trust.js';
import type { AgentPlace } from '../sdk/core/place.js';

/** Where a dispatcher or an agent lives: exactly one of `home` and `system`. */
export type Place =
  | {
      /** Everything under this directory, state in `state` below it. */
      readonly home: string;
      readonly system?: false | undefined;
    }
  | {
      readonly home?: undefined;
      /** The system-wide directories: `/etc/ctrl-exec` and `/var/lib/ctrl-exec`, of an agent those of `ctrl-exec-agent`. */
      readonly system: true;
    };

/** The place, and its configuration. */
export type PlaceOptions = Place & {
  /** The configuration file. Default: the one in the place. With `home` it may be missing. */
  readonly config?: string | undefined;
};

/** As commands are told it: without a home, or with an empty one, the place is the system-wide one. */
export const placeOf = (home: string | undefined, config: string | undefined): PlaceOptions =>
  home === undefined || home === '' ? { system: true, config } : { home, config };

/** Where a dispatcher's configuration and state are. */
export interface DispatcherPlace {
  readonly home: string;
  readonly stateDir: string;
  readonly file: string;
  /** Whether it is an error that the configuration file is not there. */
  readonly configurationRequired: boolean;
  readonly hostName: string;
  /** As the one of an agent. */
  readonly fileTrust: FileTrust;
}

/** Root is who others want to become. */
const fileTrust = (): FileTrust => (process.geteuid?.() === 0 ? 'strict' : 'warn');

export function dispatcherPlace(options: PlaceOptions): DispatcherPlace {
  const home = options.home === undefined ? '/etc/ctrl-exec' : resolve(options.home);
  return {
    home,
    stateDir: options.home === undefined ? '/var/lib/ctrl-exec' : join(home, 'state'),
    file: options.config === undefined ? join(home, 'ctrl-exec.conf') : resolve(options.config),
    configurationRequired: options.home === undefined && options.config !== undefined,
    hostName: hostname(),
    fileTrust: fileTrust(),
  };
}

export function agentPlace(options: PlaceOptions): AgentPlace {
  const home = options.home === undefined ? '/etc/ctrl-exec-agent' : resolve(options.home);
  return {
    home,
    stateDir: options.home === undefined ? '/var/lib/ctrl-exec-agent' : join(home, 'state'),
    configurationFile: options.config === undefined ? join(home, 'agent.conf') : resolve(options.config),
    configurationRequired: options.home === undefined && options.config !== undefined,
    fileTrust: fileTrust(),
  };
}
