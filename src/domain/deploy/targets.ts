import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from '../core/errors.js';
import { printable } from '../core/names.js';
import { caddy } from './targets/caddy.js';
import { envoy } from './targets/envoy.js';
import { haproxy } from './targets/haproxy.js';
import { dovecot, postfix } from './targets/mail.js';
import { apache, nginx } from './targets/nginx.js';
import type { DeploymentTarget } from './targets/target.js';
import { traefik } from './targets/traefik.js';

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
