import { join } from 'node:path';
import { childProcessRunner } from '../../../src/adapters/child-process/runner.js';
import { nodeDeploymentFiles } from '../../../src/adapters/files/deploy/deployment-files.js';
import { fileDeploymentJournal } from '../../../src/adapters/files/deploy/deployment-journal.js';
import { nodeFileSystem } from '../../../src/adapters/files/file-system.js';
import { nodeCrypto } from '../../../src/adapters/node-crypto/crypto.js';
import { tlsProbe } from '../../../src/adapters/node-tls/probe.js';
import { systemClock } from '../../../src/adapters/system/clock.js';
import { parseCommand } from '../../../src/domain/deploy/command.js';
import { type PullPolicy, strictPolicy } from '../../../src/domain/deploy/policy.js';
import { lanes } from '../../../src/sdk/core/lanes.js';
import type { DeployContext } from '../../../src/sdk/deploy/context.js';
import { memoryCaddyAdmin } from '../memory/caddy-admin.js';

/** The real adapters but for Caddy, with the journal in a directory, over a clock on which time passes `speed` times as fast. */
export function realContext(directory: string, speed = 10): DeployContext {
  const clock = systemClock();
  return {
    caddyAdmin: memoryCaddyAdmin(),
    clock: { ...clock, after: (ms, callback) => clock.after(ms / speed, callback) },
    crypto: nodeCrypto(),
    deploymentFiles: nodeDeploymentFiles(),
    deploymentJournal: fileDeploymentJournal({ directory: join(directory, 'deployments') }),
    environment: {},
    files: nodeFileSystem(),
    lanes: lanes(),
    policy: { ...strictPolicy('agent.conf'), paths: [directory] },
    runner: childProcessRunner(),
    tlsProbe: tlsProbe(),
  };
}

/** A policy that allows the commands of this configuration, too, and no more. */
export function allowing(policy: PullPolicy, targetConfig: object): PullPolicy {
  const { validate_command: validate, reload_command: reload } = targetConfig as Readonly<
    Record<string, unknown>
  >;
  const commands = [validate, reload].flatMap((text) => parseCommand(String(text ?? '')) ?? []);
  return { ...policy, commands: [...policy.commands, ...commands] };
}
