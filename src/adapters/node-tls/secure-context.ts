import { constants, createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/errors.js';
import type { Credentials } from '../../ports/transport.js';

const aeadSuites = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
].join(':');

/**
 * What a server context is made of. No session tickets: a resumed session would vouch for a certificate that was
 * judged in another handshake, perhaps under other CAs. No renegotiation, which TLS 1.2 clients could start at will.
 */
export function serverContext(
  credentials: Credentials,
  clientCas: readonly string[] | undefined,
): Result<SecureContextOptions, CtrlExecError<'certificate_invalid'>> {
  const options: SecureContextOptions = {
    key: credentials.key,
    cert: credentials.certificate,
    minVersion: 'TLSv1.2',
    ciphers: aeadSuites,
    honorCipherOrder: true,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_TICKET,
    ...(clientCas ? { ca: [...clientCas] } : {}),
  };
  try {
    // An empty key or certificate would pass for none.
    const fits = new X509Certificate(credentials.certificate).checkPrivateKey(
      createPrivateKey(credentials.key),
    );
    if (!fits) throw new Error('KEY_VALUES_MISMATCH');
    createSecureContext(options);
    return ok(options);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const reason = code ?? message;
    return err(
      failure(
        'certificate_invalid',
        `the listener's key, certificate or CAs cannot be used (${reason}): PEM is expected, and a key that fits its certificate`,
        { field: 'credentials', reason },
      ),
    );
  }
}
