import type { TLSSocket } from 'node:tls';
import { err, ok, type Result } from 'neverthrow';
import { type Certificate, whyUnusable } from '../../domain/trust/certificate.js';
import type { Crypto } from '../../ports/crypto.js';

/** Why a client is refused, and the certificate that it has proved to have the key of. */
export interface Unwanted {
  readonly reason: string;
  readonly certificate?: Certificate;
}

/**
 * Reads the client's certificate off a connection whose handshake has just ended, or says why it is refused:
 * `NO_CERTIFICATE`, OpenSSL's verdict (`INVALID_PURPOSE`, `CERT_HAS_EXPIRED`, …), or ours.
 *
 * The handshake itself lets every client through (`rejectUnauthorized: false`), or nobody would learn the reason.
 */
export function clientCertificate(socket: TLSSocket, crypto: Crypto): Result<Certificate, Unwanted> {
  const presented = socket.getPeerX509Certificate();
  if (!presented) return err({ reason: 'NO_CERTIFICATE' });
  const verdict = /* defence: listener-asks-for-our-ca */ socket.authorized
    ? undefined
    : String(socket.authorizationError ?? 'UNAUTHORIZED');
  return crypto
    .readCertificate(presented.raw)
    .mapErr((): Unwanted => ({ reason: verdict ?? 'UNREADABLE_CERTIFICATE' }))
    .andThen((certificate) => {
      const reason = verdict ?? whyUnusable(certificate, 'clientAuth', Date.now());
      return reason === undefined ? ok(certificate) : err({ reason, certificate });
    });
}
