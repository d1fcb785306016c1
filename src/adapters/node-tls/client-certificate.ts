import type { TLSSocket } from 'node:tls';
import { err, ok, type Result } from 'neverthrow';
import { type Certificate, whyUnusable } from '../../domain/certificate.js';
import type { Crypto } from '../../ports/crypto.js';

/**
 * Reads the client's certificate off a connection whose handshake has just ended, or says why it is refused:
 * `NO_CERTIFICATE`, OpenSSL's verdict (`INVALID_PURPOSE`, `CERT_HAS_EXPIRED`, …), or ours.
 *
 * The handshake itself lets every client through (`rejectUnauthorized: false`), or nobody would learn the reason.
 */
export function clientCertificate(socket: TLSSocket, crypto: Crypto): Result<Certificate, string> {
  const presented = socket.getPeerX509Certificate();
  if (!presented) return err('NO_CERTIFICATE');
  if (!socket.authorized) return err(String(socket.authorizationError ?? 'UNAUTHORIZED'));
  return crypto
    .readCertificate(presented.raw)
    .mapErr(() => 'UNREADABLE_CERTIFICATE')
    .andThen((certificate) => {
      const reason = whyUnusable(certificate, 'clientAuth', Date.now());
      return reason === undefined ? ok(certificate) : err(reason);
    });
}
