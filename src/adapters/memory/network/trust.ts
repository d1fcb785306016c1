import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import type { Certificate, Usage } from '../../../domain/trust/certificate.js';
import type { Credentials } from '../../../ports/channel.js';
import type { Crypto } from '../../../ports/crypto.js';

/** OpenSSL's word for why a certificate does not serve a purpose under these CAs; dates are not judged. */
export function whyUntrusted(
  crypto: Crypto,
  certificate: Certificate,
  cas: readonly string[],
  usage: Usage,
): string | undefined {
  const issued = cas.some((pem) =>
    crypto
      .readCertificate(pem)
      .map((ca) => crypto.issuedBy(certificate, ca))
      .unwrapOr(false),
  );
  if (!issued) return 'UNABLE_TO_VERIFY_LEAF_SIGNATURE';
  const usable = !certificate.isCa && (certificate.usages?.includes(usage) ?? true);
  return usable ? undefined : 'INVALID_PURPOSE';
}

/** The certificate of credentials whose key fits it. */
export function readCredentials(
  crypto: Crypto,
  credentials: Credentials,
): Result<Certificate, CtrlExecError<'certificate_invalid'>> {
  return crypto.readCertificate(credentials.certificate).andThen((certificate) =>
    crypto.signingKey(credentials.key).andThen((key) =>
      crypto.equal(key.spki, certificate.spki)
        ? ok(certificate)
        : err(
            failure('certificate_invalid', 'the key does not fit its certificate', {
              field: 'credentials',
              reason: 'KEY_VALUES_MISMATCH',
            }),
          ),
    ),
  );
}
