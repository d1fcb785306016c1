import { Buffer } from 'node:buffer';
import {
  constants,
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign,
  verify as verifySignature,
} from 'node:crypto';
import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import type { Crypto, SignatureAlgorithm, SigningKey } from '../../ports/crypto.js';
import { byteKey, recent } from './recent.js';

/** RFC 9421 section 3.3: each algorithm's digest, and how its signatures are written. */
const schemes = {
  'ecdsa-p256-sha256': { digest: 'sha256', form: { dsaEncoding: 'ieee-p1363' } },
  'ecdsa-p384-sha384': { digest: 'sha384', form: { dsaEncoding: 'ieee-p1363' } },
  ed25519: { digest: null, form: {} },
  'rsa-pss-sha512': { digest: 'sha512', form: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 64 } },
} as const satisfies Record<SignatureAlgorithm, unknown>;

/** The algorithm that fits a key, or what is wrong with the key. */
function algorithmOf(key: KeyObject): Result<SignatureAlgorithm, string> {
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'ed25519':
      return ok('ed25519');
    case 'rsa':
      return modulusLength >= 2048
        ? ok('rsa-pss-sha512')
        : err(`is an RSA key of ${modulusLength} bits, expected 2048 or more`);
    case 'ec':
      if (namedCurve === 'prime256v1') return ok('ecdsa-p256-sha256');
      if (namedCurve === 'secp384r1') return ok('ecdsa-p384-sha384');
      return err(`is on the curve ${namedCurve ?? '(unnamed)'}, expected P-256 or P-384`);
    default:
      return err(`is of type ${key.asymmetricKeyType}, expected RSA, P-256, P-384 or Ed25519`);
  }
}

const invalid = (reason: string) =>
  failure('certificate_invalid', `private key ${reason}`, { field: 'private key', reason });

function readPrivateKey(pem: string): Result<KeyObject, CtrlExecError<'certificate_invalid'>> {
  try {
    return ok(createPrivateKey({ key: pem, format: 'pem' }));
  } catch {
    return err(invalid('is not readable, expected PEM (PKCS#8, SEC1 or PKCS#1) without a passphrase'));
  }
}

/** Reading a private key costs several times what a signature costs: the last 8 are kept, by the digest of their text. */
export function signingKeys(): Pick<Crypto, 'signingKey'> {
  const known = recent<SigningKey>(8);

  const read = (pem: string): Result<SigningKey, CtrlExecError<'certificate_invalid'>> =>
    readPrivateKey(pem).andThen((key) =>
      algorithmOf(key)
        .mapErr(invalid)
        .map((algorithm) => {
          const { digest, form } = schemes[algorithm];
          return {
            algorithm,
            spki: new Uint8Array(createPublicKey(key).export({ type: 'spki', format: 'der' })),
            sign: (data: Uint8Array) => new Uint8Array(sign(digest, data, { key, ...form })),
          };
        }),
    );

  return {
    signingKey: (pem) => {
      const name = createHash('sha256').update(pem).digest('hex');
      const before = known.get(name);
      if (before) return ok(before);
      return read(pem).map((key) => {
        known.set(name, key);
        return key;
      });
    },
  };
}

/** Taking a public key from its bytes costs several times what a verification costs: the last 1024 are kept. */
export function publicKeys(): Pick<Crypto, 'algorithmOf' | 'verify'> {
  const known = recent<{ key: KeyObject; algorithm: SignatureAlgorithm }>(1024);

  const keyOf = (spki: Uint8Array) => {
    const name = byteKey(spki);
    const before = known.get(name);
    if (before) return before;
    const key = createPublicKey({ key: Buffer.from(spki), type: 'spki', format: 'der' });
    const algorithm = algorithmOf(key).unwrapOr(undefined);
    if (algorithm === undefined) return undefined;
    const entry = { key, algorithm };
    known.set(name, entry);
    return entry;
  };

  return {
    algorithmOf: (spki) => {
      try {
        return keyOf(spki)?.algorithm;
      } catch {
        return undefined;
      }
    },
    verify: (spki, data, signature) => {
      try {
        const entry = keyOf(spki);
        if (!entry) return false;
        const { digest, form } = schemes[entry.algorithm];
        return verifySignature(digest, data, { key: entry.key, ...form }, signature);
      } catch {
        return false;
      }
    },
  };
}
