import { err, ok, type Result, ResultAsync } from 'neverthrow';
import type { Verification } from '../../domain/core/errors.js';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { deploymentFailure } from '../../domain/deploy/failure.js';
import type { DeploymentTarget, Installation } from '../../domain/deploy/targets/target.js';
import { deploymentTarget } from '../../domain/deploy/targets.js';
import type { DeployContext } from './context.js';
import { holding } from './holding.js';
import { type CheckedMaterial, checkMaterial, leafFingerprint } from './material.js';
import { prepareDeployment } from './prepare.js';
import { type PreparedDeployment, type RunOutcome, runDeployment } from './run.js';
import { verify } from './verify.js';

export type { DeployContext } from './context.js';
export { recoverDeployments } from './recover.js';

/** A certificate and where it is to be used. */
export interface Deployment {
  /** `NGINX`, `Apache`, … as the control plane names it. */
  readonly targetType: string;
  /** As received: it is validated here. */
  readonly targetConfig: unknown;
  /** The leaf, then its chain. */
  readonly certificatePem: string;
  readonly keyPem: string;
}

export interface Deployed {
  /** False: everything was in place already, and nothing was touched or reloaded. */
  readonly changed: boolean;
  /** Undefined: the configuration asks for none, or nothing changed. */
  readonly verification?: Verification;
  readonly warnings: readonly string[];
}

/**
 * Installs a certificate and its key, all or nothing: what fails is undone, and the error (`deployment_failed`) says what failed
 * and what is in place; what the policy of the host does not allow fails before anything is touched. What is wrong with the
 * order itself is `invalid_argument` or `certificate_invalid`. Deployments that share a file or an administration API are done one
 * after the other, in the order of the calls, others side by side. An abort keeps a deployment from beginning; one that has begun comes to its end, or is rolled back.
 */
export function deploy(
  given: DeployContext,
  deployment: Deployment,
  options: { readonly signal?: AbortSignal } = {},
): ResultAsync<Deployed, CtrlExecError> {
  const { targetType, targetConfig, certificatePem, keyPem } = deployment;
  const context = { ...given, stop: options.signal };
  const checked = checkMaterial(context.crypto, certificatePem, keyPem).mapErr(
    (error): CtrlExecError => error,
  );
  return deploymentTarget(targetType)
    .mapErr((error): CtrlExecError => error)
    .andThen((target) => checked.map((material) => ({ target, material })))
    .andThen(({ target, material }) =>
      target
        .install(targetConfig, material)
        .map((installation) => ({ target, installation, material }))
        .mapErr((reason) =>
          failure('invalid_argument', `the configuration of the ${targetType} target: ${reason}`, {
            field: 'target_config',
            reason,
          }),
        ),
    )
    .asyncAndThen((order) => new ResultAsync(inItsLanes(context, order)));
}

/** All that a deployment is about. */
interface Order {
  readonly target: DeploymentTarget;
  readonly installation: Installation;
  readonly material: CheckedMaterial;
}

/** What it shares with others is known by where the paths lead now. */
async function inItsLanes(context: DeployContext, order: Order): Promise<Result<Deployed, CtrlExecError>> {
  const { adminApi, files } = order.installation;
  const places = await Promise.all(
    files.map(({ path }) => context.deploymentFiles.identify(path).unwrapOr(path)),
  );
  // One API can be named in several ways.
  const keys = [...places, ...(adminApi === undefined ? [] : ['admin_api'])];
  // defence: pull-one-file-one-job
  return context.lanes(keys, async () =>
    context.stop?.aborted === true
      ? err(failure('aborted', 'stopped before the deployment began', {}))
      : holding(context, (held) => installed(held, order)),
  );
}

async function installed(
  context: DeployContext,
  { target, installation, material }: Order,
): Promise<Result<Deployed, CtrlExecError>> {
  const prepared = await prepareDeployment(context, target, installation, material);
  if (prepared.isErr()) return err(prepared.error);
  const { deployment, observation, warnings } = prepared.value;
  if (deployment.changes.length === 0 && deployment.adminApi === undefined)
    return ok({ changed: false, warnings });
  const outcome = await runDeployment(context, deployment);
  if (outcome.kind === 'failed') return err(await failed(context, deployment, outcome));
  const changed = outcome.kind === 'deployed';
  const verification =
    changed && observation
      ? await verify(context, observation, material.fingerprint, material.certificate)
      : outcome.verification;
  if (verification?.error === 'stopped')
    return ok({
      changed,
      warnings: [...warnings, 'the agent was stopped before it was seen what is served'],
    });
  return ok({ changed, warnings, ...(verification === undefined ? {} : { verification }) });
}

/** The error, with what is served after the way back where that can be told. */
async function failed(
  context: DeployContext,
  deployment: PreparedDeployment,
  outcome: Extract<RunOutcome, { kind: 'failed' }>,
): Promise<CtrlExecError> {
  const { targetType: target, verification: rule, material } = deployment;
  const previous = deployment.changes
    .map(({ before }) => before && leafFingerprint(context.crypto, new TextDecoder().decode(before.content)))
    .find((fingerprint) => fingerprint !== undefined);
  const reloaded = outcome.begun.some(({ kind }) => kind === 'reload' || kind === 'verify');
  const afterwards =
    rule !== undefined && previous !== undefined && reloaded && outcome.undoFailures.length === 0
      ? await verify(context, rule, previous, material.certificate)
      : undefined;
  return deploymentFailure({
    ...outcome,
    target,
    afterwards: afterwards?.error === 'stopped' ? undefined : afterwards,
  });
}
