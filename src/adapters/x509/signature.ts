import { Buffer } from 'node:buffer';
import { type KeyObject, sign, verify } from 'node:crypto';
import type { Result } from 'neverthrow';
import { derHex, derSequence, derTag } from '../shared/der.js';
import { webAlgorithm } from './public-key.js';

/** The frame that requests, revocation lists and certificates share. */
export interface Signed {
  /** What is signed: one SEQUENCE. */
  readonly signed: Uint8Array;
  /** The content of that SEQUENCE. */
  readonly content: Uint8Array<ArrayBuffer>;
  /** Content of the AlgorithmIdentifier, hex. */
  readonly algorithm: string;
  readonly signature: Uint8Array;
}

interface Scheme {
  readonly keyType: 'ec' | 'rsa' | 'ed25519';
  readonly digest: string | null;
}

const ecdsa = (digest: string): Scheme => ({ keyType: 'ec', digest });
const rsa = (digest: string): Scheme => ({ keyType: 'rsa', digest });

/** By AlgorithmIdentifier in hex; for RSA the parameters NULL may be absent (RFC 4055 section 5). */
const schemes: Readonly<Record<string, Scheme>> = {
  '06082a8648ce3d040302': ecdsa('sha256'),
  '06082a8648ce3d040303': ecdsa('sha384'),
  '06082a8648ce3d040304': ecdsa('sha512'),
  '06092a864886f70d01010b': rsa('sha256'),
  '06092a864886f70d01010b0500': rsa('sha256'),
  '06092a864886f70d01010c': rsa('sha384'),
  '06092a864886f70d01010c0500': rsa('sha384'),
  '06092a864886f70d01010d': rsa('sha512'),
  '06092a864886f70d01010d0500': rsa('sha512'),
  '06032b6570': { keyType: 'ed25519', digest: null },
};

/** Takes a signed document apart; undefined unless it is DER of that frame and nothing else. */
export function readSigned(der: Uint8Array<ArrayBuffer>): Signed | undefined {
  const [signed, algorithm, bits, ...beyond] = derSequence(der) ?? [];
  if (signed?.tag !== derTag.sequence || algorithm?.tag !== derTag.sequence) return undefined;
  // The first byte counts the unused bits of the last one.
  if (bits?.tag !== derTag.bitString || bits.content[0] !== 0 || beyond.length > 0) return undefined;
  return {
    signed: signed.whole,
    content: signed.content,
    algorithm: Buffer.from(algorithm.content).toString('hex'),
    signature: bits.content.subarray(1),
  };
}

/** Why the signature does not count for `key`, or undefined when it holds. */
export function whySignatureFails(document: Signed, key: KeyObject): string | undefined {
  const scheme = schemes[document.algorithm];
  if (!scheme)
    return 'its signature algorithm is none of ECDSA or RSA (PKCS#1 v1.5) with SHA-256, SHA-384 or SHA-512, or Ed25519';
  if (scheme.keyType !== key.asymmetricKeyType) return 'its signature algorithm does not fit its key';
  try {
    return verify(scheme.digest, document.signed, key, document.signature)
      ? undefined
      : 'its signature is wrong';
  } catch {
    return 'its signature is malformed';
  }
}

/** How certificates and lists of a CA with this key are signed: the content of the AlgorithmIdentifier, hex. */
export const signatureAlgorithm = (key: KeyObject): Result<string, string> =>
  webAlgorithm(key).map((algorithm) => {
    switch (algorithm.name) {
      case 'ECDSA':
        return algorithm.hash === 'SHA-256' ? '06082a8648ce3d040302' : '06082a8648ce3d040303';
      case 'RSASSA-PKCS1-v1_5':
        return '06092a864886f70d01010b0500';
      case 'Ed25519':
        return '06032b6570';
    }
  });

/** The document, DER: what is signed, with which algorithm (as `signatureAlgorithm` names it), and the signature. */
export function signDocument(signed: Uint8Array, algorithm: string, key: KeyObject): Uint8Array<ArrayBuffer> {
  const signature = sign(schemes[algorithm]?.digest, signed, key).toString('hex');
  const tail = derHex(derTag.sequence, algorithm) + derHex(derTag.bitString, '00', signature);
  const document = derHex(derTag.sequence, Buffer.from(signed).toString('hex'), tail);
  return new Uint8Array(Buffer.from(document, 'hex'));
}
