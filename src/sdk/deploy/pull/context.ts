import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { PullEnvironment, PullOptions, PullSettings } from '../../../domain/settings/pull.js';
import type { CertificateRequests } from '../../../ports/certificate-requests.js';
import type { ControlPlane } from '../../../ports/control-plane.js';
import type { DeploymentJournal } from '../../../ports/deployment-journal.js';
import type { EventLog } from '../../../ports/event-log.js';
import type { FileSystem } from '../../../ports/file-system.js';
import type { FileTree } from '../../../ports/file-tree.js';
import type { PullKeys } from '../../../ports/pull-keys.js';
import type { Random } from '../../../ports/random.js';
import type { AgentPlace } from '../../core/place.js';
import type { DeployContext } from '../context.js';

/** Everything that a pull agent's use cases stand on. */
export interface PullPorts
  extends Omit<DeployContext, 'deploymentJournal' | 'files' | 'lanes' | 'policy' | 'stop'> {
  readonly certificateRequests: CertificateRequests;
  /** Of these settings. `config_invalid` where the CA bundle cannot be used. Nothing is sent yet. */
  controlPlane(settings: PullSettings): ResultAsync<ControlPlane, CtrlExecError>;
  /** Where these settings want it kept. */
  deploymentJournal(settings: PullSettings): DeploymentJournal;
  readonly events: EventLog;
  readonly files: FileSystem;
  /** The keys in the directory of these settings. */
  keys(settings: PullSettings): PullKeys;
  readonly random: Random;
  readonly tree: FileTree;
}

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
