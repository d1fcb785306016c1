import { errAsync, okAsync, type ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/errors.js';
import type { Clock } from '../../ports/clock.js';
import type { Crypto } from '../../ports/crypto.js';
import type { ProcessRunner } from '../../ports/process-runner.js';

/** What deployments stand on. */
export interface DeployContext {
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly runner: ProcessRunner;
  /** The whole environment of the commands. */
  readonly environment: Readonly<Record<string, string>>;
}

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

/** What a TLS handshake with the target showed; fingerprints are SHA-256 of the leaf, lower-case hex. */
export interface Verification {
  readonly endpoint: string;
  readonly expectedFingerprint: string;
  /** Empty when there was no handshake. */
  readonly actualFingerprint: string;
  readonly verified: boolean;
  readonly error?: string;
}

export interface Deployed {
  /** False: everything was in place already, and nothing was touched or reloaded. */
  readonly changed: boolean;
  /** Undefined: the configuration names no endpoint, or nothing changed. */
  readonly verification?: Verification;
  readonly warnings: readonly string[];
}

/**
 * Installs a certificate and its key, all or nothing: what fails is undone. Of deployments to the same target the caller makes
 * one at a time; those to different targets may run side by side. An abort lets a deployment that has begun to change
 * something end or roll back first.
 */
export function deploy(
  _context: DeployContext,
  deployment: Deployment,
  _options: { readonly signal?: AbortSignal } = {},
): ResultAsync<Deployed, CtrlExecError> {
  const reason = `unsupported target type: ${deployment.targetType}`;
  return errAsync(failure('invalid_argument', reason, { field: 'target_type', reason }));
}

/** Undoes what a crash interrupted. To be called once, before the first deployment. The answer says what was done, a line each. */
export function recoverDeployments(_context: DeployContext): ResultAsync<readonly string[], CtrlExecError> {
  return okAsync([]);
}
