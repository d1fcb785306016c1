import type { PullPolicy } from '../../domain/deploy/policy.js';
import type { CaddyAdmin } from '../../ports/caddy-admin.js';
import type { Clock } from '../../ports/clock.js';
import type { Crypto } from '../../ports/crypto.js';
import type { DeploymentFiles } from '../../ports/deployment-files.js';
import type { DeploymentJournal } from '../../ports/deployment-journal.js';
import type { FileSystem } from '../../ports/file-system.js';
import type { ProcessRunner } from '../../ports/process-runner.js';
import type { TlsProbe } from '../../ports/tls-probe.js';
import type { Lanes } from '../core/lanes.js';

/** What deployments stand on. */
export interface DeployContext {
  readonly caddyAdmin: CaddyAdmin;
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly deploymentFiles: DeploymentFiles;
  readonly deploymentJournal: DeploymentJournal;
  /** The whole environment of the commands but for its PATH, which is `searchDirectories`. */
  readonly environment: Readonly<Record<string, string>>;
  readonly files: Pick<FileSystem, 'faults' | 'isExecutable' | 'readText'>;
  /** Keeps deployments that share a file or an administration API apart. */
  readonly lanes: Lanes;
  /** What the host allows its control plane. */
  readonly policy: PullPolicy;
  readonly runner: ProcessRunner;
  /** The agent is to end: waits end, while what has begun is completed. */
  readonly stop?: AbortSignal | undefined;
  readonly tlsProbe: TlsProbe;
}
