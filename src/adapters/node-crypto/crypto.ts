import {
  createHash,
  createHmac,
  generateKeyPair,
  hkdfSync,
  type KeyPairKeyObjectResult,
  timingSafeEqual,
} from 'node:crypto';
import { promisify } from 'node:util';
import { ResultAsync } from 'neverthrow';
import { failure } from '../../domain/core/errors.js';
import { errorMessage } from '../../domain/core/thrown.js';
import type { KeyType } from '../../domain/trust/certificate.js';
import type { Crypto } from '../../ports/crypto.js';
import { describeCertificate } from './certificate-description.js';
import { certificateReader } from './certificate-reader.js';
import { publicKeys, signingKeys } from './signature.js';

const generate = promisify(generateKeyPair);

const generators: Readonly<Record<KeyType, () => Promise<KeyPairKeyObjectResult>>> = {
  p256: () => generate('ec', { namedCurve: 'prime256v1' }),
  p384: () => generate('ec', { namedCurve: 'secp384r1' }),
  ed25519: () => generate('ed25519'),
  rsa2048: () => generate('rsa', { modulusLength: 2048 }),
  rsa4096: () => generate('rsa', { modulusLength: 4096 }),
};

const pemOf =
  (type: 'pkcs8' | 'sec1') =>
  ({ privateKey }: KeyPairKeyObjectResult) =>
    String(privateKey.export({ type, format: 'pem' }));

/** Cryptography of node:crypto, that is OpenSSL. Certificates and keys that were read are kept, a bounded number. */
export const nodeCrypto = (): Crypto => {
  const certificates = certificateReader();
  return {
    sha256: (data) => new Uint8Array(createHash('sha256').update(data).digest()),
    runningSha256: () => {
      const hash = createHash('sha256');
      return {
        update: (data) => void hash.update(data),
        digest: () => new Uint8Array(hash.digest()),
      };
    },
    hmacSha256: (key, data) => new Uint8Array(createHmac('sha256', key).update(data).digest()),
    hkdfSha256: (secret, salt, info, length) =>
      new Uint8Array(hkdfSync('sha256', secret, salt, info, length)),
    equal: (a, b) => a.length === b.length && timingSafeEqual(a, b),
    generateKey: (type, form = 'pkcs8') =>
      ResultAsync.fromPromise(generators[type]().then(pemOf(form)), (error) => {
        const reason = errorMessage(error);
        return failure('crypto_failed', `cannot generate a key of type ${type}: ${reason}`, {
          operation: 'generate key',
          reason,
        });
      }),
    ...signingKeys(),
    ...publicKeys(),
    readCertificate: certificates.read,
    describeCertificate,
    issuedBy: certificates.issuedBy,
  };
};
