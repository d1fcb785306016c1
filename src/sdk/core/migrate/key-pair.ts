import { err, ok, type Result, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { type PemBlock, pemBlocks, splitCertificates } from '../../../domain/core/pem.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type { Crypto } from '../../../ports/crypto.js';
import type { Found } from './directory.js';

/** A private key and the certificate that was issued for it. */
export interface KeyPair {
  /** PEM, one block. */
  readonly key: string;
  readonly certificate: Certificate;
}

type Invalid = CtrlExecError<'certificate_invalid'>;

export const unusable = (field: string, reason: string): Invalid =>
  failure('certificate_invalid', `${field} cannot be used: ${reason}`, { field, reason });

/** One with a passphrase has lines of its own, with a hyphen. */
const isOpenKey = ({ label, base64 }: PemBlock): boolean =>
  /^(RSA |EC )?PRIVATE KEY$/.test(label) && !base64.includes('-');

/** Reads a key (PKCS#8, PKCS#1 or SEC1) and its certificate, which may stand among others and behind a text of its contents. */
export function readKeyPair(crypto: Crypto, key: Found, certificate: Found): Result<KeyPair, Invalid> {
  return safeTry<KeyPair, Invalid>(function* () {
    const block = pemBlocks(key.text).find(isOpenKey)?.text;
    if (block === undefined)
      return err(unusable(key.path, 'expected a private key in PEM, without a passphrase'));
    const { spki } = yield* crypto.signingKey(block).mapErr(({ reason }) => unusable(key.path, reason));
    const blocks = splitCertificates(certificate.text);
    if (blocks.length === 0) return err(unusable(certificate.path, 'expected a certificate in PEM'));
    for (const pem of blocks) {
      const read = yield* crypto
        .readCertificate(pem)
        .mapErr(({ reason }) => unusable(certificate.path, reason));
      if (crypto.equal(read.spki, spki)) return ok({ key: block, certificate: read });
    }
    return err(unusable(certificate.path, `it does not belong to the key in ${key.path}`));
  });
}

/** The certificates of a text that can be read. */
export const certificatesIn = (crypto: Crypto, text: string | undefined): readonly Certificate[] =>
  splitCertificates(text ?? '').flatMap((pem) => crypto.readCertificate(pem).unwrapOr([]));

/** Why this cannot be the CA of anything now; undefined: it can. */
export function whyNoAuthority(ca: Certificate, now: number): string | undefined {
  if (!ca.isCa) return 'it is not the certificate of a CA';
  return now > ca.notAfter ? `it has expired at ${new Date(ca.notAfter).toISOString()}` : undefined;
}

/** Whether a key that is kept is the private half of this certificate's. */
export const isKeyOf = (crypto: Crypto, key: string, { spki }: Certificate): boolean =>
  crypto.signingKey(key).match(
    (signing) => crypto.equal(signing.spki, spki),
    () => false,
  );
