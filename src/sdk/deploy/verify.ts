import type { Verification } from '../../domain/core/errors.js';
import { isHostName } from '../../domain/core/host-argument.js';
import { backoffBefore, type VerificationRule, verificationDelay } from '../../domain/deploy/verification.js';
import type { Certificate } from '../../domain/trust/certificate.js';
import type { Clock } from '../../ports/clock.js';
import type { DeployContext } from './context.js';

const wait = (clock: Clock, milliseconds: number): Promise<void> =>
  new Promise((resolve) => {
    clock.after(milliseconds, resolve);
  });

/** By which name the endpoint is asked: its own or, where that says nothing, the first one of the certificate. */
function serverName(host: string, certificate: Certificate): string | undefined {
  const isAddress = host.includes(':') || /^[0-9.]+$/.test(host);
  if (!isAddress && host.toLowerCase() !== 'localhost') return host;
  const names = [...certificate.dnsNames, certificate.commonName ?? ''];
  return names.find((name) => isHostName(name) && /[a-z]/i.test(name));
}

/** Whether the endpoint serves the expected leaf: asked 2 s from now, and again as the rule says while it does not. */
export async function verify(
  { clock, tlsProbe }: DeployContext,
  rule: VerificationRule,
  expectedFingerprint: string,
  certificate: Certificate,
): Promise<Verification> {
  const { text, host, port } = rule.endpoint;
  const endpoint = { host, port, serverName: serverName(host, certificate) };
  let actualFingerprint = '';
  let error = '';
  for (let attempt = 0; attempt < rule.attempts; attempt += 1) {
    await wait(clock, attempt === 0 ? verificationDelay : backoffBefore(rule, attempt));
    const served = await tlsProbe.servedFingerprint(endpoint, rule.timeout);
    actualFingerprint = served.unwrapOr('');
    if (actualFingerprint === expectedFingerprint)
      return { endpoint: text, expectedFingerprint, actualFingerprint, verified: true };
    error = served.isErr()
      ? served.error.message
      : `${text} serves another certificate, SHA-256 ${actualFingerprint}`;
  }
  return { endpoint: text, expectedFingerprint, actualFingerprint, verified: false, error };
}
