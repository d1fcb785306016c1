import { type CtrlExecError, failure } from '../core/errors.js';
import { connectionCode, errorMessage } from '../core/thrown.js';

/** Whom a connection leads to. `credentials`: this side presents a certificate. */
interface Called {
  readonly host: string;
  readonly port: number;
  /** How messages name it. Default `host:port`. */
  readonly place?: string;
  readonly credentials?: unknown;
}

const placeOf = ({
  host,
  port,
  place = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`,
}: Called) => place;

/** One line, without the addresses in memory and the source files that OpenSSL tells. */
const lineOf = (text: string) =>
  text.replace(/^[0-9A-F]+:error:[0-9A-F]+:/, '').split(/[\r\n]|:\.\.\//)[0] ?? '';

const messageOf = (thrown: unknown) => lineOf(errorMessage(thrown));

const codeOf = (thrown: unknown): string => connectionCode(thrown) ?? messageOf(thrown);

/** The answer of an agent did not come in time: in the words of deployed dispatchers, which scripts look for. */
export const readTimeout = (timeoutMs: number): CtrlExecError<'timed_out'> =>
  failure('timed_out', `read timeout after ${timeoutMs / 1000}s`, { phase: 'answer', timeoutMs });

export const aborted = (): CtrlExecError<'aborted'> => failure('aborted', 'the request was aborted', {});

export function timedOut(
  target: Called,
  phase: 'connect' | 'tls' | 'answer',
  timeout: number,
): CtrlExecError<'timed_out'> {
  if (phase === 'answer') return readTimeout(timeout);
  const seconds = timeout / 1000;
  const what = { connect: 'no connection to', tls: 'no TLS handshake with' }[phase];
  return failure('timed_out', `${what} ${placeOf(target)} within ${seconds} s`, {
    phase,
    timeoutMs: seconds * 1000,
  });
}

const otherCa = 'its certificate was issued by another CA than the one that is trusted here';
const ourCertificate = 'it refused the certificate of this side';

const reasonsOfTls: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired: `ctrl-exec readmit` renews that of an agent once',
  CERT_NOT_YET_VALID:
    'its certificate is not valid yet, or the clock of this host is behind: where that is right, `ctrl-exec readmit` renews the certificate of an agent once',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: otherCa,
  UNABLE_TO_GET_ISSUER_CERT: otherCa,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: otherCa,
  SELF_SIGNED_CERT_IN_CHAIN: otherCa,
  CERT_SIGNATURE_FAILURE: otherCa,
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed, one issued by the CA is expected',
  INVALID_PURPOSE: 'its certificate is not meant for a server',
  ERR_OSSL_X509_KEY_VALUES_MISMATCH: 'the key of this side does not fit its certificate',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS on this port',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'it speaks no TLS version that is accepted here (1.2, 1.3)',
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: 'it speaks no TLS version that is accepted here (1.2, 1.3)',
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE:
    'it has no cipher suite in common with this side, or wants a certificate',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: `${ourCertificate}, whose CA it does not know`,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: `${ourCertificate}: that has expired, or the clock of that host is ahead`,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED: `${ourCertificate}, which is revoked`,
  ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE: `${ourCertificate}, which is not meant for a client`,
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: `${ourCertificate}: it does not trust that, or its clock is behind and that is not valid yet`,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: `${ourCertificate}: it does not trust that, or its clock is wrong`,
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'it wants a certificate of this side',
};

/** @param reasons what is said of a code */
export function tlsFailed(
  target: Called,
  reason: string,
  reasons: Readonly<Record<string, string>> = reasonsOfTls,
): CtrlExecError<'tls_failed'> {
  const ours = reason.startsWith('ERR_OSSL_')
    ? 'the key, the certificate or a CA of this side is unusable'
    : '';
  const why = reasons[reason] ?? ours;
  return failure('tls_failed', `TLS with ${placeOf(target)} failed: ${why ? `${why} (${reason})` : reason}`, {
    host: target.host,
    reason,
  });
}

/** The peer closed, or the network did. */
export function connectionFailed(
  target: Called,
  reason: string,
  cause = '',
): CtrlExecError<'connection_failed'> {
  const message = `no answer from ${placeOf(target)}: ${cause ? `${cause} (${reason})` : reason}`;
  return failure('connection_failed', message, { host: target.host, reason });
}

const refusal =
  "does not trust this dispatcher's certificate, or whose clock is wrong and makes that expired or not valid yet";

/** The peer closed before anything was sent to it. */
export const closedAtOnce = (target: Called) =>
  connectionFailed(
    target,
    'closed after the TLS handshake',
    target.credentials ? `the agent closed the connection, as one does that ${refusal}` : '',
  );

/**
 * The peer closed after the request was given to it. Whether it has read that nobody can tell: one that refuses a certificate
 * closes as soon as it has seen it, one that dies closes at any time.
 */
function closedUnanswered(target: Called, reason: string, atOnce: boolean) {
  const broke = 'the connection broke before an answer came';
  const refused = `; where that happens each time, the agent is one that ${refusal}: its log says which`;
  return connectionFailed(target, reason, atOnce && target.credentials ? broke + refused : broke);
}

export const violation = (target: Called, reason: string): CtrlExecError<'protocol_violation'> =>
  failure('protocol_violation', `${placeOf(target)} did not answer as HTTP demands: ${reason}`, { reason });

export const answerTooLarge = (target: Called, limit: number): CtrlExecError<'too_large'> =>
  failure('too_large', `the answer of ${placeOf(target)} is larger than ${limit} bytes`, {
    what: 'the answer',
    limit,
  });

export const unresolved = (host: string, code: string): CtrlExecError<'host_unresolved'> =>
  failure('host_unresolved', `the host name ${host} does not resolve (${code})`, { host });

/** There is no such host, or nothing listens there. */
export function notThere(target: Called, code: string) {
  const { host, port } = target;
  if (['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL', 'ENODATA'].includes(code)) return unresolved(host, code);
  if (code !== 'ECONNREFUSED') return undefined;
  return failure('connection_refused', `nothing listens on ${placeOf(target)}`, { host, port });
}

/** TCP could not be set up. */
export function tcpFailure(target: Called, thrown: unknown, timeout: number) {
  const code = codeOf(thrown);
  if (code === 'ETIMEDOUT') return timedOut(target, 'connect', timeout);
  const message = `cannot connect to ${placeOf(target)}: ${code}`;
  return notThere(target, code) ?? failure('connection_failed', message, { host: target.host, reason: code });
}

/** The reasons of a `connection_failed` whose peer closed while TLS was being set up. */
export const closedInHandshake: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE']);

/** The connection broke while TLS was being set up. */
export function handshakeFailure(target: Called, thrown: unknown) {
  const code = codeOf(thrown);
  if (!closedInHandshake.has(code)) return tlsFailed(target, code);
  const { host } = target;
  const message = `${placeOf(target)} closed the connection during the TLS handshake: it may not trust the certificate of this side (or hold it for out of date by a wrong clock), not admit the address of this host, or be overloaded`;
  return failure('connection_failed', message, { host, reason: code });
}

/** The connection broke after the request was given to it. */
export function exchangeFailure(
  target: Called,
  thrown: unknown,
  progress: { readonly atOnce: boolean; readonly answered: boolean },
) {
  const code = codeOf(thrown);
  if (code.startsWith('ERR_SSL_')) return tlsFailed(target, code);
  if (code.startsWith('HPE_')) return violation(target, messageOf(thrown));
  if (progress.answered) return connectionFailed(target, 'closed before the answer was complete');
  return closedUnanswered(target, code === 'ECONNRESET' ? 'closed' : code, progress.atOnce);
}

/** A request that HTTP cannot express. */
export const unsendable = (target: Called, thrown: unknown): CtrlExecError<'protocol_violation'> => {
  const reason = messageOf(thrown);
  return failure('protocol_violation', `the request for ${placeOf(target)} cannot be sent: ${reason}`, {
    reason,
  });
};
