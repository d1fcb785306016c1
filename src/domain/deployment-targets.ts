import { err, ok, type Result } from 'neverthrow';
import type { DeploymentTarget } from './deployment-target.js';
import { caddy } from './deployment-target-caddy.js';
import { envoy } from './deployment-target-envoy.js';
import { haproxy } from './deployment-target-haproxy.js';
import { dovecot, postfix } from './deployment-target-mail.js';
import { apache, nginx } from './deployment-target-nginx.js';
import { traefik } from './deployment-target-traefik.js';
import { type CtrlExecError, failure } from './errors.js';
import { printable } from './names.js';

const targets: readonly DeploymentTarget[] = [
  nginx,
  apache,
  haproxy,
  postfix,
  dovecot,
  traefik,
  envoy,
  caddy,
];

/** The target that the control plane names so, exactly. */
export function deploymentTarget(type: string): Result<DeploymentTarget, CtrlExecError<'invalid_argument'>> {
  const found = targets.find((candidate) => candidate.type === type);
  if (found !== undefined) return ok(found);
  const supported = targets.map((candidate) => candidate.type).join(', ');
  const reason = `unsupported target type: ${printable(type, 60)}, supported are ${supported}`;
  return err(failure('invalid_argument', reason, { field: 'target_type', reason }));
}
