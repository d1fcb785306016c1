import { Buffer } from 'node:buffer';
import { createHash, type KeyObject, X509Certificate } from 'node:crypto';
import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { shortestAddress } from '../../domain/core/ip-prefix.js';
import type { CertificateDescription } from '../../domain/deploy/discovery.js';
import {
  commonNameOf,
  goDistinguishedName,
  type NameAttribute,
} from '../../domain/trust/distinguished-name.js';
import { anyNumber, type DerValue, derSequence, derTag, derValues } from '../shared/der.js';
import { extensionsOf } from './certificate-extensions.js';

const invalid = (reason: string) =>
  failure('certificate_invalid', `certificate cannot be read: ${reason}`, { field: 'certificate', reason });

/** What a certificate of anybody's says of itself. Only what cannot be told is refused, however unusable the rest is. */
export function describeCertificate(
  der: Uint8Array,
): Result<CertificateDescription, CtrlExecError<'certificate_invalid'>> {
  try {
    const x509 = new X509Certificate(Buffer.from(der));
    const description = describe(x509, der);
    return description ? ok(description) : err(invalid('is not plain DER'));
  } catch {
    return err(invalid('is not a well-formed X.509 certificate'));
  }
}

function describe(x509: X509Certificate, der: Uint8Array): CertificateDescription | undefined {
  if (!x509.raw.equals(Buffer.from(der))) return undefined;
  const [notBefore, notAfter] = [Date.parse(x509.validFrom), Date.parse(x509.validTo)];
  const names = namesOf(der);
  const extensions = extensionsOf(der);
  if (!names || !extensions || Number.isNaN(notBefore) || Number.isNaN(notAfter)) return undefined;
  return {
    fingerprint: createHash('sha256').update(der).digest('hex'),
    commonName: commonNameOf(names.subject),
    sans: alternativeNames(extensions.get('551d11')),
    serial: x509.serialNumber.toLowerCase().replace(/^(-?)0+(?=.)/, '$1'),
    issuer: goDistinguishedName(names.issuer),
    subject: goDistinguishedName(names.subject),
    notBefore,
    notAfter,
    ...keyOf(x509.publicKey),
    isCa: isCa(extensions.get('551d13')),
  };
}

function keyOf(key: KeyObject): Pick<CertificateDescription, 'keyAlgorithm' | 'keySize'> {
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'rsa':
    case 'rsa-pss':
      return { keyAlgorithm: 'RSA', keySize: modulusLength };
    case 'ec':
      return {
        keyAlgorithm: 'ECDSA',
        keySize: curveSizes[namedCurve] ?? Number(/\d{3}/.exec(namedCurve)?.[0] ?? 0),
      };
    case 'ed25519':
      return { keyAlgorithm: 'Ed25519', keySize: 256 };
    default:
      return { keyAlgorithm: key.asymmetricKeyType?.toUpperCase() ?? 'unknown', keySize: 0 };
  }
}

const curveSizes: Readonly<Record<string, number>> = {
  prime256v1: 256,
  secp224r1: 224,
  secp384r1: 384,
  secp521r1: 521,
};

/** Issuer and subject as they stand in the certificate. */
function namesOf(der: Uint8Array) {
  const fields = derValues(derSequence(der)?.[0]?.content ?? new Uint8Array()) ?? [];
  // The version may be absent; then come serial and signature algorithm.
  const start = fields[0]?.tag === derTag.context(0) ? 3 : 2;
  const issuer = attributes(fields[start]);
  const subject = attributes(fields[start + 2]);
  return issuer && subject ? { issuer, subject } : undefined;
}

function attributes(name: DerValue<ArrayBufferLike> | undefined): readonly NameAttribute[] | undefined {
  const sets = name && derValues(name.content);
  return sets
    ?.flatMap(({ content }) => derValues(content) ?? [])
    .flatMap(({ content }) => {
      const [type, value] = derValues(content) ?? [];
      return type && value ? [{ type: dotted(type.content), value: textOf(value) }] : [];
    });
}

/** An object identifier in dots (X.690 section 8.19). */
function dotted(content: Uint8Array): string {
  const arcs: number[] = [];
  let arc = 0;
  for (const byte of content) {
    arc = arc * 128 + (byte & 0x7f);
    if (byte < 0x80) {
      arcs.push(arc);
      arc = 0;
    }
  }
  const [first = 0, ...rest] = arcs;
  const top = Math.min(2, Math.floor(first / 40));
  return [top, first - 40 * top, ...rest].join('.');
}

const bmpString = 0x1e;
const utf8String = 0x0c;

function textOf({ tag, content }: DerValue<ArrayBufferLike>): string {
  if (tag === utf8String) return new TextDecoder().decode(content);
  if (tag === bmpString) return new TextDecoder('utf-16be').decode(content);
  return Buffer.from(content).toString('latin1');
}

/** DNS names, then e-mail addresses, then IP addresses. */
function alternativeNames(extension: Uint8Array | undefined): readonly string[] {
  const names = (extension && derSequence(extension, anyNumber)) ?? [];
  const of = (n: number) =>
    names.filter(({ tag }) => tag === derTag.implicit(n)).map(({ content }) => content);
  const texts = (n: number) => of(n).map((content) => Buffer.from(content).toString('latin1'));
  return [...texts(2), ...texts(1), ...of(7).flatMap((content) => addressOf(content) ?? [])];
}

function addressOf(content: Uint8Array): string | undefined {
  if (content.length === 4) return content.join('.');
  const groups = Buffer.from(content).toString('hex').match(/.{4}/g);
  return content.length === 16 ? shortestAddress((groups ?? []).join(':')) : undefined;
}

/** basicConstraints says so (RFC 5280 section 4.2.1.9). */
function isCa(extension: Uint8Array | undefined): boolean {
  const first = extension && derSequence(extension)?.[0];
  return first?.tag === 0x01 && first.content[0] !== 0;
}
