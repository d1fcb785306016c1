import { failure } from '../../domain/core/errors.js';
import { printable } from '../../domain/core/names.js';
import type { ControlPlaneUrl } from '../../domain/deploy/server-url.js';
import type { ControlPlaneError } from '../../ports/control-plane.js';

/** What Node, OpenSSL and undici throw; several attempts to connect come as one error with `errors`. */
interface Thrown {
  readonly name?: string;
  readonly code?: string;
  readonly message?: string;
  readonly errors?: readonly Thrown[];
}

const bundle = 'if it is of a private CA, name that in --ca-bundle or CERTCTL_SERVER_CA_BUNDLE_PATH';
const unknownCa = `its certificate is of a CA that is not trusted here; ${bundle}`;
const oldTls = 'it speaks no TLS version that is accepted here (1.3)';

const reasonsOfTls: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet, or the clock of this host is behind',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: unknownCa,
  UNABLE_TO_GET_ISSUER_CERT: unknownCa,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: unknownCa,
  SELF_SIGNED_CERT_IN_CHAIN: unknownCa,
  DEPTH_ZERO_SELF_SIGNED_CERT: `its certificate is self-signed; ${bundle}`,
  CERT_SIGNATURE_FAILURE: unknownCa,
  INVALID_PURPOSE: 'its certificate is not meant for a server',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for other names',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS on this port',
  ERR_SSL_UNSUPPORTED_PROTOCOL: oldTls,
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: oldTls,
};

const isTls = (code: string) =>
  code in reasonsOfTls || code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_');

/** Where the control plane is, and the `host:port` of the proxy before it. */
type Called = ControlPlaneUrl & { readonly proxy: string | undefined };

const place = ({ origin, proxy }: Called) =>
  proxy === undefined ? origin : `${origin} through the proxy ${proxy}`;

export const callAborted = (): ControlPlaneError => failure('aborted', 'the call was aborted', {});

export function callTimedOut(server: Called, timeout: number): ControlPlaneError {
  const seconds = timeout / 1000;
  const message = `no complete answer from ${place(server)} within ${seconds} s`;
  return failure('timed_out', message, { phase: 'answer', timeoutMs: seconds * 1000 });
}

export const answerTooLarge = (server: Called, limit: number): ControlPlaneError =>
  failure('too_large', `the answer of ${place(server)} is larger than ${limit} bytes`, {
    what: 'the answer',
    limit,
  });

/** A call that came to no complete answer. */
export function callFailed(server: Called, thrown: unknown): ControlPlaneError {
  const { name, message = '', errors } = thrown as Thrown;
  const refused = errors?.find(({ code }) => code === 'ECONNREFUSED');
  const code = refused?.code ?? (thrown as Thrown).code ?? name ?? 'unknown';
  const { host, port } = server;
  const tunnel = /^Proxy response \((\d{3})\)/.exec(message)?.[1];
  if (tunnel !== undefined) return closedEarly(server, `the proxy answered ${tunnel}`);
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EAI_FAIL':
    case 'ENODATA':
      return failure('host_unresolved', `the host name ${host} does not resolve (${code})`, { host });
    case 'ECONNREFUSED':
      return failure('connection_refused', `nothing listens on ${place(server)}`, { host, port });
    case 'UND_ERR_CONNECT_TIMEOUT':
    case 'ETIMEDOUT':
      return failure('timed_out', `no connection to ${place(server)} in time`, {
        phase: 'connect',
        timeoutMs: 30_000,
      });
    case 'UND_ERR_SOCKET':
    case 'ECONNRESET':
    case 'EPIPE':
    case 'UND_ERR_ABORTED':
      return closedEarly(server, 'closed before the answer was complete');
    default:
  }
  if (isTls(code)) {
    const why = reasonsOfTls[code];
    const shown = why === undefined ? code : `${why} (${code})`;
    return failure('tls_failed', `TLS with ${place(server)} failed: ${shown}`, { host, reason: code });
  }
  if (
    name === 'HTTPParserError' ||
    code.startsWith('HPE_') ||
    /^UND_ERR_(HEADERS_OVERFLOW|RES_)/.test(code)
  ) {
    const reason = printable(message || code, 120);
    return failure('protocol_violation', `${place(server)} did not answer as HTTP demands: ${reason}`, {
      reason,
    });
  }
  return closedEarly(server, code);
}

function closedEarly(server: Called, reason: string): ControlPlaneError {
  return failure('connection_failed', `no answer from ${place(server)}: ${reason}`, {
    host: server.host,
    reason,
  });
}
