import { err, ok, type Result } from 'neverthrow';
import { hex } from '../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { splitCertificates } from '../../domain/core/pem.js';
import type { Material } from '../../domain/deploy/targets/target.js';
import type { Certificate } from '../../domain/trust/certificate.js';
import type { Crypto } from '../../ports/crypto.js';

/** A certificate, its chain and its key, that belong together. */
export interface CheckedMaterial extends Material {
  readonly certificate: Certificate;
  /** SHA-256 of the leaf, lower-case hex. */
  readonly fingerprint: string;
}

const longest = 512 * 1024;

/** SHA-256 of the first certificate of a PEM text, lower-case hex; undefined: there is none. */
export function leafFingerprint(crypto: Crypto, pem: string): string | undefined {
  const [leaf] = splitCertificates(pem);
  if (leaf === undefined) return undefined;
  const certificate = crypto.readCertificate(leaf);
  return certificate.isOk() ? hex(crypto.sha256(certificate.value.der)) : undefined;
}

/** Reads what is to be deployed: every certificate, and whether the key is that of the first one. */
export function checkMaterial(
  crypto: Crypto,
  certificatePem: string,
  keyPem: string,
): Result<CheckedMaterial, CtrlExecError<'certificate_invalid'>> {
  const refuse = (field: string, reason: string) =>
    err(failure('certificate_invalid', `${field}: ${reason}`, { field, reason }));
  if (certificatePem.length + keyPem.length > longest) return refuse('certificate', 'longer than 512 KiB');
  const [leaf, ...chain] = splitCertificates(certificatePem);
  if (leaf === undefined) return refuse('certificate', 'no PEM certificate in it');
  for (const [index, pem] of chain.entries()) {
    const above = crypto.readCertificate(pem);
    if (above.isErr()) return refuse(`chain, certificate ${index + 1}`, above.error.reason);
  }
  return crypto.readCertificate(leaf).andThen((certificate) =>
    crypto.signingKey(keyPem).andThen((key) => {
      if (!crypto.equal(key.spki, certificate.spki))
        return refuse('key', 'it is not the key of this certificate');
      return ok({
        leaf,
        chain: chain.join(''),
        key: keyPem.endsWith('\n') ? keyPem : `${keyPem}\n`,
        certificate,
        fingerprint: hex(crypto.sha256(certificate.der)),
      });
    }),
  );
}
