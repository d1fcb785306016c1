import { arch, endianness, hostname, platform } from 'node:os';
import { resolve } from 'node:path';
import { ResultAsync } from 'neverthrow';
import { homeDirectory } from '../adapters/child-process/home.js';
import { childProcessRunner } from '../adapters/child-process/runner.js';
import { nodeDeploymentFiles } from '../adapters/files/deploy/deployment-files.js';
import { fileDeploymentJournal } from '../adapters/files/deploy/deployment-journal.js';
import { filePullKeys } from '../adapters/files/deploy/pull-keys.js';
import { nodeFileSystem } from '../adapters/files/file-system.js';
import { nodeFileTree } from '../adapters/files/file-tree.js';
import { nodeCrypto } from '../adapters/node-crypto/crypto.js';
import { systemRandom } from '../adapters/node-crypto/random.js';
import { tlsProbe } from '../adapters/node-tls/probe.js';
import { systemClock } from '../adapters/system/clock.js';
import { outboundAddress } from '../adapters/system/outbound-address.js';
import { undiciCaddyAdmin } from '../adapters/undici/caddy-admin.js';
import { undiciControlPlane } from '../adapters/undici/control-plane.js';
import { trustedCertificates } from '../adapters/undici/trusted-certificates.js';
import { x509CertificateRequests } from '../adapters/x509/certificate-requests.js';
import { type CtrlExecError, failure } from '../domain/core/errors.js';
import { goArchitecture, goSystem } from '../domain/deploy/host.js';
import { proxyFor } from '../domain/deploy/proxy.js';
import type { PullOptions, PullSettings } from '../domain/settings/pull.js';
import type { EventLog } from '../ports/event-log.js';
import type { PullContext } from '../sdk/deploy/pull/context.js';
import { agentPlace, type PlaceOptions } from './place.js';
import { programEnvironment } from './program-environment.js';
import { version } from './version.js';
import type { Factories } from './wiring.js';

/** The control plane of these settings. Its certificate is judged by the CAs that are trusted now. */
const controlPlane = (settings: PullSettings): ReturnType<PullContext['controlPlane']> =>
  proxyFor(settings.server, process.env)
    .mapErr((reason): CtrlExecError => failure('config_invalid', reason, { file: 'the environment', reason }))
    .asyncAndThen((proxy) =>
      new ResultAsync(
        trustedCertificates(nodeFileSystem().read, settings.caBundle, process.env['SSL_CERT_FILE']),
      ).map((trusted) =>
        undiciControlPlane({ ...settings, proxy, trusted, userAgent: `ctrl-exec-agent/${version}` }),
      ),
    );

/** The default adapters of a pull agent. Loading this file takes a while: it is for whoever pulls. */
export const pullFactories = (
  place: PlaceOptions,
  options: PullOptions,
  events: EventLog,
): Factories<PullContext> => ({
  caddyAdmin: () => undiciCaddyAdmin(nodeFileSystem()),
  certificateRequests: x509CertificateRequests,
  clock: systemClock,
  controlPlane: () => controlPlane,
  crypto: nodeCrypto,
  deploymentFiles: nodeDeploymentFiles,
  // Backups of private keys belong where private keys are: it is closed to others, and writable.
  deploymentJournal: () => (settings) =>
    fileDeploymentJournal({ directory: resolve(settings.keyDir, 'deployments') }),
  environment: () => programEnvironment(process.env, homeDirectory(process.env)),
  events: () => events,
  files: nodeFileSystem,
  host: () => ({
    name: hostname(),
    system: goSystem(platform()),
    architecture: goArchitecture(arch(), endianness() === 'LE'),
    addressTowards: outboundAddress,
  }),
  keys: () => (settings) => filePullKeys({ directory: settings.keyDir }),
  options: () => options,
  place: () => agentPlace(place),
  random: systemRandom,
  runner: () => childProcessRunner(),
  tlsProbe,
  tree: nodeFileTree,
  variables: () => process.env,
  version: () => version,
});
