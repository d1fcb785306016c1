import { createPrivateKey, createPublicKey, type webcrypto } from 'node:crypto';
import { exportSpki, type WebAlgorithm, webAlgorithm } from './public-key.js';

/** A private key as WebCrypto takes it, with its public half and the way to sign with it. */
export interface SigningKeyPair {
  readonly keys: webcrypto.CryptoKeyPair;
  readonly algorithm: WebAlgorithm;
}

/**
 * Reads a private key in PEM (PKCS#8, SEC1 or PKCS#1). Rejects with a message that tells the reason and nothing of the
 * key.
 */
export async function importKeyPair(pem: string): Promise<SigningKeyPair> {
  const key = readKey(pem);
  const algorithm = webAlgorithm(key).match(
    (value) => value,
    (reason) => {
      throw new Error(reason);
    },
  );
  const { subtle } = globalThis.crypto;
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const [privateKey, publicKey] = await Promise.all([
    subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']),
    subtle.importKey('spki', exportSpki(createPublicKey(key)), algorithm, true, ['verify']),
  ]);
  pkcs8.fill(0);
  return { keys: { privateKey, publicKey }, algorithm };
}

function readKey(pem: string) {
  try {
    return createPrivateKey({ key: pem, format: 'pem' });
  } catch {
    throw new Error('private key is not readable, expected PEM without a passphrase');
  }
}
