import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { shortestAddress } from '../../../domain/core/ip-prefix.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type { Channel, ChannelError, ChannelTarget } from '../../../ports/channel.js';
import type { Crypto } from '../../../ports/crypto.js';
import type { LegacyPairing } from '../../../ports/legacy-pairing.js';
import type { Listener } from '../../../ports/listener.js';
import { type Link, memoryChannel, type Station } from './channel.js';
import { memoryLegacyPairing } from './legacy-pairing.js';
import { readCredentials, whyUntrusted } from './trust.js';

const firstFreePort = 49_152;

const addressOf = (host: string, port: number) => `${host.toLowerCase()} ${port}`;

const settled = <T, E>(result: Result<T, E>) => new ResultAsync(Promise.resolve(result));

/**
 * Listeners and channels that find each other in memory, by host and port. Certificates are judged as in TLS, but for
 * their dates; nothing takes time but the handlers.
 */
export const memoryNetwork = (ports: { crypto: Crypto }) => {
  const { crypto } = ports;
  const stations = new Map<string, Station>();
  const hosts = new Set<string>();
  const offline = new Set<string>();

  const listener = (host: string): Listener => ({
    listen(options) {
      const read = readCredentials(crypto, options.credentials);
      if (read.isErr()) return settled(err(read.error));
      let port = options.port || firstFreePort;
      while (options.port === 0 && stations.has(addressOf(host, port))) port += 1;
      const address = addressOf(host, port);
      if (stations.has(address)) {
        const { bind } = options;
        const message = `cannot listen on ${bind} port ${port}: EADDRINUSE`;
        return settled(err(failure('listen_failed', message, { bind, port, reason: 'EADDRINUSE' })));
      }
      const station: Station = {
        options,
        certificate: read.value,
        clientCas: options.clientCas,
        accepting: true,
        closed: new AbortController(),
        links: new Set(),
        underWay: new Set(),
      };
      stations.set(address, station);
      hosts.add(host.toLowerCase());
      return settled(
        ok({
          port,
          renew(credentials, clientCas) {
            readCredentials(crypto, credentials).match(
              (certificate) => {
                station.certificate = certificate;
                const cas = station.clientCas && (clientCas ?? station.clientCas);
                station.clientCas = cas;
                for (const link of station.links) {
                  if (cas && link.client && whyUntrusted(crypto, link.client, cas, 'clientAuth'))
                    station.links.delete(link);
                }
              },
              (error) => options.failed?.(error),
            );
          },
          async close(grace) {
            if (!station.accepting) return;
            stations.delete(address);
            station.accepting = false;
            let giveUp: NodeJS.Timeout | undefined;
            const patience = new Promise((resolve) => {
              giveUp = setTimeout(resolve, grace);
            });
            await Promise.race([Promise.allSettled(station.underWay), patience]);
            clearTimeout(giveUp);
            station.closed.abort();
          },
        }),
      );
    },
  });

  const resolves = (host: string) => shortestAddress(host) !== undefined || hosts.has(host.toLowerCase());

  const connect = async (from: string, target: ChannelTarget): Promise<Result<Link, ChannelError>> => {
    const { host, port } = target;
    if (!resolves(host))
      return err(failure('host_unresolved', `the host name ${host} does not resolve`, { host }));
    const station = offline.has(host.toLowerCase()) ? undefined : stations.get(addressOf(host, port));
    if (!station)
      return err(failure('connection_refused', `nothing listens on ${host}:${port}`, { host, port }));

    const closed = (reason: string) =>
      err(failure('connection_failed', `${host}:${port} closed the connection: ${reason}`, { host, reason }));
    const { options, certificate: server, clientCas } = station;
    if ((await options.admit?.(from)) === false) return closed('ECONNRESET');
    if (station.links.size >= options.maxConnections) {
      options.refused?.(from, 'TOO_MANY_CONNECTIONS');
      return closed('ECONNRESET');
    }
    const untrusted = target.trust !== 'any' && whyUntrusted(crypto, server, target.trust, 'serverAuth');
    if (untrusted)
      return err(
        failure('tls_failed', `TLS with ${host}:${port} failed: ${untrusted}`, { host, reason: untrusted }),
      );
    const client = target.credentials
      ? readCredentials(crypto, target.credentials)
      : ok<Certificate | undefined, CtrlExecError<'certificate_invalid'>>(undefined);
    if (client.isErr()) {
      const { reason, message } = client.error;
      return err(failure('tls_failed', `TLS with ${host}:${port} failed: ${message}`, { host, reason }));
    }
    const shown = clientCas && client.value;
    const refused =
      clientCas && (shown ? whyUntrusted(crypto, shown, clientCas, 'clientAuth') : 'NO_CERTIFICATE');
    if (refused) options.refused?.(from, refused, shown);
    const peer = { address: from, certificate: shown, presented: server, tlsVersion: 'TLSv1.3' };
    const known = !refused && (!shown || ((await options.knows?.(peer)) ?? true));
    const link = { station, target, server, client: shown, known, ...(refused && { refused }) };
    station.links.add(link);
    return ok(link);
  };

  return {
    channel: (from: string): Channel => memoryChannel(from, connect, resolves),
    legacyPairing: (from: string): LegacyPairing => memoryLegacyPairing(from, connect),
    listener,
    /** Takes a host off the network, or back. What is under way there comes to its end. */
    setOnline(host: string, online: boolean): void {
      if (online) {
        offline.delete(host.toLowerCase());
        return;
      }
      offline.add(host.toLowerCase());
      for (const [address, { links }] of stations)
        if (address.startsWith(`${host.toLowerCase()} `)) links.clear();
    },
  };
};
