import { createHash } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { networkInterfaces } from 'node:os';
import { connect } from 'node:tls';
import { err, ok, ResultAsync } from 'neverthrow';
import { failure } from '../../domain/core/errors.js';
import { authority } from '../../domain/core/host-argument.js';
import { isLoopback, shortestAddress } from '../../domain/core/ip-prefix.js';
import { connectionCode } from '../../domain/core/thrown.js';
import { timedOut, unresolved } from '../../domain/protocol/connection-failures.js';
import type { ProbeAddress, ProbedEndpoint, TlsProbe } from '../../ports/tls-probe.js';

type Probed = Awaited<ReturnType<TlsProbe['servedFingerprint']>>;

const reasonOf = (thrown: unknown): string => connectionCode(thrown) ?? 'unknown';

function failed(endpoint: ProbedEndpoint, thrown: unknown): Probed {
  const { address: host, port } = endpoint;
  const [reason, place] = [reasonOf(thrown), authority(host, port)];
  if (reason.startsWith('ERR_'))
    return err(failure('tls_failed', `no TLS handshake with ${place} (${reason})`, { host, reason }));
  const message = `no connection to ${place} (${reason})`;
  return err(
    reason === 'ECONNREFUSED'
      ? failure('connection_refused', message, { host, port })
      : failure('connection_failed', message, { host, reason }),
  );
}

/** The addresses of the interfaces of this host; link-local ones with their zone. */
function ownAddresses(): ReadonlySet<string> {
  const own = Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
    addresses.map(({ address }) => (/^fe80:/i.test(address) ? `${address}%${name}` : address)),
  );
  return new Set(own.flatMap((address) => shortestAddress(address) ?? []));
}

async function addressesOf(host: string): Promise<readonly ProbeAddress[]> {
  const literal = shortestAddress(host);
  const found = literal === undefined ? await lookup(host, { all: true }) : [{ address: literal }];
  const own = ownAddresses();
  const addresses = new Set(found.flatMap(({ address }) => shortestAddress(address) ?? []));
  return [...addresses].map((address) => ({ address, isLocal: isLoopback(address) || own.has(address) }));
}

/** Handshakes over Node's TLS, 1.2 or later, without offering a session: what is served now, not what was served then. */
export const tlsProbe = (): TlsProbe => ({
  resolve: (host) =>
    ResultAsync.fromPromise(addressesOf(host), (thrown) => unresolved(host, reasonOf(thrown))),
  servedFingerprint: (endpoint, timeout) =>
    new ResultAsync(
      new Promise<Probed>((resolve) => {
        const { address, port, serverName } = endpoint;
        const socket = connect({
          host: address,
          port,
          ...(serverName === undefined ? {} : { servername: serverName }),
          // Whoever looks at what is served must see it, whatever it is.
          rejectUnauthorized: false,
        });
        const settle = (result: Probed) => {
          clearTimeout(timer);
          socket.destroy();
          resolve(result);
        };
        const late = () =>
          settle(err(timedOut({ host: address, port, place: authority(address, port) }, 'tls', timeout)));
        const timer = setTimeout(late, timeout);
        socket.once('secureConnect', () => {
          const { raw } = socket.getPeerCertificate();
          settle(
            raw === undefined
              ? failed(endpoint, { code: 'ERR_NO_CERTIFICATE' })
              : ok(createHash('sha256').update(raw).digest('hex')),
          );
        });
        socket.on('error', (thrown) => settle(failed(endpoint, thrown)));
        socket.once('close', () => settle(failed(endpoint, { code: 'ECONNRESET' })));
      }),
    ),
});
