import type { CaddyAdmin } from '../../ports/caddy-admin.js';
import type { Clock } from '../../ports/clock.js';
import type { Crypto } from '../../ports/crypto.js';
import type { DeploymentFiles } from '../../ports/deployment-files.js';
import type { DeploymentJournal } from '../../ports/deployment-journal.js';
import type { FileSystem } from '../../ports/file-system.js';
import type { ProcessRunner } from '../../ports/process-runner.js';
import type { TlsProbe } from '../../ports/tls-probe.js';

/** What deployments stand on. */
export interface DeployContext {
  readonly caddyAdmin: CaddyAdmin;
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly deploymentFiles: DeploymentFiles;
  readonly deploymentJournal: DeploymentJournal;
  /** The whole environment of the commands; they are looked for in its PATH. */
  readonly environment: Readonly<Record<string, string>>;
  readonly files: Pick<FileSystem, 'isExecutable'>;
  readonly runner: ProcessRunner;
  readonly tlsProbe: TlsProbe;
}
