import { Buffer } from 'node:buffer';
import { createPublicKey, type KeyObject } from 'node:crypto';
import { err, ok, type Result } from 'neverthrow';

/** How WebCrypto signs with a key that certificates of this product may hold. */
export type WebAlgorithm =
  | { readonly name: 'RSASSA-PKCS1-v1_5'; readonly hash: 'SHA-256' }
  | { readonly name: 'ECDSA'; readonly namedCurve: 'P-256' | 'P-384'; readonly hash: 'SHA-256' | 'SHA-384' }
  | { readonly name: 'Ed25519' };

/** Only RSA from 2048 bits, P-256, P-384 and Ed25519 (wire-protocol 2.1); else what is wrong with the key. */
export function webAlgorithm(key: KeyObject): Result<WebAlgorithm, string> {
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'ed25519':
      return ok({ name: 'Ed25519' });
    case 'rsa':
      return modulusLength >= 2048
        ? ok({ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' })
        : err(`RSA key of ${modulusLength} bits, expected 2048 or more`);
    case 'ec':
      if (namedCurve === 'prime256v1') return ok({ name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' });
      if (namedCurve === 'secp384r1') return ok({ name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' });
      return err(`key on the curve ${namedCurve ?? '(unnamed)'}, expected P-256 or P-384`);
    default:
      return err(`key of type ${key.asymmetricKeyType}, expected RSA, P-256, P-384 or Ed25519`);
  }
}

/** SubjectPublicKeyInfo as OpenSSL writes it: equal keys have equal bytes. */
export const exportSpki = (key: KeyObject) => new Uint8Array(key.export({ type: 'spki', format: 'der' }));

/** The key in a SubjectPublicKeyInfo (DER), if a certificate may hold it. */
export function acceptableKey(spki: Uint8Array): Result<KeyObject, string> {
  try {
    const key = createPublicKey({ key: Buffer.from(spki), type: 'spki', format: 'der' });
    return webAlgorithm(key).map(() => key);
  } catch {
    return err('public key is not readable');
  }
}
