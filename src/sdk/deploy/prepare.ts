import { err, ok, type Result } from 'neverthrow';
import type { CtrlExecError } from '../../domain/core/errors.js';
import type { Command } from '../../domain/deploy/command.js';
import { deploymentFailure } from '../../domain/deploy/failure.js';
import { type DeploymentStep, isUnchanged } from '../../domain/deploy/plan.js';
import { isVerifyHost, whyNotCommand, whyNotEndpoint } from '../../domain/deploy/policy.js';
import { type DeploymentTarget, type Installation, isSecret } from '../../domain/deploy/targets/target.js';
import type { VerificationRule } from '../../domain/deploy/verification.js';
import { findProgram } from './commands.js';
import type { DeployContext } from './context.js';
import { type LookedAt, lookAtAll } from './look.js';
import type { CheckedMaterial } from './material.js';
import type { PreparedDeployment } from './run.js';

interface Prepared {
  readonly deployment: PreparedDeployment;
  /** How what is served is looked at once the deployment holds. */
  readonly observation: VerificationRule | undefined;
  readonly warnings: readonly string[];
}

/** Finds out what has to change for an installation, whether this host allows it, and whether its commands are there. Touches nothing. */
export async function prepareDeployment(
  context: DeployContext,
  target: DeploymentTarget,
  installation: Installation,
  material: CheckedMaterial,
): Promise<Result<Prepared, CtrlExecError<'deployment_failed'>>> {
  const { type: targetType, defaults } = target;
  const refuse = (step: DeploymentStep['kind'], reason: string) =>
    err(
      deploymentFailure({
        target: targetType,
        step,
        reason,
        begun: [],
        undoFailures: [],
        backups: undefined,
        verification: undefined,
        afterwards: undefined,
      }),
    );
  for (const kind of ['validate', 'reload'] as const) {
    const command = installation[kind];
    const why = command && whyNotCommand(context.policy, defaults, command);
    // defence: pull-runs-allowed-commands
    if (why !== undefined) return refuse(kind, why);
  }
  const looked = await lookAtAll(context, defaults, installation.files);
  if (looked.isErr()) return refuse('stage', looked.error);
  const all = looked.value.map(({ change }) => change);
  const changes = all.filter(({ before, content }) => !isUnchanged(before, content));
  const commands: Partial<Record<'validate' | 'reload', Command>> = {};
  const ofPrograms: string[] = [];
  for (const kind of changes.length === 0 ? [] : (['validate', 'reload'] as const)) {
    const command = installation[kind];
    const program = command === undefined ? ok(undefined) : await findProgram(context, command);
    if (program.isErr()) return refuse(kind, program.error);
    if (program.value === undefined) continue;
    commands[kind] = program.value.command;
    ofPrograms.push(...program.value.warnings);
  }
  const { adminApi, backups } = installation;
  const { validate, reload } = commands;
  const verification =
    installation.verification && (await judgedEndpoint(context, installation.verification));
  if (verification?.isErr()) return refuse('verify', verification.error);
  const observation = installation.observation && (await judgedEndpoint(context, installation.observation));
  const unseen = observation?.isErr() ? [`what is served was not looked at: ${observation.error}`] : [];
  const order = { changes, validate, reload, adminApi, verification: verification?.unwrapOr(undefined) };
  return ok({
    deployment: { targetType, material, backups, ...order },
    observation: observation?.unwrapOr(undefined),
    warnings: [...installation.warnings, ...ofPrograms, ...keyWarnings(looked.value), ...unseen],
  });
}

/** Keys that everybody on the host may read or write. */
const keyWarnings = (looked: readonly LookedAt[]): readonly string[] =>
  looked
    .filter(({ wanted, change: { mode } }) => isSecret(wanted) && (mode & 0o007) !== 0)
    .map(({ change: { path, mode } }) => `${path} holds a private key and has mode 0${mode.toString(8)}`);

/** Addresses that are tried in one attempt. */
const maxAddresses = 4;

/**
 * The rule with the addresses that may be called: those of this host, or all of a host that the policy names. The error is a
 * reason, the same for a name that does not resolve: the control plane learns nothing of other hosts.
 */
async function judgedEndpoint(
  { policy, tlsProbe }: Pick<DeployContext, 'policy' | 'tlsProbe'>,
  rule: VerificationRule,
): Promise<Result<VerificationRule, string>> {
  const { host, port } = rule.endpoint;
  const found = (await tlsProbe.resolve(host)).unwrapOr([]);
  const named = isVerifyHost(policy, host, port);
  // defence: pull-probes-this-host
  const callable = found.filter(({ isLocal }) => named || isLocal);
  const addresses = callable.slice(0, maxAddresses).map(({ address }) => address);
  if (addresses.length > 0) return ok({ ...rule, addresses });
  return err(named ? 'unreachable' : whyNotEndpoint(policy, host, port));
}
