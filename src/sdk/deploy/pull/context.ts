import type { PullEnvironment, PullOptions } from '../../../domain/settings/pull.js';
import type { AgentPlace } from '../../core/place.js';
import type { PullPorts } from '../../core/ports.js';

export interface PullContext extends PullPorts {
  readonly place: AgentPlace;
  readonly options: PullOptions;
  /** Where settings are looked for that no option gives; only the variables that begin with `CERTCTL_` matter. */
  readonly variables: PullEnvironment;
  readonly host: PullHost;
  /** Version of this package, as heartbeats tell it. */
  readonly version: string;
}

/** The host that the agent works on. */
interface PullHost {
  readonly name: string;
  /** In Go's words. */
  readonly system: string;
  readonly architecture: string;
  /** The address under which this host would call that one; empty where that cannot be told. Nothing is sent. */
  addressTowards(host: string, port: number): Promise<string>;
}
