import { errAsync, okAsync } from 'neverthrow';
import { failure } from '../../../src/domain/core/errors.js';
import { isLoopback, shortestAddress } from '../../../src/domain/core/ip-prefix.js';
import { unresolved } from '../../../src/domain/protocol/connection-failures.js';
import type { ProbeAddress, ProbedEndpoint, TlsProbe } from '../../../src/ports/tls-probe.js';

/**
 * Servers in memory. `serving` is asked for the fingerprint of what is served; undefined: nobody listens. `names` are those that
 * resolve, besides `localhost` and addresses; of these the loopback ones are local.
 */
export const memoryTlsProbe = (
  serving: (endpoint: ProbedEndpoint) => string | undefined,
  names: Readonly<Record<string, readonly ProbeAddress[]>> = {},
): TlsProbe => ({
  resolve: (host) => {
    const address = host === 'localhost' ? '127.0.0.1' : shortestAddress(host);
    const found = address === undefined ? names[host] : [{ address, isLocal: isLoopback(address) }];
    return found === undefined ? errAsync(unresolved(host, 'ENOTFOUND')) : okAsync(found);
  },
  servedFingerprint: (endpoint) => {
    const served = serving(endpoint);
    const { address: host, port } = endpoint;
    if (served !== undefined) return okAsync(served);
    const message = `no connection to ${host}:${port} (ECONNREFUSED)`;
    return errAsync(failure('connection_refused', message, { host, port }));
  },
});
