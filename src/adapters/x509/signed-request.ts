import { Buffer } from 'node:buffer';
import { type KeyObject, verify } from 'node:crypto';
import { derSequence, derTag, derValues } from './der.js';

/** The parts of a CertificationRequest (RFC 2986 section 4.2) that count. */
export interface SignedRequest {
  /** What is signed: certificationRequestInfo. */
  readonly info: Uint8Array;
  /** SubjectPublicKeyInfo, DER, as the request has it. */
  readonly spki: Uint8Array;
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

/** Takes a request apart; undefined unless it is DER of the expected shape. Subject and attributes are not looked at. */
export function parseRequest(der: Uint8Array<ArrayBuffer>): SignedRequest | undefined {
  const [info, algorithm, bits, ...beyond] = derSequence(der) ?? [];
  if (info?.tag !== derTag.sequence || algorithm?.tag !== derTag.sequence) return undefined;
  // The first byte counts the unused bits of the last one.
  if (bits?.tag !== derTag.bitString || bits.content[0] !== 0 || beyond.length > 0) return undefined;
  const [version, subject, key, attributes, ...others] = derValues(info.content) ?? [];
  if (version?.tag !== derTag.integer || version.content.length !== 1 || version.content[0] !== 0)
    return undefined;
  if (subject?.tag !== derTag.sequence || key?.tag !== derTag.sequence) return undefined;
  if ((attributes && attributes.tag !== derTag.attributes) || others.length > 0) return undefined;
  return {
    info: info.whole,
    spki: key.whole,
    algorithm: Buffer.from(algorithm.content).toString('hex'),
    signature: bits.content.subarray(1),
  };
}

/** Why the request's signature does not count for `key`, or undefined when it holds. */
export function whySignatureFails(request: SignedRequest, key: KeyObject): string | undefined {
  const scheme = schemes[request.algorithm];
  if (!scheme)
    return 'its signature algorithm is none of ECDSA or RSA (PKCS#1 v1.5) with SHA-256, SHA-384 or SHA-512, or Ed25519';
  if (scheme.keyType !== key.asymmetricKeyType) return 'its signature algorithm does not fit its key';
  try {
    return verify(scheme.digest, request.info, key, request.signature) ? undefined : 'its signature is wrong';
  } catch {
    return 'its signature is malformed';
  }
}
