import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { printable } from '../../domain/core/names.js';
import { connectionCode, errorMessage, errorName } from '../../domain/core/thrown.js';
import {
  connectionFailed,
  notThere,
  tlsFailed,
  violation,
} from '../../domain/protocol/connection-failures.js';
import type { ControlPlaneError } from '../../ports/control-plane.js';

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

/** The control plane. `place` is its URL, and the proxy before it. */
export interface CalledPlane {
  readonly host: string;
  readonly port: number;
  readonly place: string;
}

export const callAborted = (): CtrlExecError<'aborted'> => failure('aborted', 'the call was aborted', {});

export function callTimedOut({ place }: CalledPlane, timeout: number): ControlPlaneError {
  const seconds = timeout / 1000;
  const message = `no complete answer from ${place} within ${seconds} s`;
  return failure('timed_out', message, { phase: 'answer', timeoutMs: seconds * 1000 });
}

/** A call that came to no complete answer. */
export function callFailed(server: CalledPlane, thrown: unknown): ControlPlaneError {
  const [name, message] = [errorName(thrown), errorMessage(thrown)];
  const code = connectionCode(thrown) ?? name ?? 'unknown';
  const tunnel = /^Proxy response \((\d{3})\)/.exec(message)?.[1];
  if (tunnel !== undefined) return connectionFailed(server, `the proxy answered ${tunnel}`);
  const absent = notThere(server, code);
  if (absent) return absent;
  switch (code) {
    case 'UND_ERR_CONNECT_TIMEOUT':
    case 'ETIMEDOUT':
      return failure('timed_out', `no connection to ${server.place} in time`, {
        phase: 'connect',
        timeoutMs: 30_000,
      });
    case 'UND_ERR_SOCKET':
    case 'ECONNRESET':
    case 'EPIPE':
    case 'UND_ERR_ABORTED':
      return connectionFailed(server, 'closed before the answer was complete');
    default:
  }
  if (isTls(code)) return tlsFailed(server, code, reasonsOfTls);
  const isUnreadable =
    name === 'HTTPParserError' || code.startsWith('HPE_') || /^UND_ERR_(HEADERS_OVERFLOW|RES_)/.test(code);
  return isUnreadable ? violation(server, printable(message, 120)) : connectionFailed(server, code);
}
