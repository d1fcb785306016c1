import type { Verification } from '../core/errors.js';
import { type CtrlExecError, failure } from '../core/errors.js';
import type { DeploymentStep } from './plan.js';

/** What people know the steps as: the member of the configuration, where there is one. */
const stepNames: Readonly<Record<DeploymentStep['kind'], string>> = {
  record: 'backup',
  stage: 'writing',
  place: 'replacing',
  sync: 'replacing',
  validate: 'validate_command',
  note: 'backup',
  reload: 'reload_command',
  configure: 'admin_api',
  verify: 'post_deploy_verify',
  tidy: 'replacing',
  commit: 'backup',
};

export interface FailedDeployment {
  readonly target: string;
  readonly step: DeploymentStep['kind'];
  readonly reason: string;
  readonly begun: readonly DeploymentStep[];
  /** What failed on the way back. */
  readonly undoFailures: readonly string[];
  /** Where what was there before is kept. */
  readonly backups: string | undefined;
  readonly verification: Verification | undefined;
  /** Of the handshake after the way back; undefined: there was none. */
  readonly afterwards: Verification | undefined;
}

function undoneText({ begun, afterwards }: FailedDeployment): string {
  const has = (kind: DeploymentStep['kind']) => begun.some((step) => step.kind === kind);
  if (!has('place') && !has('configure')) return 'nothing was changed';
  const back = has('place') ? 'the previous files are back' : 'the previous configuration is back';
  const reloaded = has('reload') ? ' and the service was reloaded with them' : '';
  if (afterwards === undefined) return `rolled back: ${back}${reloaded}`;
  return afterwards.verified
    ? `rolled back: ${back}${reloaded}, and ${afterwards.endpoint} serves the previous certificate again`
    : `rolled back: ${back}${reloaded}, but ${afterwards.endpoint} does not serve the previous certificate: ${afterwards.error ?? ''}`;
}

/** The error of a deployment that failed. That the way back failed, too, is said first. */
export function deploymentFailure(failed: FailedDeployment): CtrlExecError<'deployment_failed'> {
  const { target, reason, undoFailures, backups, verification } = failed;
  const step = stepNames[failed.step];
  const rolledBack = undoFailures.length === 0;
  const message = rolledBack
    ? `${target}: ${step} failed: ${reason}; ${undoneText(failed)}`
    : `ROLLBACK FAILED, ${target} needs attention: ${undoFailures.join('; ')}${
        backups === undefined ? '' : `; what was there before is kept in ${backups}`
      }; it was rolled back because ${step} failed: ${reason}`;
  return failure('deployment_failed', message, {
    target,
    step,
    reason,
    rolledBack,
    ...(verification === undefined ? {} : { verification }),
  });
}
