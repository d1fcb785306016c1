import { err, ok, type Result } from 'neverthrow';
import { hex } from '../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { printable } from '../../domain/core/names.js';
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

type Read = Result<readonly Certificate[], CtrlExecError<'certificate_invalid'>>;

const refuse = (field: string, reason: string) =>
  err(failure('certificate_invalid', `${field}: ${reason}`, { field, reason }));

/** Without repeats. */
export const distinct = (crypto: Crypto, certificates: readonly Certificate[]): readonly Certificate[] =>
  certificates.filter(
    ({ der }, index) => certificates.findIndex((other) => crypto.equal(der, other.der)) === index,
  );

/** The certificates of a PEM text without repeats, each readable. */
function readCertificates(crypto: Crypto, pem: string): Read {
  const certificates: Certificate[] = [];
  for (const [index, block] of splitCertificates(pem).entries()) {
    const read = crypto.readCertificate(block);
    if (read.isErr()) return refuse(`certificate ${index + 1}`, read.error.reason);
    certificates.push(read.value);
  }
  return certificates.length === 0
    ? refuse('certificate', 'no PEM certificate in it')
    : ok(distinct(crypto, certificates));
}

/**
 * Those above the leaf, each behind what it issued, without roots: who does not trust a root already does not because it is sent.
 * One that issued none of the others does not belong here.
 */
export function chainAbove(crypto: Crypto, leaf: Certificate, certificates: readonly Certificate[]): Read {
  const chain: Certificate[] = [];
  let rest = certificates.filter((each) => each !== leaf);
  for (let below = [leaf]; below.length > 0; ) {
    const issuers = rest.filter((each) => below.some((issued) => crypto.issuedBy(issued, each)));
    rest = rest.filter((each) => !issuers.includes(each));
    below = issuers.filter((each) => !crypto.issuedBy(each, each));
    chain.push(...below);
  }
  const [stray] = rest;
  // defence: pull-chain-fits
  if (stray !== undefined)
    return refuse(
      'chain',
      `the certificate "${printable(stray.commonName ?? stray.serial, 60)}" is not in the chain of the one that belongs to the key`,
    );
  return ok(chain);
}

/** Reads what is to be deployed, in whatever order it comes: the certificate over the key is the leaf. */
export function checkMaterial(
  crypto: Crypto,
  certificatePem: string,
  keyPem: string,
): Result<CheckedMaterial, CtrlExecError<'certificate_invalid'>> {
  if (certificatePem.length + keyPem.length > longest) return refuse('certificate', 'longer than 512 KiB');
  return readCertificates(crypto, certificatePem).andThen((certificates) =>
    crypto.signingKey(keyPem).andThen((key) => {
      const leaf = certificates.find(({ spki }) => crypto.equal(key.spki, spki));
      if (leaf === undefined) return refuse('key', 'it is not the key of this certificate');
      return chainAbove(crypto, leaf, certificates).map((chain) => ({
        leaf: leaf.pem,
        chain: chain.map(({ pem }) => pem).join(''),
        key: keyPem.endsWith('\n') ? keyPem : `${keyPem}\n`,
        certificate: leaf,
        fingerprint: hex(crypto.sha256(leaf.der)),
      }));
    }),
  );
}
