import type { PullPolicy } from '../../domain/deploy/policy.js';
import type { DeploymentJournal } from '../../ports/deployment-journal.js';
import type { FileSystem } from '../../ports/file-system.js';
import type { Lanes } from '../core/lanes.js';
import type { PullPorts } from '../core/ports.js';

type Used = 'caddyAdmin' | 'clock' | 'crypto' | 'deploymentFiles' | 'environment' | 'runner' | 'tlsProbe';

/** What deployments stand on. */
export interface DeployContext extends Pick<PullPorts, Used> {
  readonly deploymentJournal: DeploymentJournal;
  readonly files: Pick<FileSystem, 'faults' | 'isExecutable' | 'readText'>;
  /** Keeps deployments that share a file or an administration API apart. */
  readonly lanes: Lanes;
  /** What the host allows its control plane. */
  readonly policy: PullPolicy;
  /** The agent is to end: waits end, while what has begun is completed. */
  readonly stop?: AbortSignal | undefined;
}
