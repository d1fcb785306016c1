import { Buffer } from 'node:buffer';
import { X509Certificate } from 'node:crypto';
import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { certificatePem } from '../../domain/core/pem.js';
import type { Certificate } from '../../domain/trust/certificate.js';
import { onlyBlock } from '../shared/pem.js';
import { readExtensions } from './certificate-extensions.js';
import { byteKey, recent } from './recent.js';

type Invalid = CtrlExecError<'certificate_invalid'>;

/** Certificates of this product have about 1 KiB. */
const maxBytes = 32 * 1024;
const kept = { count: 1024, maxBytes: 8 * 1024 };

const invalid = (reason: string) =>
  failure('certificate_invalid', `certificate cannot be used: ${reason}`, { field: 'certificate', reason });

export interface CertificateReader {
  read(input: string | Uint8Array): Result<Certificate, Invalid>;
  issuedBy(certificate: Certificate, issuer: Certificate): boolean;
}

/** Reads certificates with node:crypto; the same text or bytes read again give the same object. */
export function certificateReader(): CertificateReader {
  const known = recent<Certificate>(kept.count);
  const parsed = new WeakMap<Certificate, X509Certificate>();
  /** Of pairs that were judged: both are immutable, and connections bring the same pair with every request. */
  const judged = new WeakMap<Certificate, WeakMap<Certificate, boolean>>();

  const native = (certificate: Certificate) =>
    parsed.get(certificate) ?? new X509Certificate(Buffer.from(certificate.der));

  const read = (input: string | Uint8Array): Result<Certificate, Invalid> => {
    if (input.length > maxBytes) return err(invalid(`is longer than ${maxBytes} bytes`));
    const key = typeof input === 'string' ? input : byteKey(input);
    const before = known.get(key);
    if (before) return ok(before);
    return derOf(input).andThen((der) => {
      try {
        const x509 = new X509Certificate(der);
        return describe(x509, der).map((certificate) => {
          parsed.set(certificate, x509);
          if (key.length <= kept.maxBytes) known.set(key, certificate);
          return certificate;
        });
      } catch {
        return err(invalid('is not a well-formed X.509 certificate'));
      }
    });
  };

  const judge = (certificate: Certificate, issuer: Certificate): boolean => {
    if (!issuer.isCa) return false;
    try {
      const [subject, authority] = [native(certificate), native(issuer)];
      return subject.checkIssued(authority) && subject.verify(authority.publicKey);
    } catch {
      return false;
    }
  };

  return {
    read,
    issuedBy: (certificate, issuer) => {
      const before = judged.get(certificate)?.get(issuer);
      if (before !== undefined) return before;
      const issued = judge(certificate, issuer);
      const verdicts = judged.get(certificate) ?? new WeakMap<Certificate, boolean>();
      judged.set(certificate, verdicts.set(issuer, issued));
      return issued;
    },
  };
}

/** A copy of the bytes, so that what is read stays what it is. */
function derOf(input: string | Uint8Array): Result<Buffer, Invalid> {
  if (typeof input !== 'string') return ok(Buffer.from(input));
  const der = onlyBlock(input, ['CERTIFICATE']);
  return der
    ? ok(Buffer.from(der.buffer))
    : err(invalid('expected exactly one PEM block CERTIFICATE and nothing else'));
}

function describe(x509: X509Certificate, der: Buffer): Result<Certificate, Invalid> {
  if (!x509.raw.equals(der)) return err(invalid('is not plain DER, or has bytes behind its end'));
  const extensions = readExtensions(der);
  if (!extensions) return err(invalid('has an extension that is malformed or occurs twice'));
  if (!/^[0-9a-f]+$/i.test(x509.serialNumber)) return err(invalid('has a negative serial'));
  const notBefore = Date.parse(x509.validFrom);
  const notAfter = Date.parse(x509.validTo);
  if (Number.isNaN(notBefore) || Number.isNaN(notAfter)) return err(invalid('has unreadable dates'));

  const { isVersion1, dnsNames, uris, usages } = extensions;
  const commonName: unknown = x509.toLegacyObject().subject?.CN;
  return ok({
    pem: certificatePem(der),
    der: new Uint8Array(der),
    spki: new Uint8Array(x509.publicKey.export({ type: 'spki', format: 'der' })),
    serial: x509.serialNumber.toLowerCase().replace(/^0+(?=.)/, ''),
    // Several common names would be a list: then it is not said which one is meant.
    commonName: typeof commonName === 'string' ? commonName : undefined,
    dnsNames,
    uris,
    notBefore,
    notAfter,
    // Version 1 knows no basicConstraints; there the root, that is whoever signed itself, is the CA.
    isCa: x509.ca || (isVersion1 && x509.checkIssued(x509) && x509.verify(x509.publicKey)),
    usages,
  });
}
