import { err, ok, type Result } from 'neverthrow';
import { isVerifyHost, whyNotEndpoint } from '../../domain/deploy/policy.js';
import type { VerificationRule } from '../../domain/deploy/verification.js';
import type { DeployContext } from './context.js';

/** Addresses that are tried in one attempt. */
const maxAddresses = 4;

/**
 * The rule with the addresses that may be called: those of this host, or all of a host that the policy names. The error is a
 * reason, the same for a name that does not resolve: the control plane learns nothing of other hosts.
 */
export async function judgedEndpoint(
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
