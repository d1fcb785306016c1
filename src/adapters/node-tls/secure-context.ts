import { constants, createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { aeadSuites } from '../../domain/protocol/tls-suites.js';
import type { Credentials } from '../../ports/channel.js';

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
    secureOptions:
      constants.SSL_OP_NO_RENEGOTIATION | /* defence: tls-has-no-tickets */ constants.SSL_OP_NO_TICKET,
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
