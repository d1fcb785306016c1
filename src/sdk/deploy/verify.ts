import type { Verification } from '../../domain/core/errors.js';
import { isHostName } from '../../domain/core/host-argument.js';
import {
  backoffBefore,
  longestVerification,
  type VerificationRule,
  verificationDelay,
} from '../../domain/deploy/verification.js';
import type { Certificate } from '../../domain/trust/certificate.js';
import type { TlsProbe } from '../../ports/tls-probe.js';
import { wait } from '../core/wait.js';
import type { DeployContext } from './context.js';

/** By which name the endpoint is asked: its own or, where that says nothing, the first one of the certificate. */
function serverName(host: string, certificate: Certificate): string | undefined {
  const isAddress = host.includes(':') || /^[0-9.]+$/.test(host);
  if (!isAddress && host.toLowerCase() !== 'localhost') return host;
  const names = [...certificate.dnsNames, certificate.commonName ?? ''];
  return names.find((name) => isHostName(name) && /[a-z]/i.test(name));
}

type Served = Awaited<ReturnType<TlsProbe['servedFingerprint']>>;
type ProbeFailure = Extract<Served, { error: unknown }>['error'];

/** One word for the control plane: with more it could look around in the network of this host. */
const words: Readonly<Record<ProbeFailure['code'], string>> = {
  timed_out: 'timeout',
  tls_failed: 'tls',
  connection_refused: 'refused',
  connection_failed: 'unreachable',
};

/**
 * Whether the endpoint serves the expected leaf: asked 2 s from now, and again as the rule says while it does not, five minutes at
 * most. A stop ends it (`stopped`).
 */
export async function verify(
  { clock, stop, tlsProbe }: DeployContext,
  rule: VerificationRule,
  expectedFingerprint: string,
  certificate: Certificate,
): Promise<Verification> {
  const { text: endpoint, host, port } = rule.endpoint;
  const until = clock.monotonic() + longestVerification;
  const name = serverName(host, certificate);
  let seen = { actualFingerprint: '', error: 'unreachable', detail: `${endpoint} has no address` };
  for (let attempt = 0; attempt < rule.attempts; attempt += 1) {
    const delay = attempt === 0 ? verificationDelay : backoffBefore(rule, attempt);
    // defence: pull-verification-ends
    if (clock.monotonic() + delay >= until) break;
    if ((await wait(clock, delay, stop)).isErr())
      return { endpoint, expectedFingerprint, actualFingerprint: '', verified: false, error: 'stopped' };
    for (const address of rule.addresses ?? []) {
      const timeout = Math.max(1, Math.min(rule.timeout, until - clock.monotonic()));
      const served = await tlsProbe.servedFingerprint({ address, port, serverName: name }, timeout);
      if (served.isErr()) {
        const { error } = served;
        seen = { actualFingerprint: '', error: words[error.code], detail: error.message };
        continue;
      }
      const actualFingerprint = served.value;
      if (actualFingerprint === expectedFingerprint)
        return { endpoint, expectedFingerprint, actualFingerprint, verified: true };
      const detail = `${endpoint} serves another certificate, SHA-256 ${actualFingerprint}`;
      seen = { actualFingerprint, error: 'mismatch', detail };
      break;
    }
  }
  return { endpoint, expectedFingerprint, verified: false, ...seen };
}
