import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { err, ok, ResultAsync } from 'neverthrow';
import { failure } from '../../domain/core/errors.js';
import type { Certificate } from '../../domain/trust/certificate.js';
import type { Crypto } from '../../ports/crypto.js';
import type { Listener, Listening, ListenOptions } from '../../ports/listener.js';
import { connectionsOf } from './connections.js';
import { serveRequests } from './requests.js';
import { serverContext } from './secure-context.js';
import { defaultTimings, type ListenerTimings } from './timings.js';

type Listened = Awaited<ReturnType<Listener['listen']>>;

const advice: Record<string, string> = {
  EADDRINUSE: 'another process listens there',
  EACCES: 'ports below 1024 need privileges',
  EADDRNOTAVAIL: 'this host does not have that address',
};

function listening(
  server: Server,
  connections: ReturnType<typeof connectionsOf>,
  options: ListenOptions,
  crypto: Crypto,
): Listening {
  let clientCas = options.clientCas;
  let closing: Promise<void> | undefined;

  /** Ends connections of clients whose CA is no longer among the accepted ones. */
  const endOrphans = (former: readonly string[], current: readonly string[]) => {
    const read = (pems: readonly string[]) =>
      pems.flatMap((pem) =>
        crypto
          .readCertificate(pem)
          .map((ca) => [ca])
          .unwrapOr([]),
      );
    const removed = read(former.filter((pem) => !current.includes(pem)));
    if (removed.length === 0) return;
    const kept = read(current);
    connections.endWhere(({ certificate }) => {
      if (!certificate) return false;
      const issued = (ca: Certificate) => crypto.issuedBy(certificate, ca);
      return removed.some(issued) && !kept.some(issued);
    });
  };

  const close = (grace: number) =>
    new Promise<void>((resolve) => {
      const giveUp = setTimeout(connections.closeAll, grace);
      server.close(() => {
        clearTimeout(giveUp);
        resolve();
      });
      connections.endAll();
    });

  return {
    port: (server.address() as AddressInfo).port,
    renew(credentials, renewedCas) {
      const former = clientCas ?? [];
      const current = options.clientCas && (renewedCas ?? former);
      serverContext(credentials, current).match(
        (context) => {
          server.setSecureContext(context);
          clientCas = current;
          endOrphans(former, current ?? []);
        },
        (error) => options.failed?.(error),
      );
    },
    close(grace) {
      closing ??= close(grace);
      return closing;
    },
  };
}

/**
 * The listener port over `node:https`.
 *
 * `renew` ends connections of clients whose CA is no longer accepted, after the answers under way; with credentials that cannot be used it reports `certificate_invalid` to `failed` and keeps the former ones.
 */
export const tlsListener = (ports: { crypto: Crypto }, timings: Partial<ListenerTimings> = {}): Listener => ({
  listen(options) {
    const times = { ...defaultTimings, ...timings };
    const context = serverContext(options.credentials, options.clientCas);
    if (context.isErr()) return new ResultAsync(Promise.resolve(err(context.error)));

    const server = createServer({
      ...context.value,
      requestCert: options.clientCas !== undefined,
      rejectUnauthorized: false,
      handshakeTimeout: times.handshake,
      headersTimeout: times.headers,
      requestTimeout: 0,
      connectionsCheckingInterval: Math.min(1_000, Math.ceil(times.headers / 4)),
      // Whom nobody knows holds no place for long.
      keepAliveTimeout: options.clientCas ? times.keepAlive : Math.min(times.keepAlive, 10_000),
      insecureHTTPParser: false,
      noDelay: true,
    });
    server.maxConnections = options.maxConnections;
    const connections = connectionsOf(server, ports, options, times.handshake);
    serveRequests(server, connections, options, times);

    return new ResultAsync(
      new Promise<Listened>((resolve) => {
        server.once('error', (error: NodeJS.ErrnoException) => {
          const { bind, port } = options;
          const reason = error.code ?? error.message;
          const why = advice[reason] ? `${reason}, ${advice[reason]}` : reason;
          resolve(
            err(
              failure('listen_failed', `cannot listen on ${bind} port ${port}: ${why}`, {
                bind,
                port,
                reason,
              }),
            ),
          );
        });
        server.listen({ host: options.bind, port: options.port }, () => {
          server.on('error', (error) => options.failed?.(error));
          resolve(ok(listening(server, connections, options, ports.crypto)));
        });
      }),
    );
  },
});
