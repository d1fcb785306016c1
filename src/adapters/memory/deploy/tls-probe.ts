import { errAsync, okAsync } from 'neverthrow';
import { failure } from '../../../domain/core/errors.js';
import type { ProbedEndpoint, TlsProbe } from '../../../ports/tls-probe.js';

/** Servers in memory. `serving` is asked for the fingerprint of what is served; undefined: nobody listens. */
export const memoryTlsProbe = (serving: (endpoint: ProbedEndpoint) => string | undefined): TlsProbe => ({
  servedFingerprint: (endpoint) => {
    const served = serving(endpoint);
    const { host, port } = endpoint;
    if (served !== undefined) return okAsync(served);
    const reason = 'ECONNREFUSED';
    return errAsync(
      failure('connection_failed', `no connection to ${host}:${port} (${reason})`, { host, reason }),
    );
  },
});
